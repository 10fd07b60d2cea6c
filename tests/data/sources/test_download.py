import errno
import hashlib
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chaos_seg.data.sources import download as module
from chaos_seg.data.sources.archive import Archive
from chaos_seg.data.sources.download import download
from chaos_seg.errors import UserError, unusable_file
from tests.data.sources.server import CONTENT, OTHER, Answer, Handler, Server, dripping, plain, stalled, whole

# A server that answers as the test says: one answer a request, the last one again and again.


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "d" / "a.zip"


def part_of(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    return path.with_name("a.zip.part")


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def refusal(archive: Archive, path: Path) -> str:
    with pytest.raises(UserError) as error:
        download(archive, path)
    text = str(error.value)
    assert text.startswith(f"{archive.url}: expected a zip of 300,000 bytes with md5 {archive.md5}, found ")
    assert "download it by hand and give archive=FILE" in text and not path.exists()
    return text


def test_fetches_once(server: Server, path: Path) -> None:
    for _ in range(2):
        download(server.archive(), path)
        assert path.read_bytes() == CONTENT
    assert server.ranges == [None] and files_in(path.parent) == {"a.zip"}


def test_md5_may_be_in_capitals(server: Server, path: Path) -> None:
    archive = server.archive()
    download(Archive(archive.url, archive.bytes, archive.md5.upper()), path)
    assert path.read_bytes() == CONTENT


def test_file_that_is_another_one_is_replaced(server: Server, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(OTHER)
    download(server.archive(), path)
    assert path.read_bytes() == CONTENT


def test_goes_on_after_each_cut(server: Server, path: Path) -> None:
    server.answers = [
        whole(upto=100_000),
        whole(upto=100_001),
        plain(b"", 503),
        whole(upto=250_000),
        plain(b"", 429),
        whole(),
    ]
    download(server.archive(), path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=100001-", "bytes=100001-", "bytes=250000-", "bytes=250000-"]


def test_stall_is_noticed(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.3)
    server.answers = [stalled(70_000), stalled(70_000), whole()]
    before = time.monotonic()
    download(server.archive(), path)
    assert 0.6 <= time.monotonic() - before < 10
    assert path.read_bytes() == CONTENT and server.ranges == [None, "bytes=70000-", "bytes=70000-"]


def test_retries_are_limited_and_the_next_call_goes_on(server: Server, path: Path) -> None:
    server.answers = [whole(upto=1_000), plain(b"", 503)]
    assert "found HTTP 503 Service Unavailable;" in refusal(server.archive(), path)
    assert server.ranges == [None] + ["bytes=1000-"] * module.RETRIES
    server.answers = [whole()]
    download(server.archive(), path)
    assert path.read_bytes() == CONTENT and server.ranges[-1] == "bytes=1000-"


def test_part_that_is_whole_is_not_fetched_again(server: Server, path: Path) -> None:
    part_of(path).write_bytes(CONTENT)  # of a process killed before it was renamed
    download(server.archive(), path)
    assert path.read_bytes() == CONTENT and server.ranges == []


def test_server_that_ignores_range_is_read_from_zero(server: Server, path: Path) -> None:
    part_of(path).write_bytes(CONTENT[:1_000])
    server.answers = [plain(CONTENT[:9_000], Content_Length=len(CONTENT)), plain(CONTENT)]
    download(server.archive(), path)
    assert path.read_bytes() == CONTENT and server.ranges == ["bytes=1000-", "bytes=9000-"]


def test_redirect_keeps_the_range(server: Server, path: Path) -> None:
    part_of(path).write_bytes(CONTENT[:1_000])
    server.answers = [plain(b"", 302, Location="/elsewhere/a.zip"), whole()]
    download(server.archive(), path)
    assert path.read_bytes() == CONTENT and server.ranges == ["bytes=1000-"] * 2


@pytest.mark.parametrize(
    "answer",
    [
        plain(CONTENT[1_000:], 206),
        plain(CONTENT[:-1_000], 206, Content_Range="bytes 0-298999/300000"),
        plain(CONTENT[1_000:], 206, Content_Range="bytes 1000-299999/300001"),
        plain(b"", 416, Content_Range="bytes */500"),
    ],
    ids=["no Content-Range", "another start", "another size", "416"],
)
def test_senseless_answer_to_range_starts_from_zero(server: Server, path: Path, answer: Answer) -> None:
    part_of(path).write_bytes(CONTENT[:1_000])
    server.answers = [answer, whole()]
    download(server.archive(), path)
    assert path.read_bytes() == CONTENT and server.ranges == ["bytes=1000-", None]


@pytest.mark.parametrize("size", [1_000, 300_000, 300_001])
def test_part_of_another_file_starts_from_zero_once(server: Server, path: Path, size: int) -> None:
    part_of(path).write_bytes((OTHER + b"x")[:size])
    download(server.archive(), path)
    assert path.read_bytes() == CONTENT and server.ranges == (["bytes=1000-", None] if size == 1_000 else [None])
    assert files_in(path.parent) == {"a.zip"}


def test_wrong_bytes_of_the_right_length(server: Server, path: Path) -> None:
    server.answers = [plain(OTHER)]
    assert f"found md5 {hashlib.md5(OTHER).hexdigest()}" in refusal(server.archive(), path)
    assert server.ranges == [None, None] and files_in(path.parent) == set()


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (plain(b"<html>Sign in</html>", Content_Type="text/html; charset=utf-8"), "a web page"),
        (plain(b"gone", Content_Length=4), "a file of 4 bytes"),
        (plain(CONTENT, Content_Length=10**12), "a file of 1,000,000,000,000 bytes"),
        (plain(b"", 404), "found HTTP 404 Not Found;"),
        (plain(b"", 403), "found HTTP 403 Forbidden;"),
    ],
    ids=["web page", "too short", "too long", "404", "403"],
)
def test_refused_at_the_first_answer(server: Server, path: Path, answer: Answer, found: str) -> None:
    server.answers = [answer]
    assert found in refusal(server.archive(), path)
    assert server.ranges == [None] and files_in(path.parent) == set()
    part_of(path).write_bytes(CONTENT[:1_000])  # a passing fault of the server does no harm to what has come
    refusal(server.archive(), path)
    assert part_of(path).read_bytes() == CONTENT[:1_000]


def test_endless_answer_is_left_early(server: Server, path: Path) -> None:
    sent = []

    def endless(handler: Handler) -> None:
        handler.start(200)
        sent.append(0)
        try:
            for _ in range(100):  # 200 MB
                handler.wfile.write(bytes(2_000_000))
                sent[-1] += 2_000_000
        except OSError:
            pass

    server.answers = [endless]
    assert "found more bytes than that" in refusal(server.archive(), path)
    assert files_in(path.parent) == set() and len(sent) == 2 and max(sent) < 100_000_000


def test_answer_without_a_length(server: Server, path: Path) -> None:
    server.answers = [plain(CONTENT[:5_000]), whole()]
    download(server.archive(), path)
    assert path.read_bytes() == CONTENT and server.ranges == [None, "bytes=5000-"]


def test_retries_are_limited_for_answers_without_a_length_too(server: Server, path: Path) -> None:
    server.answers = [plain(CONTENT[:5_000])]
    assert "the answer ended at byte 5,000" in refusal(server.archive(), path)
    assert len(server.ranges) == 1 + module.RETRIES


def test_nobody_there(path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a.zip"
        assert "found ClientConnectorError" in refusal(Archive(url, len(CONTENT), "0" * 32), path)
    assert "found " in refusal(Archive("http://nowhere.invalid/a.zip", len(CONTENT), "0" * 32), path)
    assert "found " in refusal(Archive("a.zip", len(CONTENT), "0" * 32), path)


def test_retries_are_told(server: Server, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server.answers = [whole(upto=1_000), whole()]
    with caplog.at_level(logging.WARNING):
        download(server.archive(), path)
    assert f"retry 1 of {module.RETRIES}" in caplog.text and server.archive().url in caplog.text


def test_two_at_once_fetch_once(server: Server, path: Path) -> None:
    server.answers = [lambda handler: time.sleep(0.2) or whole()(handler)]
    with ThreadPoolExecutor(2) as pool:
        for result in [pool.submit(download, server.archive(), path) for _ in range(2)]:
            result.result()
    assert path.read_bytes() == CONTENT and server.ranges == [None]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_names_the_file(server: Server, path: Path) -> None:
    part_of(path).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as error:
        download(server.archive(), path)
    assert error.value.errno == errno.ENOSPC and error.value.filename == str(part_of(path))
    assert "No space left" in str(unusable_file(error.value))


def test_killed_and_run_again(server: Server, path: Path) -> None:
    server.answers = [dripping, whole()]
    archive = server.archive()
    code = "import sys; from pathlib import Path; from chaos_seg.data.sources.archive import Archive\n"
    code += "from chaos_seg.data.sources.download import download\n"
    code += f"download({archive}, Path(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)])
    part = part_of(path)
    while not part.exists() or part.stat().st_size < 20_000:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    have = part.stat().st_size
    assert 20_000 <= have < len(CONTENT) and part.read_bytes() == CONTENT[:have]
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert path.read_bytes() == CONTENT and files_in(path.parent) == {"a.zip"}
    assert server.ranges == [None, f"bytes={have}-"]
