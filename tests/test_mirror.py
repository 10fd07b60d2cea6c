import ast
import re
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


def test_the_reading_path_is_there_and_short() -> None:
    told = (TESTS.parent / "CONTRIBUTING.md").read_text()
    path = re.findall(r"\d+\. `([a-z_/]+\.py)`", told[: told.index("A *side* is")])
    assert 10 <= len(path) <= 15
    assert sum((PACKAGE / module).read_text().count("\n") for module in path) <= 1400


def test_no_function_is_long() -> None:
    long = []
    for module in PACKAGE.rglob("*.py"):
        lines = module.read_text().splitlines()
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                code = [line for line in lines[body[0].lineno - 1 : node.end_lineno] if line.strip(" #")]
                long += [f"{module.name}: {node.name}"] * (len(code) > 50)
    assert long == []
