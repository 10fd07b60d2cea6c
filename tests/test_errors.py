import ast
import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

import chaos_seg
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
    ("number", "said"),
    [
        (errno.ENOSPC, "No space left"),
        (errno.EROFS, "expected a place"),
        (errno.ENAMETOOLONG, "file: the name is too long"),
        (errno.ENOENT, None),
    ],
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


def sentences() -> Iterator[str]:
    """What the package tells its users, `{}` for what is filled in."""
    for module in Path(str(chaos_seg.__file__)).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UserError":
                parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else node.args[:1]
                yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in parts)


def test_all_sentences_are_of_one_manner() -> None:
    """[where: ]expected ..., found ...; what to do. A format's refusal is the end of a sentence."""
    texts = [text for text in sentences() if text != "{}" and not text.startswith(("DICOM-SEG ", "RTSTRUCT "))]
    assert len(texts) > 100 and [text for text in texts if text[-1] not in ".:" or "\n" in text] == []
    backwards = [text for text in texts if ", found " in text and "xpected " not in text.split(", found ")[0]]
    assert backwards == []
