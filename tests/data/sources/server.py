"""A server that answers as it is told."""

import hashlib
import random
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chaos_seg.data.sources.archive import Archive

CONTENT = random.Random(1).randbytes(300_000)

OTHER = random.Random(2).randbytes(len(CONTENT))


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.ranges.append(self.headers.get("Range"))
            answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        answer(self)

    def log_message(self, *args: object) -> None:
        pass

    def start(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.ranges: list[str | None] = []
        self.answers: list[Answer] = [whole()]
        self.closing = threading.Event()

    def archive(self, content: bytes = CONTENT) -> Archive:
        return Archive(f"http://127.0.0.1:{self.server_port}/a.zip", len(content), hashlib.md5(content).hexdigest())


Answer = Callable[[Handler], None]


def whole(content: bytes = CONTENT, upto: int | None = None, then: Answer = lambda handler: None) -> Answer:
    """The rest that Range asks for, honestly labelled; the answer breaks off after byte `upto` of the file."""

    def answer(handler: Handler) -> None:
        start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        labels = {"Content_Length": len(content) - start, "Content_Type": "application/zip"}
        if start:
            labels["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.start(206 if start else 200, **labels)
        handler.wfile.write(content[start:upto])
        then(handler)

    return answer


def stalled(upto: int) -> Answer:
    return whole(upto=upto, then=lambda handler: handler.server.closing.wait(20) and None)


def dripping(handler: Handler) -> None:
    handler.start(200, Content_Length=len(CONTENT))
    for at in range(0, len(CONTENT), 5_000):
        handler.wfile.write(CONTENT[at : at + 5_000])
        handler.wfile.flush()
        time.sleep(0.05)


def plain(content: bytes, status: int = 200, **headers: object) -> Answer:
    """One fixed answer whatever Range asks for."""

    def answer(handler: Handler) -> None:
        handler.start(status, **headers)
        handler.wfile.write(content)

    return answer
