"""The documentation is consistent: links lead to something, and commands have the options shown."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from styleid.cli import build_parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md"),
                 *(ROOT / "src/styleid").rglob("*.md"))
)  # fmt: skip
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@cache
def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", read(page)), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def broken_links(page: str) -> Iterator[str]:
    text = re.sub(r"`[^`\n]*`", "", FENCED.sub("", read(page)))
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        if not path.exists():
            yield f"{target}: there is no such file"
        elif anchor and path.suffix == ".md" and anchor not in anchors(path.relative_to(ROOT).as_posix()):
            yield f"{target}: there is no such heading"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    assert list(broken_links(page)) == []


def blocks(page: str) -> list[str]:
    """Return the lines of a page's code blocks, continued lines joined."""
    text = read(page)
    found = [*FENCED.findall(text), *re.findall(r"(?:^ {4}.*\n?)+", FENCED.sub("", text), re.MULTILINE)]
    return [line.strip() for block in found for line in block.replace("\\\n", " ").splitlines()]


def commands(page: str) -> list[str]:
    return [line for line in blocks(page) if line.startswith("styleid ")]


SHOWN = [(page, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), SHOWN, ids=[f"{page}: {command[:60]}" for page, command in SHOWN])
def test_commands_have_the_options_that_are_shown(page: str, command: str, capsys) -> None:
    given = shlex.split(command.replace("s3://", "memory://"), comments=True)[1:]  # no bucket's package is needed
    given = given[: given.index("<")] if "<" in given else given
    if given[0] == "train":
        pytest.importorskip("torch", reason="trainings need torch: pip install 'styleid[lab]'")
        from styleid.commands.train import build_parser as build_train_parser

        parser, given = build_train_parser(), given[1:]
    else:
        parser = build_parser(given)
    try:
        parser.parse_args(given)
    except SystemExit as error:
        assert error.code in (0, None), f"{page}: {command}\n{capsys.readouterr().err}"


def test_commands_are_found() -> None:
    assert len(SHOWN) > 30
    assert {page for page, _ in SHOWN} >= {"README.md", "docs/datasets.md", "docs/scale.md", "docs/training.md"}


@pytest.mark.parametrize("page", PAGES)
def test_scripts_targets_and_extras_exist(page: str) -> None:
    text = read(page)
    made = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    extras = set(tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"])
    scripts = re.findall(r"(?:benchmarks|examples|tools)/\w+\.py", text)
    targets = re.findall(r"(?:`|^ {4})make ([a-z-]+)", text, re.MULTILINE)
    missing = [name for name in scripts if not (ROOT / name).is_file()] + [name for name in targets if name not in made]
    wanted = re.findall(r"pip install (?:-e )?'(?:\.|styleid)\[([\w,]+)\]'", text)
    assert missing + [name for group in wanted for name in group.split(",") if name not in extras] == []


def test_what_must_be_typed_installs_from_the_clone() -> None:
    assert [page for page in PAGES for command in blocks(page) if command.startswith("pip install 'styleid")] == []


STANDARD_TERMS = {
    "become of": "what happens to, the result for",
    "becomes of": "what happens to, the result for",
    "tell apart": "distinguish",
    "tells apart": "distinguishes",
    "told apart": "distinguished",
    "| wish |": "| task |",
    "faces of nobody": "faces of people who do not exist",
    "in hand": "in progress",
}
"""Phrases of earlier pages, and what to write instead."""


@pytest.mark.parametrize("page", [page for page in PAGES if "/aam128/" not in page])
def test_pages_use_standard_terms(page: str) -> None:
    text = read(page).lower()
    assert {phrase: term for phrase, term in STANDARD_TERMS.items() if phrase in text} == {}
