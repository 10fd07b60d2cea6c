import errno

import pytest

from chaos_seg.errors import UserError, one_sentence, raise_faults, unusable_file


def test_what_can_not_be_printed_is_shown_as_python_writes_it() -> None:
    assert str(UserError("a\nb\x1b[2J ü")) == r"a\nb\x1b[2J ü"


def test_one_fault_is_a_sentence_and_several_are_listed() -> None:
    raise_faults([], "x")
    with pytest.raises(UserError, match=r"^first$"):
        raise_faults([UserError("first")], "x")
    with pytest.raises(UserError) as error:
        raise_faults([UserError("first"), UserError("second")], "the tree")
    assert str(error.value) == "2 faults in the tree; mend them all, then run again:\n  1. first\n  2. second"


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOSPC, "No space left"), (errno.EROFS, "expected a place"), (errno.ENOENT, None)]
)
def test_a_full_disk_and_a_forbidden_place_are_the_users_to_mend(number: int, said: str | None) -> None:
    error = OSError(number, "why", "file")
    assert (said is None) == (unusable_file(error) is None) and (said or "") in str(unusable_file(error))
    with pytest.raises(SystemExit if said else OSError), one_sentence():
        raise error


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), one_sentence():
        raise ZeroDivisionError
    with pytest.raises(SystemExit, match=r"^mend it$"), one_sentence():
        raise UserError("mend it")
