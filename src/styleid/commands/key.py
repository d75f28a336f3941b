"""styleid key: make the secret that pseudonyms depend on."""

from __future__ import annotations

from pathlib import Path

from styleid.people.key_file import new_key
from styleid.people.people_file import SUFFIX


def make_key(path: Path) -> int:
    """Write a new key and say what it is worth; return the exit status."""
    new_key(path)
    print(
        f"{path}: a new key, readable by its owner alone. Whoever has it and {path.name}{SUFFIX} can tell which new "
        "face stands for whom.\nKeep it apart from the pictures. Once it is destroyed, nobody can tell any more, and "
        "no later run can go on with the same faces."
    )
    return 0
