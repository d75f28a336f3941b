"""Rules of the whole repository, for example which names tests may use."""

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


SRC = TESTS.parent / "src/styleid"
KNOW_FLAGS = ("cli.py", "commands", "lab")
FLAG = re.compile(r"(?<![\w-])--[a-z]")
TYPED = re.compile(r"`styleid [^`]*(?:`|$)|pip (?:un)?install .*|--force-reinstall \w+|<code>[^<]*</code>")


def flags_named(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Find texts with flags of the command line, but for whole commands and for docstrings of functions."""
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.FunctionDef)) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if id(node) not in prose and FLAG.search(TYPED.sub("", text)):
            yield node.lineno, text


LIBRARY = sorted(path for path in SRC.rglob("*.py") if path.relative_to(SRC).parts[0] not in KNOW_FLAGS)


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.relative_to(SRC).as_posix())
def test_the_library_names_options_by_their_fields(path: Path) -> None:
    """The command line turns `name=value` in backticks into --name value; see `commands/messages.py`."""
    assert list(flags_named(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("raise OptionError('--out', 'x')", ["--out"]),
        ("class A:\n    'out: see --report.'", ["out: see --report."]),
        ("f'give {a} and --keep'", [" and --keep"]),
        ("'`styleid key new --signing` makes one'", []),
        ("'take `method=none`'", []),
        ("def f():\n    'As --out does.'", []),
    ],
)
def test_flags_are_found(code: str, found: list[str]) -> None:
    assert [text for _, text in flags_named(ast.parse(code))] == found
