"""The documentation site: every page is in the menu, links are converted, and faults of a built site are found."""

import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def build() -> ModuleType:
    return load("build_docs")


def menu(entry: object) -> set[str]:
    if isinstance(entry, str):
        return {entry}
    inner = entry.values() if isinstance(entry, dict) else entry
    return set().union(*map(menu, inner))


def test_every_page_is_in_the_menu(build) -> None:
    shown = menu(tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"])
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert shown == written | set(build.BESIDE.values()) | {"reference/cli.md", "reference/api.md"}


@pytest.mark.parametrize(
    ("source", "given", "turned"),
    [
        ("docs/a.md", "[b](b.md#part)", "[b](b.md#part)"),
        ("docs/a.md", "[`styleid`](../README.md)", "[`styleid`](index.md)"),
        ("docs/deep/a.md", "![p](../p.png)", "![p](../p.png)"),
        ("benchmarks/README.md", "[b](../docs/b.md)", "[b](b.md)"),
        ("CARD.md", "[b](docs/b.md) and [c](docs/p.png)", "[b](../b.md) and [c](../p.png)"),
        ("docs/a.md", "[x](https://example.org) [y](#here) [z](missing.md)", None),
        ("docs/a.md", "```\n[b](../README.md)\n```", None),
    ],
)
def test_links_are_turned_to_the_pages_of_the_site(build, source, given, turned) -> None:
    places = {"docs/a.md": "a.md", "docs/b.md": "b.md", "docs/p.png": "p.png", "docs/deep/a.md": "deep/a.md",
              "README.md": "index.md", "benchmarks/README.md": "benchmarks.md", "CARD.md": "cards/c.md"}  # fmt: skip
    assert build.with_links(given, source, {name: Path(page) for name, page in places.items()}) == (turned or given)


def test_faults_of_a_site_are_named(build, tmp_path) -> None:
    (tmp_path / "a.html").write_text(
        '<p id="top"><img src="no.png"><script src="https://cdn.example/x.js"></script>'
        '<link rel="stylesheet" href="s.css">'
        '<a href="b.html#gone">b</a><a href="c.html">c</a><a href="#top">top</a><a href="https://example.org">x</a></p>'
    )
    (tmp_path / "b.html").write_text('<p id="here"><a href="a.html#top">a</a></p>')
    (tmp_path / "s.css").write_text("p {background: url(https://cdn.example/p.png)}")
    assert sorted(build.faults(tmp_path)) == [
        "a.html: b.html#gone is an anchor that does not exist",
        "a.html: c.html leads nowhere",
        "a.html: lacks no.png",
        "a.html: loads https://cdn.example/x.js from elsewhere",
        "s.css: loads https://cdn.example/p.png from elsewhere",
    ]


def test_a_site_without_faults_has_none(build, tmp_path) -> None:
    (tmp_path / "a.html").write_text('<p id="top"><a href="a.html#top">a</a><img src="data:image/png;base64,AA"></p>')
    assert list(build.faults(tmp_path)) == []


def test_the_command_reference_has_every_command_and_option(build) -> None:
    page = build.command_reference()
    assert {"anonymize", "dataset coco", "video", "serve", "key new"} <= set(
        re.findall("^#+ styleid (.*)$", page, re.M)
    )
    assert "| `--privacy PRIVACY` | privacy level (low, standard" in page
    assert "`--detector {fast,standard,thorough}`" in page


def test_the_python_reference_has_every_public_name(build) -> None:
    import styleid

    page = build.python_reference()
    assert {f"::: styleid.{name}" for name in styleid.__all__ if name != "__version__"} <= set(page.splitlines())
    assert page.index("## Options") < page.index("::: styleid.AnonymizeOptions") < page.index("## Errors")
    assert sum(line.endswith(".anonymize_files") for line in page.splitlines()) == 1


def test_fields_in_docstrings_become_sections() -> None:
    pytest.importorskip("griffe", reason="only the extra docs brings griffe")
    text = "Do it.\n\nseed: repeats it.\nsize, side: of it,\n  in pixels.\nRaises OSError where full.\n\n>>> do()\n1"
    assert load("docs_fields").sectioned(text, ["seed", "size", "side"], "Args") == (
        "Do it.\n\nRaises OSError where full.\n\n"
        "Args:\n    seed: repeats it.\n    size: of it, in pixels.\n    side: of it, in pixels.\n\n"
        "Examples:\n    >>> do()\n    1"
    )


@pytest.mark.parametrize("text", ["Do it.", "Do it.\n\nArgs:\n    seed: repeats it.", "Note: this names no field."])
def test_other_docstrings_stay(text) -> None:
    pytest.importorskip("griffe", reason="only the extra docs brings griffe")
    assert load("docs_fields").sectioned(text, ["seed"], "Args") == text
