"""Requests that are made to harm, drawn by a seed, as the bytes that go through the socket.

Each kind is a function that draws one of its cases. What a case may end in is part of it; a request that breaks off
gets no answer. `cases` goes round all kinds, so that any number of cases has some of each.
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
    """Draw so many cases, of all kinds in turn."""
    rng = random.Random(seed)
    for number in range(count):
        yield KINDS[number % len(KINDS)](rng)
