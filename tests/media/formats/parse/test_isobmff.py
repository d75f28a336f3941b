"""Items of AVIF and HEIC files in every version of their boxes, and the errors for damaged files."""

import struct

import pytest

from styleid.media.containers.errors import BadFileError, CutShortError
from styleid.media.formats.parse.isobmff import all_properties, read_heif
from tests.media.boxes import FTYP, box, heif, iinf, iloc, infe, iprp, iref, pitm

ISPE = box(b"ispe", struct.pack(">II", 4, 5), 0, 0)


def test_wide_numbers_are_read_as_narrow_ones_are() -> None:
    narrow = heif(
        pitm(7),
        iinf(infe(7, b"av01", b"Color"), infe(8, b"Exif")),
        iref((b"cdsc", 8, (7,))),
        iprp(box(b"ipma", struct.pack(">IHBB", 1, 7, 1, 0x81), 0, 0), ISPE),
    )
    wide = heif(
        pitm(7, 1),
        iinf(infe(7, b"av01", b"Color", 3), infe(8, b"Exif", version=3), version=1),
        iref((b"cdsc", 8, (7,)), version=1),
        iprp(box(b"ipma", struct.pack(">IIBH", 1, 7, 1, 0x8001), 1, 1), ISPE),
    )
    for data in (narrow, wide):
        file = read_heif(data)
        assert file.primary == 7
        assert file.brands == (b"avif", b"avif", b"mif1")
        assert file.picture() is file.items[7]
        assert (file.items[7].kind, file.items[7].name) == (b"av01", b"Color")
        assert file.items[8].links == [(b"cdsc", (7,))]
        assert file.items[7].property_body(b"ispe") == ISPE[8:]
        assert file.items[7].property_body(b"pixi") is None
        assert all_properties(data, file.meta) == [(b"ispe", ISPE[8:])]


@pytest.mark.parametrize(
    ("version", "item", "sizes"),
    [
        (0, lambda at: struct.pack(">HHHII", 1, 0, 1, at, 3), 0x4400),
        (0, lambda at: struct.pack(">HHIHII", 1, 0, max(at - 2, 0), 1, 2, 3), 0x4440),
        (1, lambda at: struct.pack(">HHHHII", 1, 0, 0, 1, at, 3), 0x4400),
        (1, lambda at: struct.pack(">HHHHIII", 1, 0, 0, 1, 9, at, 3), 0x4404),
        (2, lambda at: struct.pack(">IHHHII", 1, 0, 0, 1, at, 3), 0x4400),
        (1, lambda _: struct.pack(">HHHHII", 1, 1, 0, 1, 2, 3), 0x4400),
        (0, lambda at: struct.pack(">HHHI", 1, 0, 1, at), 0x4000),
    ],
    ids=["v0", "v0 with base", "v1", "v1 with index", "v2", "in idat", "to the end"],
)
def test_places_are_found_in_every_version(version, item, sizes) -> None:
    idat = box(b"idat", b"..abc")

    def made(at: int) -> bytes:
        return heif(iinf(infe(1, b"av01")), iloc(version, item(at), sizes=sizes), idat, behind=box(b"mdat", b"abc"))

    data = made(len(made(0)) - 3)
    (place,) = read_heif(data).items[1].places
    assert data[slice(*place)] == b"abc"


def test_old_entries_and_properties_that_do_not_exist_are_passed_over() -> None:
    old = box(b"infe", bytes(20), 1, 0)
    ipma = box(b"ipma", struct.pack(">IHBBB", 1, 1, 2, 0x80, 0x85), 0, 0)
    file = read_heif(heif(iinf(old, box(b"free", b""), infe(1, b"av01")), iprp(ipma, ISPE)))
    assert list(file.items) == [1]
    assert file.items[1].properties == []


def test_the_picture_behind_a_grid_is_its_first_tile() -> None:
    entries = iinf(infe(1, b"grid"), infe(2, b"iden"), infe(3, b"av01"), infe(4, b"av01"))
    file = read_heif(heif(pitm(1), entries, iref((b"dimg", 1, (2, 4)), (b"dimg", 2, (3,)))))
    assert file.picture() is file.items[3]


def test_grids_that_lead_in_a_circle_end() -> None:
    entries = iinf(infe(1, b"grid"), infe(2, b"iden"))
    file = read_heif(heif(pitm(1), entries, iref((b"dimg", 1, (2,)), (b"dimg", 2, (1,)))))
    assert file.picture().kind in (b"grid", b"iden")


@pytest.mark.parametrize("links", [iref(), iref((b"dimg", 1, ())), iref((b"dimg", 1, (9,)))])
def test_a_grid_of_nothing_is_damaged(links: bytes) -> None:
    with pytest.raises(BadFileError, match="it names no picture to show"):
        read_heif(heif(pitm(1), iinf(infe(1, b"grid")), links)).picture()


DAMAGED = {
    "no meta": (FTYP, BadFileError, "it has no list of its pictures"),
    "no brands": (box(b"meta", b"", 0, 0), BadFileError, "it has no list of its pictures"),
    "primary cut": (FTYP + box(b"meta", box(b"pitm", b"", 0, 0), 0, 0), CutShortError, r"inside a box\."),
    "places cut": (heif(iloc(0)[:-2] + b"\0\3"), CutShortError, "list of items"),
    "a place outside": (heif(iloc(0, struct.pack(">HHHII", 1, 0, 1, 500, 3))), CutShortError, "pixels"),
    "properties cut": (
        heif(iprp(box(b"ipma", struct.pack(">IHB", 1, 1, 4), 0, 0)), behind=box(b"mdat", bytes(20))),
        CutShortError,
        "properties",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named(name: str) -> None:
    data, kind, says = DAMAGED[name]
    with pytest.raises(kind, match=says):
        read_heif(data)
