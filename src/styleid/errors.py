"""The errors that styleid raises. Each message says what was given, what was expected, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class StyleIDError(Exception):
    """Base class of all errors that styleid raises."""

    def __reduce__(self) -> tuple[type[StyleIDError], tuple[Any, ...]]:
        """Pickle an error by its fields, so that a worker process can pass it on."""
        return type(self), tuple(vars(self).values()) or self.args


class MissingDependencyError(StyleIDError):
    """An optional dependency is not installed.

    Attributes:
        what: what is missing and what it is needed for, as the beginning of the message.
        package: what to install, as an argument of `pip install`.
    """

    def __init__(self, what: str, package: str) -> None:
        self.what, self.package = what, package
        super().__init__(f"{what} is not installed. Type: pip install {package}")


class ImageError(StyleIDError):
    """An image file cannot be used.

    Attributes:
        path: the file, a Path or the text of a URL.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = _path_or_url(path), reason
        super().__init__(f"{path}: {reason}")


class OutputError(StyleIDError):
    """An output file cannot be written.

    Attributes:
        path: the file, a Path or the text of a URL.
        reason: what went wrong.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = _path_or_url(path), reason
        super().__init__(f"{path}: {reason}")


class BundleError(StyleIDError):
    """A bundle is missing, incomplete, changed or not usable.

    Attributes:
        bundle: its name or folder.
        reason: what is wrong with it.
    """

    def __init__(self, bundle: Path | str, reason: str) -> None:
        self.bundle, self.reason = str(bundle), reason
        super().__init__(f"Bundle {bundle}: {reason}")


class CheckpointError(StyleIDError):
    """A file with weights from another project cannot be used.

    Attributes:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = Path(path), reason
        super().__init__(f"{path}: {reason}")


class OptionError(StyleIDError, ValueError):
    """An option or argument has a value that cannot be used.

    Attributes:
        option: the name of the field of an option class, or of a parameter, such as min_face_px.
        reason: what is wrong with the value, and what to give instead. Other options are written in backticks, `name`
            or `name=value`, so that the command line can show them as flags.
    """

    def __init__(self, option: str, reason: str) -> None:
        self.option, self.reason = option, reason
        super().__init__(f"{option}: {reason}")


def require_paths(**given: object) -> None:
    """Refuse texts where paths are expected, before a run starts.

    Args:
        **given: Values by the name of their option or parameter.

    Raises:
        OptionError: A value is a text. The message shows the path to give instead.
    """
    for option, value in given.items():
        if isinstance(value, str):
            raise OptionError(option, f"{value!r} is a text; a path is needed: pathlib.Path({value!r}).")


class DecisionError(StyleIDError, ValueError):
    """A person's decisions about a photo's faces do not fit the photo.

    Attributes:
        reason: which decision, and how to correct it.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class KeyFileError(StyleIDError):
    """A key file cannot be used.

    Attributes:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = Path(path), reason
        super().__init__(f"key {path}: {reason}")


class PeopleFileError(StyleIDError):
    """The people file that belongs to a key cannot be used.

    Attributes:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = Path(path), reason
        super().__init__(f"people file {path}: {reason}")


class CertificateError(StyleIDError):
    """A certificate, or a file that it refers to, cannot be used.

    Attributes:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = Path(path), reason
        super().__init__(f"{path}: {reason}")


class TrainingError(StyleIDError):
    """A training run cannot start or continue."""


class VideoError(StyleIDError):
    """A video, or a folder of frames, cannot be used.

    Attributes:
        path: the file or folder.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = Path(path), reason
        super().__init__(f"{path}: {reason}")


class DatasetError(StyleIDError):
    """A data set, or one of its files, cannot be used.

    Attributes:
        path: the folder or file.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = Path(path), reason
        super().__init__(f"{path}: {reason}")


def _path_or_url(path: Path | str) -> Path | str:
    return str(path) if "://" in str(path) else Path(str(path))
