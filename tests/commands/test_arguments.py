import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from styleid.commands.arguments import add_options, field_help, read_options


@dataclass(frozen=True)
class Inner:
    """Inner choices.

    depth: how deep, in metres. Not less than 1.
    """

    depth: float = 1.5


@dataclass(frozen=True)
class Outer:
    """Outer choices.

    where: the folder to write.
    kind: which kind; it says 100 % more.
    deep_sea: whether to dive.
    seed: of chance: any number.
    """

    where: Path
    kind: Literal["a", "b"] = "a"
    deep_sea: bool = False
    seed: int | None = None
    inner: Inner = field(default_factory=Inner)


def _parse(*arguments: str) -> Outer:
    parser = argparse.ArgumentParser()
    add_options(parser, Outer)
    return read_options(Outer, vars(parser.parse_args(arguments)))


def test_defaults_and_values():
    assert _parse("--where", "x") == Outer(Path("x"))
    chosen = _parse("--where", "x", "--kind", "b", "--deep-sea", "--seed", "4", "--depth", "2")
    assert chosen == Outer(Path("x"), "b", True, 4, Inner(2.0))


@pytest.mark.parametrize("wrong", [(), ("--where", "x", "--kind", "c"), ("--where", "x", "--seed", "one")])
def test_wrong_use_ends_with_status_2(wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        _parse(*wrong)
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_docstrings_are_the_help():
    assert field_help(Outer)["seed"] == "of chance: any number"
    parser = argparse.ArgumentParser()
    add_options(parser, Outer)
    text = parser.format_help()
    assert "100 % more" in text
    assert "how deep, in metres. Not less than 1 (default: 1.5)" in " ".join(text.split())


def test_every_option_of_the_library_has_its_help():
    from styleid.commands.anonymize import CommandOptions
    from styleid.core.options import AnonymizeOptions
    from styleid.engine.local import RunOptions
    from styleid.faces.detect import DetectorOptions
    from styleid.media.provenance import MarkOptions

    for cls in (AnonymizeOptions, RunOptions, MarkOptions, CommandOptions, DetectorOptions):
        missing = set(cls.__dataclass_fields__) - set(field_help(cls)) - {"detector"}
        assert not missing, f"{cls.__name__}: {missing}"
