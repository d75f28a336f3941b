"""Data packs: writing, reading, split, errors."""

import hashlib
import io
import tarfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from styleid.errors import TrainingError
from styleid.faces.geometry import five_points
from styleid.lab.data import pack as packs
from styleid.lab.data.pack import SOURCES, Pack, PackOptions, build_pack
from tests.lab.synthetic import synthetic_pack, write_pack


def test_round_trip(tmp_path: Path) -> None:
    pack, path = synthetic_pack(12, 32, 4), tmp_path / "new" / "pack.npz"
    write_pack(pack, path)
    assert list(path.parent.iterdir()) == [path]
    read = Pack.load(path)
    assert read.template.size_px == 40
    assert np.allclose(read.template.points_px, pack.template.points_px, atol=1e-4)
    for column in fields(Pack):
        if column.name != "template":
            wanted, given = getattr(pack, column.name), getattr(read, column.name)
            assert wanted.dtype == given.dtype
            assert np.array_equal(wanted, given, equal_nan=wanted.dtype == np.float32)
    assert len(read) == 12
    assert read.synthetic.tolist() == [True, False] * 6


def test_crops_come_in_the_order_asked_for_and_rgb() -> None:
    pack = synthetic_pack(12, 32, 4)
    every = pack.crops()
    assert every.shape == (12, 40, 40, 3)
    assert every.dtype == np.uint8
    assert np.array_equal(pack.crops([7, 2, 7]), every[[7, 2, 7]])
    assert pack.crops([]).shape == (0, 40, 40, 3)
    # skin of all groups has more red than blue
    nose = every[np.arange(12), pack.landmarks68[:, 28, 1].astype(int), pack.landmarks68[:, 28, 0].astype(int)]
    assert (nose[:, 0] > nose[:, 2].astype(int) + 10).all()


def test_label_maps_and_valid_masks() -> None:
    pack = synthetic_pack(6, 32, 4)
    labels = [pack.labels(i) for i in range(6)]
    assert [m is not None for m in labels] == [True, False, False] * 2
    assert labels[0].shape == (40, 40)
    assert {1, 13} <= set(np.unique(labels[0])) <= set(range(19))
    assert (pack.valid_mask(0) == 255).all()
    pack.valid_quads[1] = [[10, 0], [39, 0], [39, 39], [10, 39]]
    assert pack.valid_mask(1)[:, :10].max() == 0
    assert pack.valid_mask(1)[:, 10:].min() == 255


def test_thinned_packs_keep_every_held_out_face_and_a_share_of_each_source() -> None:
    pack = synthetic_pack(40, 32, 4)
    thin, thinner = pack.thinned(8), pack.thinned(5)
    assert [(thin.source[~thin.held_out] == source).sum() for source in (0, 3)] == [8, 8]
    assert [(thinner.source[~thinner.held_out] == source).sum() for source in (0, 3)] == [5, 5]
    assert set(pack.names[pack.held_out]) == set(thin.names[thin.held_out])
    assert set(thinner.names) < set(thin.names) < set(pack.names)
    rows = [list(pack.names).index(name) for name in thin.names]
    assert np.array_equal(thin.crops(), pack.crops(rows))
    assert np.array_equal(thin.landmarks68, pack.landmarks68[rows])
    for i, row in enumerate(rows):
        wanted, given = pack.labels(row), thin.labels(i)
        assert (wanted is None and given is None) or np.array_equal(wanted, given)
    assert len(pack.thinned(1000)) == len(pack)
    photos = pack.thinned(5, photos_only=True)
    assert photos.synthetic.sum() == pack.synthetic.sum()
    assert (photos.source[~photos.held_out] == 3).sum() == 5


def npz(path: Path, **arrays: np.ndarray) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


def truncated(path: Path) -> None:
    write_pack(synthetic_pack(4, 32, 4), path)
    path.write_bytes(path.read_bytes()[:-200])


def damaged(path: Path) -> None:
    write_pack(synthetic_pack(4, 32, 4), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


NOT_PACKS = {
    "absent": lambda path: None,
    "folder": Path.mkdir,
    "empty": Path.touch,
    "text": lambda path: path.write_text("faces"),
    "other arrays": lambda path: npz(path, x=np.zeros(3)),
    "one array": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x06\x00{}"),
    "a column too many": lambda path: npz(
        path, template_points=np.zeros((5, 2)), template_size=np.array(32), shoe_size=np.zeros(3)
    ),
    "pickled code": lambda path: npz(path, template_points=np.array([print], object)),
    "truncated": truncated,
    "damaged": damaged,
}


@pytest.mark.parametrize("kind", NOT_PACKS)
def test_files_that_are_not_packs_are_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "strange.npz"
    NOT_PACKS[kind](path)
    with pytest.raises(TrainingError, match=r"strange\.npz is not a data pack"):
        Pack.load(path)


def test_a_damaged_crop_is_named() -> None:
    pack = synthetic_pack(4, 32, 4)
    pack.webp[pack.offsets[2] : pack.offsets[3]] = 0
    assert len(pack.crops([0, 1, 3])) == 3
    with pytest.raises(TrainingError, match="crop 2"):
        pack.crops()


# ------------------------------------------------------------- from the archives


def is_held_out(name: str) -> bool:
    """Return whether a name is held out: about one in twenty, by the hash."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32 < 0.05


def some_members(archive: tarfile.TarFile, count: int) -> list[tarfile.TarInfo]:
    """Return photos of an archive, one of them held out, with their label maps."""
    members = {m.name: m for m in archive.getmembers()}
    photos = [name for name in sorted(members) if name.endswith((".webp", ".jpg"))]
    held_out = next(name for name in photos if is_held_out(Path(name).stem))
    chosen = [held_out, *(name for name in photos[:: len(photos) // count] if name != held_out)][:count]
    maps = [f"{Path(name).stem}.png" for name in chosen]
    return [members[name] for name in (*chosen, *maps) if name in members]


def small_archives(data: Path, folder: Path, count: int, *, reverse: bool = False) -> None:
    folder.mkdir()
    for source in SOURCES:
        with tarfile.open(data / f"{source}.tar") as archive, tarfile.open(folder / f"{source}.tar", "w") as out:
            for member in sorted(some_members(archive, count), key=lambda m: m.name, reverse=reverse):
                out.addfile(member, archive.extractfile(member))


@pytest.fixture(scope="module")
def built(shared: Path, tmp_path_factory) -> tuple[Pack, dict[str, int]]:
    data, folder = shared / "data", tmp_path_factory.mktemp("built")
    if not (data / "teachers").is_dir() or not all((data / f"{source}.tar").is_file() for source in SOURCES):
        pytest.skip("the shared data folder holds no source archives")
    small_archives(data, folder / "sources", 3)
    counts = build_pack(folder / "sources", folder / "pack.npz", data / "teachers", PackOptions(64, 8))
    return Pack.load(folder / "pack.npz"), counts


@pytest.mark.shared
def test_build_from_the_archives(built: tuple[Pack, dict[str, int]]) -> None:
    pack, counts = built
    assert len(pack) == sum(counts[source] for source in SOURCES)
    assert sum(counts.values()) == 3 * len(SOURCES)
    assert len(pack) >= 14
    assert [SOURCES[k] for k in sorted(set(pack.source))] == [s for s in SOURCES if counts[s]]
    assert pack.template.size_px == 80
    for i, name in enumerate(pack.names):
        source = SOURCES[pack.source[i]]
        if source.startswith("utkface"):
            age, sex, group = name.split("_")[:3]
            assert (pack.age[i], pack.sex[i], pack.group[i]) == (float(age), int(sex), int(group))
        elif source == "generated":
            assert pack.sex[i] == int(name.startswith("female"))
            assert np.isnan(pack.age[i])
        else:
            assert (pack.sex[i], pack.group[i]) == (-1, -1)
        assert (pack.labels(i) is not None) == (source == "parsing")


@pytest.mark.shared
def test_faces_lie_where_the_template_has_them(built: tuple[Pack, dict[str, int]]) -> None:
    pack = built[0]
    template = np.asarray(pack.template.points_px)
    eyes = np.linalg.norm(template[1] - template[0])
    assert np.linalg.norm(pack.landmarks5 - template, axis=-1).mean() < 0.1 * eyes
    # two networks, the detector and the landmark teacher, agree on the same crop
    assert np.linalg.norm(five_points(pack.landmarks68) - pack.landmarks5, axis=-1).mean() < 0.12 * eyes
    for i in np.nonzero([pack.labels(k) is not None for k in range(len(pack))])[0]:
        x, y = pack.landmarks68[i, 27:31].mean(0).round().astype(int)
        assert pack.labels(int(i))[y, x] in (1, 2)


@pytest.mark.shared
def test_split_is_by_the_hash_of_the_name(built: tuple[Pack, dict[str, int]], shared: Path, tmp_path: Path) -> None:
    pack = built[0]
    assert pack.held_out.tolist() == [is_held_out(str(name)) for name in pack.names]
    assert 0 < pack.held_out.sum() < len(pack)
    # with fewer photos in another order, the split of each face stays the same
    small_archives(shared / "data", tmp_path / "sources", 1, reverse=True)
    build_pack(tmp_path / "sources", tmp_path / "other.npz", shared / "data" / "teachers", PackOptions(32, 4))
    other = Pack.load(tmp_path / "other.npz")
    sides = dict(zip(pack.names, pack.held_out, strict=True))
    common = [name for name in other.names if name in sides]
    assert common
    again = dict(zip(other.names, other.held_out, strict=True))
    assert [sides[name] for name in common] == [again[name] for name in common]


@pytest.mark.shared
def test_missing_archives_and_unreadable_photos_are_named(shared: Path, tmp_path: Path) -> None:
    teachers = shared / "data" / "teachers"
    with pytest.raises(TrainingError, match=r"generated\.tar is missing"):
        build_pack(tmp_path, tmp_path / "pack.npz", teachers)
    with tarfile.open(tmp_path / "generated.tar", "w") as archive:
        member = tarfile.TarInfo("female_asian_0.webp")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"photo"))
    with pytest.raises(TrainingError, match=r"generated\.tar: female_asian_0\.webp is not a readable image"):
        build_pack(tmp_path, tmp_path / "pack.npz", teachers)
    with pytest.raises(TrainingError, match="landmark teacher"):
        build_pack(tmp_path, tmp_path / "pack.npz", tmp_path)
    assert not (tmp_path / "pack.npz").exists()


def test_sex_group_and_age_are_read_from_names() -> None:
    nan = float("nan")
    cases = {
        ("utkface-0", "34_1_2_20170112213500903"): (34, 1, 2),
        ("utkface-1", "100_0_4_1"): (100, 0, 4),
        ("utkface-1", "20170109142408075"): (nan, -1, -1),
        ("generated", "female_asian_77a767e4de"): (nan, 1, 2),
        ("generated", "male_latino_0"): (nan, 0, 4),
        ("generated", "male_martian_0"): (nan, 0, -1),
        ("portraits", "34_1_2_x"): (nan, -1, -1),
    }
    for (source, name), wanted in cases.items():
        assert packs.read_labels(name, source) == pytest.approx(wanted, nan_ok=True)


def test_main_face_is_the_most_central_of_the_large_ones() -> None:
    boxes = np.float32([[0, 0, 40, 40], [45, 45, 55, 55], [60, 40, 90, 70]])
    faces = packs.Faces(boxes, np.ones(3, np.float32), np.zeros((3, 5, 2), np.float32))
    assert packs.main_face(faces, (100, 100, 3)).boxes_xyxy.tolist() == [[60, 40, 90, 70]]
    assert packs.main_face(faces[:0], (100, 100, 3)) is None
