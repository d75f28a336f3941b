"""The files of oldest and newest versions agree with pyproject.toml."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_TRIED = {
    "lab": "trains networks; its torch is pinned in constraints.txt",
    "dev": "tests and linters",
    "docs": "builds the documentation site; pinned in constraints.txt",
    "ray": "is large; tests/engine/test_ray.py runs where it is installed",
}
"""Extras whose versions `make check` does not try, and why."""


BROUGHT = {"opencv-python-headless": "opencv-python"}
"""What other packages bring into the place of one of ours, whose version it must have."""


def floors() -> dict[str, str]:
    """Return the oldest version of each run-time dependency that pyproject.toml allows, by name in lower case."""
    tried = [needs for extra, needs in PROJECT["optional-dependencies"].items() if extra not in NOT_TRIED]
    found = {}
    for need in (*PROJECT["dependencies"], *(need for needs in tried for need in needs)):
        name, floor = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\w.]+)", need).groups()
        assert found.setdefault(name.lower(), floor) == floor, f"{name} has two floors"
    return found


def pinned(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.lower().split("==") for line in lines if line and not line.startswith("#"))


def parts(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def test_the_oldest_are_the_floors() -> None:
    oldest = pinned("constraints-oldest.txt")
    assert oldest.keys() == floors().keys() | BROUGHT.keys()
    for name, floor in floors().items():
        assert parts(oldest[name])[: len(parts(floor))] == parts(floor), name


def test_what_takes_the_place_of_another_package_has_its_version() -> None:
    for name in ("constraints-oldest.txt", "constraints-newest.txt"):
        versions = pinned(name)
        assert {versions[brought] == versions[own] for brought, own in BROUGHT.items()} == {True}


def test_the_newest_are_newer_or_the_only_ones() -> None:
    oldest, newest = pinned("constraints-oldest.txt"), pinned("constraints-newest.txt")
    assert newest.keys() == oldest.keys()
    assert {name for name, version in newest.items() if parts(version) < parts(oldest[name])} == set()


def test_every_extra_is_tried_or_has_a_reason() -> None:
    (tried,) = re.findall(r'^EXTRAS = "(.*)"$', (ROOT / "tools/check_versions.py").read_text(encoding="utf-8"), re.M)
    assert sorted([*tried.split(","), *NOT_TRIED]) == sorted(PROJECT["optional-dependencies"])
