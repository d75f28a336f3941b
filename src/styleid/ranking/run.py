"""Rank the units of a bundle: sample people, measure every unit, compute scores, and measure curves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from styleid.bundles.bundle import Bundle
from styleid.errors import OptionError
from styleid.ranking import metric
from styleid.ranking.curves import Orders
from styleid.ranking.leak import FEWEST_PEOPLE, leak
from styleid.ranking.measure import MeasuredSwaps, Pairs, measure
from styleid.ranking.probe import ATTRIBUTES, Identity, Probe, attribute_scales, raw_attributes
from styleid.ranking.spaces import SPACES, Space, choose_space
from styleid.ranking.store import SETTINGS, State, packed
from styleid.ranking.subjects import Subjects, Watch, people_of_photos, sampled_people
from styleid.ranking.units import Members, UnitTable, unit_tables
from styleid.version import __version__

SAVE_EVERY = 32
"""Number of batches after which the state is saved."""


@dataclass(frozen=True)
class RankOptions:
    """What is ranked, and on which faces.

    Raises OptionError if a value is outside its range.

    units: kinds of units to rank, separated by commas, of channels, groups:SIZE, layers and windows (all runs of
        consecutive layers).
    space: space in which units are swapped, w+ or s (the scales of a StyleGAN's layers, without toRGB layers).
    pairs: number of pairs of a source and a target in which every unit is swapped, at least 1. The curves use as many
        other pairs if there are enough people.
    people: number of people on whom leak is measured, at least 10 and at least pairs.
    faces: folder with photos of the people, one subfolder or single photo per person. Default: people are sampled from
        the bundle.
    seed: number that makes the choice of people, targets and random orders repeatable.
    batch: number of faces that are generated at once, at least 1.
    """

    units: str = "layers,windows,groups:4,channels"
    space: str = "w+"
    pairs: int = 64
    people: int = 256
    faces: Path | None = None
    seed: int = 0
    batch: int = 32

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise OptionError("space", f"'{self.space}' is unknown; choose one of {', '.join(SPACES)}.")
        for name, least in (("pairs", 1), ("people", FEWEST_PEOPLE), ("batch", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise OptionError(name, f"must be at least {least}, not {getattr(self, name)}.")
        if self.people < self.pairs:
            raise OptionError("people", f"must be at least the number of pairs, {self.pairs}, not {self.people}.")


@dataclass(frozen=True)
class RankedTable:
    """Results for the units of one table.

    units: the units.
    d_id: mean change of identity, (units,).
    d_attr: mean change of attributes, (units,), standard deviations.
    landmarks: mean displacement of landmarks, (units,), inter-ocular distances.
    leak: share of the identity embedding's variance that the unit's source values explain, (units,).
    deviations: standard deviations of the three changes over the pairs, (units, 3).
    orders: the orders for which curves were measured; None without curves.
    curves: the curves by the order's name, (pairs, points, 3) each; None without curves.
    """

    units: UnitTable
    d_id: Float[np.ndarray, " units"]
    d_attr: Float[np.ndarray, " units"]
    landmarks: Float[np.ndarray, " units"]
    leak: Float[np.ndarray, " units"]
    deviations: Float[np.ndarray, "units 3"]
    orders: Orders | None = None
    curves: Mapping[str, Float[np.ndarray, "pairs points 3"]] | None = None

    @property
    def scores(self) -> dict[str, Float[np.ndarray, " units"]]:
        """The scores by name, (units,) each; the first is the default."""
        difference, ratio = metric.difference(self.d_id, self.d_attr), metric.ratio(self.d_id, self.d_attr)
        return {"difference": difference, "ratio": ratio, "d_id": self.d_id, "leak": self.leak}

    @property
    def spearman(self) -> float:
        """Spearman's rank correlation of the scores difference and ratio."""
        return metric.spearman(self.scores["difference"], self.scores["ratio"])


@dataclass(frozen=True)
class Ranking:
    """The ranking of a bundle's units.

    tables: results by the table's name.
    settings: the settings with which it was made.
    own: changes by each of the bundle's own swap steps, (pairs, 3); empty without curves.
    skipped: photos that were not used, each with the reason.
    """

    tables: Mapping[str, RankedTable]
    settings: Mapping[str, Any]
    own: Sequence[Float[np.ndarray, "pairs 3"]] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    def arrays(self) -> dict[str, Any]:
        """Return the arrays of a rankings file by name.

        Each table's default score has the table's name; other scores and changes are named `table@score`. Curves,
        (pairs, points, 3), have names that begin with `curves.`. Settings are JSON under `rank.settings`.
        """
        out: dict[str, Any] = {SETTINGS: json.dumps(dict(self.settings))}
        for name, table in self.tables.items():
            default, *others = table.scores
            kept = table.units.kept
            out[name] = kept(table.scores[default])
            out |= {f"{name}@{other}": kept(table.scores[other]) for other in others}
            out |= {f"{name}@d_attr": kept(table.d_attr), f"{name}@landmarks": kept(table.landmarks)}
            for order, curve in (table.curves or {}).items():
                out[f"curves.{name}.{order}"] = np.asarray(curve, np.float32)
            if table.orders is not None:
                out[f"curves.{name}.counts"] = np.array([0, *table.orders.counts])
        if self.own:
            out["curves.own"] = np.stack(self.own)
        return {name: np.asarray(v, np.float32) if _is_float(v) else v for name, v in out.items()}

    def content(self) -> bytes:
        """Return the content of a rankings file, .npz."""
        return packed(self.arrays())


def rank_units(
    bundle: Bundle,
    options: RankOptions | None = None,
    *,
    identity: Identity | None = None,
    judge: Identity | None = None,
    curves: bool = False,
    state: Path | None = None,
    watch: Watch | None = None,
) -> Ranking:
    """Measure how much identity, and how little else, each unit of a bundle's latent space changes.

    Args:
        bundle: The bundle.
        options: What is ranked, and on which faces; None for the defaults.
        identity: The recogniser that ranks; None for the bundle's.
        judge: The recogniser that measures curves; None for the one that ranks.
        curves: Whether to measure curves, on other people if there are enough.
        state: File in which the state is saved, so that an interrupted ranking can continue; None to save none. The
            caller removes it after saving the ranking.
        watch: Called with the progress; None for no calls.

    Returns:
        The ranking.

    Raises:
        OptionError: If an option does not fit the bundle, fewer than ten people were found, or the state belongs to a
            ranking with other settings.

    Examples:
        >>> from styleid import RankOptions, load_bundle, rank_units
        >>> options = RankOptions(units="layers", pairs=1, people=10)
        >>> ranking = rank_units(load_bundle(), options)
        >>> ranking.tables["layers"].d_id.shape
        (19,)
    """
    options = options or RankOptions()
    identity = identity or Identity.of_bundle(bundle)
    space = choose_space(options.space, bundle)
    tables = unit_tables(options.units, space.sizes, space.ranked, flat=space.flat)
    people = _people(bundle, identity, options, watch)
    if len(people) < FEWEST_PEOPLE:
        raise OptionError("faces", f"people found: {len(people)}; at least {FEWEST_PEOPLE} are needed.")
    settings = _settings(bundle, options, identity, judge or identity, people)
    run = _Run(bundle, space, options, people, State.open(state, settings) if state else None, watch)
    return run.rank(tables, identity, (judge or identity) if curves else None, settings)


@dataclass
class _Run:
    bundle: Bundle
    space: Space
    options: RankOptions
    people: Subjects
    state: State | None
    watch: Watch | None

    def rank(
        self, tables: Sequence[UnitTable], identity: Identity, judge: Identity | None, settings: Mapping[str, Any]
    ) -> Ranking:
        codes, targets = self.space.codes(self.people.wplus), self.space.codes(self.people.targets)
        scales = self._scales(codes)
        count = min(self.options.pairs, len(codes))
        probe = Probe(self.bundle, self.space, identity, scales)
        pairs = Pairs(codes[:count], targets[:count])
        distinct, places = _distinct([members for table in tables for members in table.members])
        values = self._measure("units", pairs, distinct, probe)
        leaks = self._leaks(codes, distinct)
        ranked, first = {}, 0
        for table in tables:
            own = places[first : first + len(table.members)]
            first += len(table.members)
            ranked[self.space.prefix + table.name] = _ranked(table, values[:, own], leaks[own])
        by_name = dict(zip(ATTRIBUTES, _firsts(scales), strict=True))
        settings = {**settings, "pairs_measured": count, "attribute_scales": by_name}
        if judge is None:
            return Ranking(ranked, settings, skipped=self.people.skipped)
        others = slice(count, 2 * count) if len(codes) >= 2 * count else slice(0, count)
        settings["curves_on_other_people"] = others.start > 0
        judging = Probe(self.bundle, self.space, judge, scales)
        own_swaps = self._curves(ranked, Pairs(codes[others], targets[others]), judging)
        return Ranking(ranked, settings, own_swaps, self.people.skipped)

    def _curves(self, ranked: dict[str, RankedTable], pairs: Pairs, probe: Probe) -> list[Float[np.ndarray, "pairs 3"]]:
        """Measure the curves of tables whose units do not overlap; return the changes by the bundle's own swaps."""
        orders = {
            name: Orders.of(table.units, table.scores, self.options.seed)
            for name, table in ranked.items()
            if table.units.is_partition
        }
        swaps = [swap for one in orders.values() for swap in one.swaps()]
        own = self._own_swaps()
        distinct, places = _distinct([*swaps, *own])
        values = self._measure("curves", pairs, distinct, probe)[:, places]
        first = 0
        for name, one in orders.items():
            part = values[:, first : first + len(one.swaps())]
            first += len(one.swaps())
            ranked[name] = RankedTable(**vars(ranked[name]) | {"orders": one, "curves": one.curves(part)})
        return [values[:, first + k] for k in range(len(own))]

    def _own_swaps(self) -> list[Members]:
        """Return what each of the bundle's own steps swaps in W+; nothing for S."""
        spec = self.bundle.spec
        return [] if self.space.prefix else [spec.numbers(step.rows) for step in spec.swaps]

    def _measure(
        self, stage: str, pairs: Pairs, swaps: Sequence[Members], probe: Probe
    ) -> Float[np.ndarray, "pairs swaps 3"]:
        sizes = len(pairs), len(swaps)
        measured = self.state.stage(stage, *sizes) if self.state else MeasuredSwaps.empty(*sizes)
        batches, total = 0, len(pairs) * len(swaps)

        def after_batch() -> None:
            nonlocal batches
            batches += 1
            if self.watch is not None:
                self.watch(measured.done, total, stage)
            if self.state is not None and batches % SAVE_EVERY == 0:
                self.state.save()

        try:
            measure(pairs, swaps, probe.read, measured, self.options.batch, after_batch)
        finally:
            if self.state is not None:
                self.state.save()
        return np.asarray(measured.values, np.float64)

    def _leaks(self, codes: Float[np.ndarray, "n numbers"], swaps: Sequence[Members]) -> Float[np.ndarray, " swaps"]:
        found = np.zeros(len(swaps))
        for k, members in enumerate(swaps):
            found[k] = leak(codes[:, members], self.people.embeddings, self.options.seed)
            if self.watch is not None and k % 64 == 0:
                self.watch(k, len(swaps), "leak")
        return found

    def _scales(self, codes: Float[np.ndarray, "n numbers"]) -> Float[np.ndarray, " a"]:
        parts = []
        for start in range(0, len(codes), self.options.batch):
            images, landmarks = self.space.render(codes[start : start + self.options.batch])
            parts.append(raw_attributes(self.bundle.describe(images.round().astype(np.uint8)), images, landmarks))
        return attribute_scales(np.concatenate(parts))


def _people(bundle: Bundle, identity: Identity, options: RankOptions, watch: Watch | None) -> Subjects:
    if options.faces is None:
        return sampled_people(bundle, identity, options.people, options.seed)
    return people_of_photos(bundle, identity, options.faces, options.people, options.seed, watch)


def _settings(
    bundle: Bundle, options: RankOptions, identity: Identity, judge: Identity, people: Subjects
) -> dict[str, Any]:
    """Return everything on which a ranking depends; a state is used only if all of it is the same."""
    networks = json.dumps({role: file.sha256 for role, file in sorted(bundle.spec.networks.items())})
    faces = hashlib.sha256(people.wplus.round(4).tobytes() + people.targets.round(4).tobytes())
    return {
        "bundle": f"{bundle.spec.name} {bundle.spec.version}",
        "bundle_networks_sha256": hashlib.sha256(networks.encode()).hexdigest(),
        "units": options.units,
        "space": options.space,
        "pairs": options.pairs,
        "people": len(people),
        "faces": "sampled" if options.faces is None else "photos",
        "faces_sha256": faces.hexdigest(),
        "seed": options.seed,
        "batch": options.batch,
        "identity": f"{identity.name} {identity.fingerprint[:16]}",
        "judge": f"{judge.name} {judge.fingerprint[:16]}",
        "versions": {name: version(name) for name in ("numpy", "onnxruntime")} | {"styleid": __version__},
    }


def _distinct(swaps: Sequence[Members]) -> tuple[list[Members], Int[np.ndarray, " n"]]:
    """Return the distinct swaps, and the index of each given swap among them."""
    known: dict[bytes, int] = {}
    places = np.array([known.setdefault(swap.tobytes(), len(known)) for swap in swaps])
    firsts = np.unique(places, return_index=True)[1]
    return [swaps[k] for k in firsts], places


def _ranked(
    table: UnitTable, values: Float[np.ndarray, "pairs units 3"], leaks: Float[np.ndarray, " units"]
) -> RankedTable:
    d_id, d_attr, landmarks = values.mean(0).T
    return RankedTable(table, d_id, d_attr, landmarks, leaks, values.std(0))


def _firsts(scales: Float[np.ndarray, " a"]) -> list[float]:
    starts = np.cumsum([0, *(numbers for numbers, _ in ATTRIBUTES.values())])[:-1]
    return [round(float(scales[start]), 5) for start in starts]


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating)
