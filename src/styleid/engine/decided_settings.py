"""Take settings from a decisions file for options that the user did not set."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from styleid.core.options import AnonymizeOptions, PeopleOptions
from styleid.engine.decisions import OPTION, Decisions
from styleid.engine.options import RunOptions
from styleid.errors import OptionError
from styleid.faces.detect import DetectorOptions

T = TypeVar("T")


def adopt_run(
    decisions: Decisions, how: AnonymizeOptions, run: RunOptions, people: PeopleOptions, typed: Collection[str]
) -> tuple[AnonymizeOptions, RunOptions, PeopleOptions]:
    """Return the options of a run over photos with the settings of a decisions file; see `adopt_options`."""
    marking = adopt(decisions, run.marking, typed)
    run = dataclasses.replace(adopt(decisions, run, typed), marking=marking)
    return adopt_options(decisions, how, typed), run, adopt_targets(decisions, people, typed)


def adopt_options(decisions: Decisions, how: AnonymizeOptions, typed: Collection[str]) -> AnonymizeOptions:
    """Return the options of the anonymiser with the settings of a decisions file.

    Args:
        decisions: The decisions file.
        how: The options as the user set them.
        typed: Names of the options that the user set.

    Raises:
        OptionError: An option that the user set contradicts the file, or the file has a value that is not allowed.
    """
    detector = decisions.settings.get("detector", {})
    if not isinstance(detector, Mapping):
        raise OptionError(OPTION, f"{decisions.source}: settings.detector must be an object.")
    chosen = adopt(decisions, how, typed)
    return dataclasses.replace(chosen, detector=adopt(decisions, how.detector, typed, detector, "settings.detector"))


def adopt_targets(decisions: Decisions, people: PeopleOptions, typed: Collection[str]) -> PeopleOptions:
    """Return the options about people with the settings of a decisions file; see `adopt_options`."""
    return adopt(decisions, people, typed, {"targets": decisions.settings.get("targets", "fresh")})


def adopt(
    decisions: Decisions,
    options: T,
    typed: Collection[str],
    settings: Mapping[str, Any] | None = None,
    where: str = "settings",
) -> T:
    """Return options with the values of settings for every field that the user did not set.

    Args:
        decisions: The decisions file.
        options: A dataclass. Fields that are dataclasses themselves stay as they are.
        typed: Names of the options that the user set.
        settings: The settings; by default those of the decisions file.
        where: What messages call the settings.

    Raises:
        OptionError: An option that the user set contradicts the file, or the file has a value that is not allowed.
    """
    settings, hints = decisions.settings if settings is None else settings, get_type_hints(type(options))
    found: dict[str, Any] = {}
    for field in dataclasses.fields(options):  # type: ignore[arg-type]
        name, kind = field.name, hints[field.name]
        if name not in settings or kind is DetectorOptions or not _is_plain(kind):
            continue
        value, own, place = settings[name], getattr(options, name), f"{decisions.source}: {where}.{name}"
        if not _fits(value, kind):
            raise OptionError(OPTION, f"{place} cannot be {json.dumps(value)}.")
        if name in typed and value != own:
            raise OptionError(
                OPTION,
                f"{place} is {json.dumps(value)}, but `{name}` is {own}. Leave `{name}` out, or make new decisions "
                "with it.",
            )
        found[name] = value
    return dataclasses.replace(options, **found)  # type: ignore[type-var]


def _is_plain(kind: Any) -> bool:
    """Return whether JSON can hold values of a type as they are."""
    if get_origin(kind) is Literal:
        return True
    if args := get_args(kind):
        return all(_is_plain(one) for one in args)
    return kind in (str, int, float, bool, type(None))


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if args := get_args(kind):
        return any(_fits(value, one) for one in args)
    return type(value) is kind or (kind is float and type(value) is int)
