"""The challenge's zips fetched over a connection that may break: what has come lies in <path>.part, and the next
download goes on from it.
"""

import asyncio
import logging
import re
import time
from pathlib import Path

from tqdm import tqdm

from chaos_seg.data.sources.archive import Archive, md5_of
from chaos_seg.errors import UserError
from chaos_seg.files import locked

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0  # without a connection or without a byte
RETRIES = 5
PAUSE_S = 2.0  # before a retry
CHUNK = 1 << 20


class _OtherFileError(Exception):
    """What came is not the archive; its words say what it is instead."""


def download(archive: Archive, path: Path) -> None:
    """Fetch `archive` to `path`, going on from what an earlier call left in `<path>.part`.

    Returns at once when `path` holds the archive already. A second process waits for the first.

    Raises:
        UserError: the server can't be reached, refuses, or has something else than the archive.
    """
    part = path.with_name(f"{path.name}.part")
    with locked(path.with_name(f".{path.name}.lock")):
        if path.is_file() and _fault(archive, path) is None:
            return
        for last in (False, True):  # bytes of an archive that has changed since are found out only at the end
            try:
                _fetch(archive, part)
                if fault := _fault(archive, part):
                    raise _OtherFileError(fault)
                part.replace(path)
                return
            except _OtherFileError as error:
                part.unlink(missing_ok=True)
                if last:
                    raise _refused(archive, str(error)) from None
                log.warning("%s: found %s; starting again from its first byte.", archive.url, error)


def _fetch(archive: Archive, part: Path) -> None:
    """Bring `part` to the archive's size, with a limited number of retries that each go on where the last one ended."""
    import aiohttp  # here, since it takes a fifth of a second and every command imports the sources

    failures = 0
    while not part.exists() or part.stat().st_size < archive.bytes:
        try:
            asyncio.run(_receive(archive, part))
        except (aiohttp.ClientError, TimeoutError) as error:
            found, refused = f"{type(error).__name__} {error}".strip(), False
            if isinstance(error, aiohttp.ClientResponseError):
                found, refused = f"HTTP {error.status} {error.message}", error.status < 500 and error.status != 429
            failures += 1
            if refused or failures > RETRIES:
                raise _refused(archive, found) from error
            log.warning("%s: found %s; retry %d of %d.", archive.url, found, failures, RETRIES)
            time.sleep(PAUSE_S)
        except OSError as error:
            if error.filename is None:  # a failed write() does not say which file it was
                error.filename = str(part)
            raise


async def _receive(archive: Archive, part: Path) -> None:
    """Append one answer of the server to `part`, or start `part` again when the server sends the whole archive."""
    import aiohttp

    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    timeout = aiohttp.ClientTimeout(total=None, connect=TIMEOUT_S, sock_read=TIMEOUT_S)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=True, auto_decompress=False) as session,
        session.get(archive.url, headers=headers) as response,
    ):
        sent = response.headers.get("Content-Range", "none")
        rest = re.fullmatch(rf"bytes {have}-\d+/(?:{archive.bytes}|\*)", sent)
        if response.status == 416 or (response.status == 206 and not rest):
            raise _OtherFileError(f"HTTP {response.status} with Content-Range {sent} when asked from byte {have}")
        response.raise_for_status()
        if response.status != 206:
            if response.content_type == "text/html":
                raise _refused(archive, "a web page")  # and leave alone what is there: it may be a passing fault
            if response.content_length not in (None, archive.bytes):
                raise _refused(archive, f"a file of {response.content_length:,} bytes")
            have = 0
        with (
            part.open("ab" if have else "wb") as file,
            tqdm(total=archive.bytes, initial=have, desc=part.stem, unit="B", unit_scale=True, disable=None) as bar,
        ):
            async for chunk in response.content.iter_chunked(CHUNK):
                have += len(chunk)
                if have > archive.bytes:
                    raise _OtherFileError("more bytes than that")
                file.write(chunk)
                bar.update(len(chunk))
        if have < archive.bytes:  # the end of an answer without a length
            raise aiohttp.ClientPayloadError(f"the answer ended at byte {have:,}")


def _refused(archive: Archive, found: str) -> UserError:
    return UserError(
        f"{archive.url}: expected a zip of {archive.bytes:,} bytes with md5 {archive.md5}, found {found}; run "
        "again, which goes on from what has come, or download it by hand and give archive=FILE."
    )


def _fault(archive: Archive, path: Path) -> str | None:
    """What makes the file another one than `archive`; None when it is the archive."""
    if (size := path.stat().st_size) != archive.bytes:
        return f"a file of {size:,} bytes"
    return None if (md5 := md5_of(path)) == archive.md5.lower() else f"md5 {md5}"
