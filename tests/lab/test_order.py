"""The lab's folders: imports only point down their order, and little else loads them."""

import ast
from pathlib import Path

import pytest

import styleid

SOURCE = Path(styleid.__file__).parent
ORDER = ("data", "networks", "export", "tasks", "upstream", "bundling")
MAY_LOAD_THE_LAB = ("commands/bundles.py", "commands/train.py")


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports anywhere, those that a name could be of included."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("folder", ORDER)
def test_imports_point_down(folder: str) -> None:
    above = ORDER[ORDER.index(folder) + 1 :]
    forbidden = tuple(f"styleid.{name}" for name in ("commands", "cli", *(f"lab.{other}" for other in above)))
    files = sorted((SOURCE / "lab" / folder).rglob("*.py"))
    assert files
    up = {path.name: sorted(name for name in imported(path) if name.startswith(forbidden)) for path in files}
    assert {name: modules for name, modules in up.items() if modules} == {}


def test_every_folder_has_a_place_in_the_order() -> None:
    assert sorted(ORDER) == sorted(path.parent.name for path in (SOURCE / "lab").glob("*/__init__.py"))
    assert [path.name for path in (SOURCE / "lab").glob("*.py")] == ["__init__.py"]


def test_only_commands_that_train_or_build_load_the_lab() -> None:
    rest = [path for path in SOURCE.rglob("*.py") if "lab" not in path.relative_to(SOURCE).parts]
    loads = {str(path.relative_to(SOURCE)) for path in rest if any(m.startswith("styleid.lab") for m in imported(path))}
    assert loads <= set(MAY_LOAD_THE_LAB)
