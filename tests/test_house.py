"""What holds in the whole repository: which tests may look at what."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PRIVATE = re.compile(r"_(?!_)\w+")
OWNERS = {"self", "cls", "super()"}


def private_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Find uses of somebody else's private names: attributes, imports, and names to patch or to look up."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and PRIVATE.fullmatch(node.attr):
            if ast.unparse(node.value) not in OWNERS:
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names if PRIVATE.fullmatch(alias.name))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("setattr", "getattr", "delattr")):
            texts = [one.value for one in node.args[:2] if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            yield from ((node.lineno, text) for text in texts if PRIVATE.fullmatch(text.rpartition(".")[2]))


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: path.relative_to(TESTS).as_posix())
def test_tests_use_no_private_names_of_others(path: Path) -> None:
    """A test that does breaks with every change inside a module, although its behaviour stays."""
    assert list(private_names(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("thing._inner", ["thing._inner"]),
        ("from a import b, _c", ["_c"]),
        ("monkeypatch.setattr('a.b._c', 1)", ["a.b._c"]),
        ("monkeypatch.setattr(a, '_C', 1)", ["_C"]),
        ("self._own; super()._own; thing.__class__; thing.inner_; _local = 1", []),
    ],
)
def test_private_names_are_found(code: str, found: list[str]) -> None:
    assert [name for _, name in private_names(ast.parse(code))] == found
