import ast
from pathlib import Path

import chaos_seg

PACKAGE, TESTS = Path(str(chaos_seg.__file__)).parent, Path(__file__).parent


def test_each_module_has_a_test_file_of_its_name_in_its_place_and_none_is_long() -> None:
    without = set()
    for module in PACKAGE.rglob("*.py"):
        name = module.parent.name if module.stem == "__init__" else module.stem.strip("_")
        test = TESTS / module.parent.relative_to(PACKAGE) / f"test_{name}.py"
        if len(ast.parse(module.read_text()).body) > 1 and not test.is_file():  # more than a docstring
            without.add(str(test.relative_to(TESTS)))
    assert without == set()
    assert [
        path for folder in (PACKAGE, TESTS) for path in folder.rglob("*.py") if path.read_text().count("\n") > 300
    ] == []
