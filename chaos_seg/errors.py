"""The one exception of the project's own: a mistake that the user can mend, shown without a traceback."""

import errno
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class UserError(Exception):
    """One clear sentence: which file or setting, what was expected, what was found, what to do.

    `code` is the name under which the audit lists a fault of the data; `faults` are listed below it, one a line. What
    a file or its name brought in that can't be printed is shown as in a Python literal.
    """

    def __init__(self, sentence: str, code: str = "unreadable_file", faults: Sequence[object] = ()):
        lines = [sentence, *(f"  {number}. {fault}" for number, fault in enumerate(faults, 1))]
        super().__init__("\n".join(printable(line) for line in lines))
        self.code = code


def printable(text: str) -> str:
    """`text` with what can't be printed as in a Python literal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def raise_faults(faults: Sequence[object], where: object) -> None:
    """Raise all `faults` found in `where` as one UserError; return when there are none."""
    if len(faults) == 1:
        raise UserError(str(faults[0]))
    if faults:
        raise UserError(f"{len(faults)} faults in {where}; mend them all, then run again:", faults=faults)


def unusable_file(error: OSError) -> UserError | None:
    """The sentence for a full disk or a place that may not be written or read; None for any other OSError."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"No space left on the disk while writing {error.filename or 'a file'}: what was there before is "
            "unharmed; free some space or name a place on another disk, then run again."
        )
    if error.errno == errno.ENAMETOOLONG:
        return UserError(f"{error.filename}: the name is too long for this disk; choose a shorter one.")
    if isinstance(error, PermissionError | NotADirectoryError) or error.errno == errno.EROFS:
        return UserError(
            f"{error.filename}: expected a place that can be read and written, but {error.strerror}; mend its "
            "permissions or name another."
        )
    return None


@contextmanager
def one_sentence() -> Iterator[None]:
    """End the program with one sentence and exit code 1 when a mistake or a full disk ends the block."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names that are no UTF-8, as stderr does
    try:
        yield
    except UserError as error:
        sys.exit(str(error))
    except OSError as error:
        if (shown := unusable_file(error)) is None:
            raise
        sys.exit(str(shown))
