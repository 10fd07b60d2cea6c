"""The one exception of the project's own: a mistake that the user can mend, shown without a traceback."""

import errno
from collections.abc import Sequence


class UserError(Exception):
    """One clear sentence: which file or setting, what was expected, what was found, what to do.

    `code` is the name under which the audit lists a fault of the data.
    """

    def __init__(self, sentence: str, code: str = "unreadable_file"):
        super().__init__(sentence)
        self.code = code


def raise_faults(faults: Sequence[object], where: object) -> None:
    """Raise all `faults` found in `where` as one UserError; return when there are none."""
    if len(faults) == 1:
        raise UserError(str(faults[0]))
    if faults:
        lines = "\n".join(f"  {number}. {fault}" for number, fault in enumerate(faults, 1))
        raise UserError(f"{len(faults)} faults in {where}; mend them all, then run again:\n{lines}")


def unusable_file(error: OSError) -> UserError | None:
    """The sentence for a full disk or a place that may not be written or read; None for any other OSError."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"No space left on the disk while writing {error.filename or 'a file'}: what was there before is "
            "unharmed; free some space or point data.store and hydra.run.dir at another disk, then run again."
        )
    if isinstance(error, PermissionError | NotADirectoryError):
        return UserError(
            f"{error.filename}: expected a place that can be read and written, but {error.strerror}; mend its "
            "permissions or name another."
        )
    return None
