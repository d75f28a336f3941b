"""Typed errors that state what was given, what was expected, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class StyleIDError(Exception):
    """Base of every error that styleid raises on purpose."""

    def __reduce__(self) -> tuple[type[StyleIDError], tuple[Any, ...]]:
        """Pickle an error by its fields, so that a worker's reaches the process that waits for it."""
        return type(self), tuple(vars(self).values()) or self.args


class MissingDependencyError(StyleIDError):
    """Something optional is not installed. Fields: what, package."""

    def __init__(self, what: str, package: str) -> None:
        self.what, self.package = what, package
        super().__init__(f"{what} is not installed. Type: pip install {package}")


class ImageError(StyleIDError):
    """An image file cannot be used. Fields: path, a Path or the text of a URL; reason."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = _path_or_url(path), reason
        super().__init__(f"{path}: {reason}")


class OutputError(StyleIDError):
    """An output file cannot be written. Fields: path, a Path or the text of a URL; reason."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = _path_or_url(path), reason
        super().__init__(f"{path}: {reason}")


class BundleError(StyleIDError):
    """A bundle is missing, incomplete, altered or not usable. Fields: bundle, reason."""

    def __init__(self, bundle: Path | str, reason: str) -> None:
        self.bundle, self.reason = str(bundle), reason
        super().__init__(f"Bundle {bundle}: {reason}")


class CheckpointError(StyleIDError):
    """A file of somebody else's weights cannot be used. Fields: path, reason."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = Path(path), reason
        super().__init__(f"{path}: {reason}")


class OptionError(StyleIDError, ValueError):
    """An option has a value that cannot work.

    Fields: option, the name of a field of an option class or of an argument; reason, in which other options stand in
    backticks, `name` or `name=value`, so that the command line can show them as flags.
    """

    def __init__(self, option: str, reason: str) -> None:
        self.option, self.reason = option, reason
        super().__init__(f"{option}: {reason}")


class DecisionError(StyleIDError, ValueError):
    """What a person decided about a photo's faces does not fit the photo. Fields: reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class KeyFileError(StyleIDError):
    """A key file cannot be used. Fields: path, reason."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = Path(path), reason
        super().__init__(f"key {path}: {reason}")


class PeopleFileError(StyleIDError):
    """The people file of a key cannot be used. Fields: path, reason."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = Path(path), reason
        super().__init__(f"people file {path}: {reason}")


class CertificateError(StyleIDError):
    """A certificate, or a file that it speaks of, cannot be used. Fields: path, reason."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = Path(path), reason
        super().__init__(f"{path}: {reason}")


class TrainingError(StyleIDError):
    """A training run cannot start or go on."""


class VideoError(StyleIDError):
    """A video, or a folder of frames, cannot be used. Fields: path, reason."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = Path(path), reason
        super().__init__(f"{path}: {reason}")


class DatasetError(StyleIDError):
    """A data set, or a file of it, cannot be used. Fields: path, reason."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = Path(path), reason
        super().__init__(f"{path}: {reason}")


def _path_or_url(path: Path | str) -> Path | str:
    return str(path) if "://" in str(path) else Path(str(path))
