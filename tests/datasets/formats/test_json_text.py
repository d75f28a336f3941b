"""Edits of JSON text change only the requested places."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from styleid.datasets.formats.coco.json_text import PieceKind, edit, walk

NUMBERS = st.sampled_from(["0", "-0", "1.50", "1e5", "1E+02", "12345678901234567890123", "0.1000", "-7", "NaN"])
SPACE = st.sampled_from(["", " ", "\n  ", "\t", "\r\n"])
TEXT = st.text('aé\u2028"\\/😀 \n[]{},:', max_size=5)
SCALARS = st.one_of(NUMBERS, st.sampled_from(["null", "true"]), TEXT.map(json.dumps))
QUICK = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def items(draw) -> str:
    """Draw an object with an id and odd fields, some of them double, or a bare value."""
    if draw(st.integers(0, 5)) == 0:
        return draw(SCALARS)
    fields = [f'"id":{draw(SPACE)}{draw(st.integers(0, 9))}']
    fields += [f"{json.dumps(draw(TEXT))}:{draw(SCALARS)}" for _ in range(draw(st.integers(0, 2)))]
    return "{" + f",{draw(SPACE)}".join(draw(st.permutations(fields))) + draw(SPACE) + "}"


@st.composite
def objects(draw) -> str:
    members = []
    for key in draw(st.lists(st.sampled_from(["images", "annotations", "info", "ß", "licenses"]), max_size=4)):
        if draw(st.booleans()):
            inner = draw(st.lists(items(), max_size=4))
            value = "[" + draw(SPACE) + f"{draw(SPACE)},{draw(SPACE)}".join(inner) + draw(SPACE) + "]"
        else:
            value = draw(items())
        members.append(f"{json.dumps(key, ensure_ascii=False)}{draw(SPACE)}:{draw(SPACE)}{value}")
    return draw(SPACE) + "{" + draw(SPACE) + f",{draw(SPACE)}".join(members) + draw(SPACE) + "}" + draw(SPACE)


def pairs(text: str):
    """Return a JSON text as nested lists of pairs with numbers as they are written."""
    return json.loads(text, object_pairs_hook=lambda p: ("object", p), parse_int=str, parse_float=str,
                      parse_constant=str)  # fmt: skip


@QUICK
@given(objects())
def test_nothing_asked_nothing_changed(text):
    assert edit(text, lambda key, item: True, {}) == text


@QUICK
@given(objects(), st.integers(0, 2**16))
def test_items_go_and_come_and_the_rest_stays(text, mask):
    turn = iter(range(10**6))

    def keep(key: str, item: object) -> bool:
        return bool(mask >> (next(turn) % 16) & 1)

    arrays = {piece.key for piece in walk(text) if piece.part is PieceKind.END}
    added = {key: ['{"new": 1.0}', '{"new": 2}'] for key in arrays & {"annotations"}}
    changed = edit(text, keep, added)
    turn = iter(range(10**6))
    members = pairs(text)[1]
    last = max((i for i, (key, value) in enumerate(members) if key == "annotations" and isinstance(value, list)),
               default=-1)  # fmt: skip
    expected = []
    for i, (key, value) in enumerate(members):
        left = [item for item in value if keep(key, None)] if isinstance(value, list) else value
        new = [("object", [("new", "1.0")]), ("object", [("new", "2")])] if added and i == last else []
        expected.append((key, [*left, *new] if isinstance(value, list) else value))
    assert pairs(changed) == ("object", expected)


@QUICK
@given(objects())
def test_pieces_are_where_they_say(text):
    for piece in walk(text):
        if piece.part is PieceKind.END:
            assert text[piece.start : piece.end] == "]"
        else:
            assert repr(json.loads(text[piece.start : piece.end])) == repr(piece.value)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "7", '{"a": [1,]}', '{"a": [1 2]}', '{"a": 1,}', '{"a" 1}', "{} x", "{1: 2}"),
        *('{"a": ' + "[" * 10**5, '{"a": [', '{"a": [1', '{"a": {"b": }}', '{"a": "'),
    ],
)  # fmt: skip
def test_what_is_no_object_is_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        list(walk(text))


def test_adding_to_what_is_no_array_is_refused():
    with pytest.raises(ValueError, match="'annotations' is not an array"):
        edit('{"annotations": null}', lambda *_: True, {"annotations": ["{}"]})
