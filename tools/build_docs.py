"""Build the documentation site and check it. Usage: `python tools/build_docs.py`.

The pages of docs/ and a few documents beside it are copied to build/docs/pages, with their links turned to the copies;
the command-line and Python references are written from the code; Zensical builds the site, where every warning is an
error. Then the built pages are checked: each picture, style sheet, script, link and anchor must exist, and no page may
load a file from elsewhere.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import styleid
from styleid.cli import build_parser

ROOT = Path(__file__).resolve().parents[1]
PAGES, SITE = ROOT / "build/docs/pages", ROOT / "build/docs/site"

BESIDE = {
    "benchmarks/README.md": "benchmarks.md",
    "src/styleid/bundles/context128/CARD.md": "cards/context128.md",
    "src/styleid/bundles/aam128/CARD.md": "cards/aam128.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "THIRD_PARTY.md": "third-party.md",
    "README.md": "index.md",
}
"""Documents outside docs/, and their pages. The site begins with docs/index.md; links to the README lead there."""

_PYTHON = """Everything that `import styleid` offers. Each command has one function: it takes the same options, prints
nothing, and returns what was done. [Anonymise photos](../anonymize.md#from-python) has examples. Training needs the
extra `lab`."""

_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")
_FENCED = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)


def main() -> int:
    """Build and check the site; return the exit status."""
    os.environ["COLUMNS"] = "88"  # argparse wraps its help by it
    _collect()
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        print(_plain(done.stdout + done.stderr), f"zensical ended with status {done.returncode}", file=sys.stderr)
        return 1
    wrong = sorted(set(faults(SITE)))
    for fault in wrong:
        print(fault, file=sys.stderr)
    print(f"{len(list(SITE.rglob('*.html')))} pages in {SITE.relative_to(ROOT)}, {len(wrong)} faults")
    return 1 if wrong else 0


def _plain(output: str) -> str:
    """Return Zensical's output without colours, and without the traceback after a strict build's warnings."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", output)
    warnings, _, _ = text.partition("Traceback")
    return warnings if "issue" in warnings else text


def _collect() -> None:
    shutil.rmtree(PAGES.parent, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES)
    pages = {path.relative_to(ROOT).as_posix(): path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*")}
    places = pages | {source: Path(page) for source, page in BESIDE.items()}
    for source, page in places.items():
        if source.endswith(".md") and source != "README.md":
            text = (ROOT / source).read_text(encoding="utf-8")
            _write(page, with_links(text, source, places))
    _write(Path("reference/cli.md"), command_reference())
    _write(Path("reference/api.md"), python_reference())


def _write(page: Path, text: str) -> None:
    target = PAGES / page
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def with_links(text: str, source: str, places: dict[str, Path]) -> str:
    """Turn a document's relative links to the pages of the site.

    Args:
        text: the document, Markdown.
        source: its path in the repository.
        places: the page of each document and picture, by its path in the repository.

    Returns:
        The document with new links. Links to files that are no part of the site stay, and the build then names them.
    """

    def turned(match: re.Match[str]) -> str:
        target, hash_, anchor = match[2].partition("#")
        if not target or urlsplit(target).scheme:
            return match[0]
        wanted = Path(os.path.normpath(Path(source).parent / target)).as_posix()
        if wanted not in places:
            return match[0]
        return match[1] + os.path.relpath(places[wanted], places[source].parent) + hash_ + anchor + match[3]

    parts = _FENCED.split(text)
    return "".join(part if index % 2 else _LINK.sub(turned, part) for index, part in enumerate(parts))


def command_reference() -> str:
    """Return the page of the command line, written from its parsers."""
    lines = ["# Command line", "", "Every command with its options, written from the program's own parsers.", ""]
    lines += ["`styleid train` has its own page: [training](../training.md).", ""]
    for command in _subparsers(build_parser([])):
        if command != "train":
            lines += _command_page(_subparsers(build_parser([command]))[command], 2)
    return "\n".join(lines)


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    kinds = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(kinds[0].choices) if kinds else {}


def _command_page(parser: argparse.ArgumentParser, level: int) -> list[str]:
    lines = ["#" * level + f" {parser.prog}", ""]
    lines += [_cell(parser.description[0].upper() + parser.description[1:]) + ".", ""] if parser.description else []
    lines += ["```", parser.format_usage().strip(), "```", ""]
    options = [_option(parser, action) for action in parser._actions if _is_shown(action)]
    lines += ["| argument | meaning |", "|---|---|", *options, ""] if options else []
    for part in _subparsers(parser).values():
        lines += _command_page(part, level + 1)
    return lines


def _is_shown(action: argparse.Action) -> bool:
    return not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)) and action.help != "==SUPPRESS=="


def _option(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    text = formatter._expand_help(action) if action.help else ""
    called = ", ".join(action.option_strings) or str(action.metavar or action.dest)
    if action.option_strings and action.nargs != 0:
        called += " " + formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
    return f"| `{_cell(called)}` | {_cell(text)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def python_reference() -> str:
    """Return the page of the Python interface: everything that `styleid` exports."""
    kinds: dict[str, list[str]] = {"Functions": [], "Results and other classes": [], "Options": [], "Errors": []}
    for name in (name for name in styleid.__all__ if not name.startswith("__")):
        kinds[_kind(name)].append(f"styleid.{name}")
    kinds["Training"] = [f"styleid.{name}" for name in styleid.TRAINING]
    lines = ["# Python", "", _PYTHON, ""]
    for title, names in kinds.items():
        lines += [f"## {title}", ""] + [f"::: {name}\n" for name in names]
    return "\n".join(lines)


def _kind(name: str) -> str:
    value = getattr(styleid, name)
    if not inspect.isclass(value):
        return "Functions"
    if issubclass(value, Exception):
        return "Errors"
    return "Options" if name.endswith("Options") else "Results and other classes"


class Page(HTMLParser):
    """The files that a built page loads, its links and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Store the addresses of a tag."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload", "modulepreload", "preconnect"):
            self.loads.append(values.get("href", ""))
        elif "src" in values:
            self.loads.append(values["src"])


def faults(site: Path) -> Iterator[str]:
    """Yield the faults of a built site.

    Args:
        site: folder of the built pages.

    Yields:
        One line for each file that a page loads from elsewhere, and for each missing file, page or anchor.
    """
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    for path, page in pages.items():
        name = path.relative_to(site.resolve()).as_posix()
        if name == "404.html":  # its addresses are those of the server's root
            continue
        for address in page.loads:
            if urlsplit(address).netloc:
                yield f"{name}: loads {address} from elsewhere"
            elif not address.startswith("data:") and not (path.parent / unquote(urlsplit(address).path)).is_file():
                yield f"{name}: lacks {address}"
        for address in page.links:
            parts = urlsplit(address)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if parts.scheme or parts.netloc or parts.path == ".":
                continue
            if not target.exists():
                yield f"{name}: {address} leads nowhere"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{name}: {address} is an anchor that does not exist"
    for path in site.rglob("*.css"):
        for address in re.findall(r"(?:url\(|@import )[\"']?(https?:[^\"')]+)", path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: loads {address} from elsewhere"


if __name__ == "__main__":
    sys.exit(main())
