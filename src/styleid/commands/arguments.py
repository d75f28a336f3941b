"""Build command-line arguments from frozen dataclasses, whose docstrings are the help.

A class docstring's paragraphs of the form ``name: what it is.`` describe the fields; nested option classes are laid out
flat, under their own names.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from styleid.commands.messages import with_flags
from styleid.errors import StyleIDError
from styleid.media.storage.remote import Place, RemotePath, place

T = TypeVar("T")


_TITLES = {
    "AnonymizeOptions": "new faces",
    "AnnotationOptions": "annotations",
    "CocoOptions": "places of a COCO data set",
    "DetectorOptions": "face detection",
    "EncodeOptions": "encoding",
    "Limits": "limits",
    "LiveOptions": "live pictures",
    "MarkOptions": "marks of generated faces",
    "PeopleOptions": "people",
    "ShardOptions": "shards",
    "TrackOptions": "sound and other tracks",
}
"""Titles in the help of groups of options, by the name of the option class. Other classes' options have none."""


def add_options(parent: argparse.ArgumentParser, cls: type[Any], skip: Collection[str] = ()) -> None:
    """Add an argument for each field of an option class, except the fields in skip."""
    texts, hints = field_help(cls), get_type_hints(cls)
    title = _TITLES.get(cls.__name__)
    parser = parent if title is None else parent.add_argument_group(title)
    for field in (one for one in dataclasses.fields(cls) if one.name not in skip):
        kind = _unwrapped(hints[field.name])
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            add_options(parent, kind, skip)
            continue
        flag = "--" + field.name.replace("_", "-")
        default = _default(field)
        text = texts.get(field.name, "").replace("%", "%%")
        if kind is bool:
            parser.add_argument(flag, action="store_true", help=text)
            continue
        if get_origin(kind) is tuple:
            item = get_args(kind)[0]
            parser.add_argument(
                flag, nargs="+", default=default, type=item, metavar=_metavar(field.name, item), help=text
            )
            continue
        required = default is dataclasses.MISSING
        shown = "" if required or default in (None, "") else f" (default: {default})"
        choices = list(get_args(kind)) if get_origin(kind) is Literal else None
        parser.add_argument(
            flag,
            required=required,
            default=None if required else default,
            type=str if choices else _reader(hints[field.name]),
            choices=choices,
            metavar=None if choices else _metavar(field.name, kind),
            help=text + shown,
        )


def typed_names(parser: argparse.ArgumentParser, parsed: argparse.Namespace, given: Sequence[str]) -> set[str]:
    """Return the names of the arguments that were typed; the others have their defaults.

    Args:
        parser: The parser that read the arguments.
        parsed: What it returned.
        given: What it read.
    """
    untyped = object()
    again = parser.parse_args(given, argparse.Namespace(**dict.fromkeys(vars(parsed), untyped)))
    return {name for name, value in vars(again).items() if value is not untyped}


def read_options(cls: type[T], values: Mapping[str, Any]) -> T:
    """Build an option class from parsed arguments. Fields that a command does not offer have their defaults."""
    hints = get_type_hints(cls)
    chosen = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name not in values and field.default is not dataclasses.MISSING:
            continue
        kind = _unwrapped(hints[field.name])
        nested = isinstance(kind, type) and dataclasses.is_dataclass(kind)
        chosen[field.name] = read_options(kind, values) if nested else values[field.name]
        if get_origin(kind) is tuple:
            chosen[field.name] = tuple(chosen[field.name])
    return cls(**chosen)


def field_help(cls: type[Any]) -> dict[str, str]:
    """Return the help text of each field, from the class docstring."""
    names = "|".join(field.name for field in dataclasses.fields(cls))
    text = re.sub(r"\s+", " ", cls.__doc__ or "")
    parts = re.split(rf"(?:^|(?<=\. )|(?<=\.))\s*({names}): ", text)
    return {name: with_flags(body.strip().rstrip(".")) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def _unwrapped(kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        options = [option for option in get_args(kind) if option is not type(None)]
        return options[0]
    return kind


def here_or_url(text: str) -> Place:
    """Read a path or an fsspec URL; for the type of an argument."""
    try:
        return place(text)
    except StyleIDError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def here(text: str) -> Path:
    """Read the path of a file or folder of this machine; for the type of an argument."""
    found = here_or_url(text)
    if isinstance(found, Path):
        return found
    raise argparse.ArgumentTypeError(f"{found} is a URL; give a path on this machine.")


def _reader(hint: Any) -> Callable[[str], Any]:
    if RemotePath in get_args(hint):
        return here_or_url
    kind = _unwrapped(hint)
    return here if kind is Path else kind if kind in (int, float) else str


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default


def _metavar(name: str, kind: Any) -> str:
    return {int: "N", float: "X", Path: "PATH"}.get(kind, name.rsplit("_", maxsplit=1)[-1].upper())
