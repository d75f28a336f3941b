"""Hostile requests as raw bytes, generated from a seed.

Each kind is a function that returns a random case with the statuses that it may lead to. A request that is broken off
gets no response. `cases` cycles through all kinds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from tests.serve.hostile import archives, forms, pictures
from tests.serve.hostile.requests import Case

KINDS: tuple[Callable[[random.Random], Case], ...] = (
    archives.climbing, archives.many_members, archives.second_end, archives.bomb, archives.overlapping,
    archives.nested, archives.no_plain_file, archives.encrypted, archives.damaged, archives.one_name,
    pictures.huge_picture, pictures.packed_metadata, pictures.broken_picture, pictures.no_picture, pictures.polyglot,
    forms.large_file, forms.many_parts, forms.broken_form, forms.wrong_settings, forms.wrong_fields, forms.breaks_off,
    forms.wrong_http, forms.wrong_json,
)  # fmt: skip


def cases(seed: int, count: int) -> Iterator[Case]:
    """Yield this number of cases, of all kinds in turn."""
    rng = random.Random(seed)
    for number in range(count):
        yield KINDS[number % len(KINDS)](rng)
