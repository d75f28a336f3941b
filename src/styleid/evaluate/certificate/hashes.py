"""Hashes of all outputs of a run, which bind a certificate to these files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from styleid.errors import CertificateError

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Differences:
    """The files in which two lists of hashes differ. changed, missing, added: sorted names."""

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return one line for each file."""
        kinds = (("changed", self.changed), ("missing", self.missing), ("not in the certificate", self.added))
        return [f"{name}: {what}" for what, names in kinds for name in names]


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file; raises CertificateError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(_CHUNK):
                digest.update(part)
    except OSError as error:
        raise CertificateError(path, f"it cannot be read ({error.strerror}), so it cannot be certified.") from error
    return digest.hexdigest()


def hash_outputs(outputs: Path) -> dict[str, str]:
    """Return the SHA-256 of every output of a run, including hidden files, by its name.

    Args:
        outputs: A folder, whose files are named relative to it, or a single file.

    Raises:
        CertificateError: A file or folder cannot be read.
    """
    return {name: hash_file(path) for name, path in list_files(outputs)}


def list_files(outputs: Path) -> list[tuple[str, Path]]:
    """Return every file of a folder with its name, sorted. Links are followed; each real folder is listed once.

    Raises:
        CertificateError: The folder does not exist or cannot be listed.
    """
    if outputs.is_file():
        return [(outputs.name, outputs)]
    if not outputs.is_dir():
        raise CertificateError(outputs, "there is no such file or folder.")
    return sorted((path.relative_to(outputs).as_posix(), path) for path in _walk(outputs))


def _walk(folder: Path) -> Iterator[Path]:
    seen: set[Path] = set()

    def refuse(error: OSError) -> None:
        raise CertificateError(error.filename or folder, f"it cannot be listed ({error.strerror}).") from error

    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = Path(parent).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(parent) / name for name in names)


def differences(signed: Mapping[str, str], found: Mapping[str, str]) -> Differences:
    """Compare the hashes of a certificate with those of the existing files."""
    both = signed.keys() & found.keys()
    changed = sorted(name for name in both if signed[name] != found[name])
    return Differences(tuple(changed), tuple(sorted(signed.keys() - both)), tuple(sorted(found.keys() - both)))
