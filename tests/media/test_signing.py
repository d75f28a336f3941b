"""C2PA manifests: one action and a hash, readable by C2PA's own reader, and nothing of the original."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from styleid import AnonymizeOptions, Anonymizer
from styleid.cli import main
from styleid.engine.local import RunOptions, process_files
from styleid.errors import ImageError, MissingDependencyError, OptionError
from styleid.media.audit import find_leftovers
from styleid.media.formats.parse.c2pa import ISO_MANIFEST, iso_store, manifest_leftovers
from styleid.media.formats.parse.sniff import SUFFIXES
from styleid.media.image import UNMARKED_FORMATS, encode_photo, read_photo_bytes
from styleid.media.marking import encode_marked
from styleid.media.provenance import PACKET, SOURCE_TYPE, MarkOptions
from styleid.media.signing import SIGNED_FORMATS, check_signing
from tests.media import further_parts, samples
from tests.media.formats.test_motion import movie
from tests.media.test_marking import NEW, SOURCES, exiftool
from tests.media.test_write import LOSSLESS, shown

c2pa = pytest.importorskip("c2pa", reason="manifests are signed with c2pa-python: pip install 'styleid[c2pa]'")
certificates = pytest.importorskip("tests.media.certificates", reason="certificates are made with cryptography")

ACTION = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}


@pytest.fixture(scope="module")
def signed_by(tmp_path_factory) -> MarkOptions:
    certificate, key = certificates.pair(tmp_path_factory.mktemp("c2pa"))
    return MarkOptions("c2pa", c2pa_certificate=certificate, c2pa_key=key)


def manifest_of(data: bytes, kind: str) -> dict:
    """Read a file's one manifest with C2PA's own reader, and check that it is valid."""
    reader = c2pa.Reader(SIGNED_FORMATS[kind], io.BytesIO(data))
    assert reader.get_validation_state() == "Valid"
    (manifest,) = json.loads(reader.json())["manifests"].values()
    return manifest


def require_bare(manifest: dict) -> None:
    """Check that a manifest holds the mark and no thumbnail, ingredient, title or assertion beside it."""
    assert set(manifest) <= {"claim_generator_info", "instance_id", "assertions", "signature_info", "label",
                             "claim_version"}  # fmt: skip
    told = {one["label"]: one["data"] for one in manifest["assertions"]}
    assert told.pop("c2pa.actions.v2") == {"actions": [ACTION]}
    assert set(told) <= {"c2pa.hash.bmff.v3"}
    assert {one["name"] for one in manifest["claim_generator_info"]} == {"styleid"}
    assert "time" not in manifest["signature_info"]


def test_signed_ultra_hdr_files_list_their_pictures_rightly(signed_by) -> None:
    photo = read_photo_bytes(further_parts.ultra_hdr(samples.smooth(64, 64), samples.smooth(32, 32, 1)), "p.jpg")
    mask = np.eye(64, dtype=bool)
    data = encode_marked(photo, 255 - photo.image_rgb, mask, "strip", signed_by, **NEW).data
    require_bare(manifest_of(data, "JPEG"))
    assert find_leftovers(data, "strip") == []
    first, second = further_parts.mpf_pictures(data)
    assert first + second == data


@pytest.mark.parametrize(("suffix", "kind"), [("heic", "HEIC"), ("avif", "AVIF")])
def test_signed_motion_photos_keep_their_video(suffix: str, kind: str, signed_by) -> None:
    source = further_parts.heif_motion_photo(samples.smooth(64, 64), movie(b"old"), suffix=suffix)
    photo = read_photo_bytes(source, f"p.{suffix}").with_moving(movie(b"new"))
    mask = np.eye(64, dtype=bool)
    data = encode_marked(photo, 255 - photo.image_rgb, mask, "strip", signed_by, **NEW).data
    require_bare(manifest_of(data, kind))
    assert find_leftovers(data, "strip") == []
    assert further_parts.split_heif_motion(data)[1] == movie(b"new")


@pytest.mark.parametrize("name", SOURCES)
def test_signed_pictures_hold_the_mark_and_the_same_pixels(name: str, signed_by) -> None:
    photo = read_photo_bytes(SOURCES[name], name.replace(" ", "."))
    mask = np.zeros(photo.image_rgb.shape[:2], bool)
    mask[3:20, 5:30] = True
    done = encode_marked(photo, 255 - photo.image_rgb, mask, "safe", signed_by, **NEW)
    plain = encode_photo(photo, 255 - photo.image_rgb, mask, "safe")
    assert done.mark == "c2pa"
    assert done.notes == ()
    assert done.data.count(PACKET) == 1
    assert find_leftovers(done.data, "safe") == []
    require_bare(manifest_of(done.data, photo.format))
    assert (read_photo_bytes(done.data, "a").image_rgb == read_photo_bytes(plain, "a").image_rgb).all()
    if photo.format != "TIFF":
        assert shown(done.data).tobytes() == shown(plain).tobytes()


@pytest.mark.parametrize("name", ["jpeg", "png"])
def test_exiftool_reads_the_manifest(name: str, signed_by, tmp_path) -> None:
    photo = read_photo_bytes(SOURCES[name], f"a.{name}")
    mask = np.zeros(photo.image_rgb.shape[:2], bool)
    path = tmp_path / f"a.{name}"
    path.write_bytes(encode_marked(photo, photo.image_rgb, mask, "strip", signed_by, **NEW).data)
    found = exiftool(path, "-a")
    assert found["CBOR:ActionsAction"] == "c2pa.created"
    assert found["CBOR:ActionsDigitalSourceType"] == found["XMP-iptcExt:DigitalSourceType"] == SOURCE_TYPE
    assert not [key for key in found if "humbnail" in key or "ngredient" in key]


def test_bmp_gets_a_note_and_no_manifest(signed_by) -> None:
    photo = read_photo_bytes(LOSSLESS["bmp"][0], "a.bmp")
    mask = np.zeros(photo.image_rgb.shape[:2], bool)
    done = encode_marked(photo, photo.image_rgb, mask, "strip", signed_by, **NEW)
    assert done.data == encode_photo(photo, photo.image_rgb, mask)
    assert "BMP cannot hold a mark" in done.notes[0]


@pytest.mark.parametrize("kind", ["es384", "es512", "ps256", "ed25519"])
def test_other_keys_sign_too(kind: str, tmp_path) -> None:
    certificate, key = certificates.pair(tmp_path, kind)
    check_signing(MarkOptions("c2pa", c2pa_certificate=certificate, c2pa_key=key))


def test_keys_that_c2pa_does_not_know_are_refused(tmp_path) -> None:
    certificate, key = certificates.pair(tmp_path, "secp256k1")
    with pytest.raises(OptionError, match=r"^c2pa_key: the key's type is not allowed by C2PA\. Use P-256, P-384"):
        check_signing(MarkOptions("c2pa", c2pa_certificate=certificate, c2pa_key=key))


def test_every_format_that_holds_a_mark_holds_a_manifest() -> None:
    assert set(SUFFIXES) - UNMARKED_FORMATS <= set(SIGNED_FORMATS)


def test_a_photo_that_cannot_be_signed_is_named(signed_by, tmp_path) -> None:
    photo = read_photo_bytes(SOURCES["png"], "a.png")
    other = certificates.pair(tmp_path)[1]
    mismatched = MarkOptions("c2pa", c2pa_certificate=signed_by.c2pa_certificate, c2pa_key=other)
    mask = np.zeros(photo.image_rgb.shape[:2], bool)
    with pytest.raises(ImageError, match=r"a\.png: it cannot be signed \("):
        encode_marked(photo, photo.image_rgb, mask, "strip", mismatched, **NEW)


def test_a_signed_photo_that_would_hold_more_than_the_mark_is_withheld(signed_by, monkeypatch) -> None:
    photo = read_photo_bytes(SOURCES["png"], "a.png")
    mask = np.zeros(photo.image_rgb.shape[:2], bool)
    talkative = foreign([DATED], signed_by, kind="PNG")
    monkeypatch.setattr("styleid.media.marking.sign_bytes", lambda *_: talkative)
    with pytest.raises(ImageError, match=r"a\.png: the signed output would contain disallowed metadata: C2PA"):
        encode_marked(photo, photo.image_rgb, mask, "strip", signed_by, **NEW)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"mark": "stamp"}, "mark: 'stamp' is unknown; choose one of none, iptc, c2pa"),
        ({"mark_scope": "some"}, "mark_scope: 'some' is unknown"),
        ({"mark": "c2pa"}, "c2pa signs every marked file, so it needs `c2pa_certificate` and `c2pa_key`"),
        ({"mark": "c2pa", "c2pa_key": Path("a")}, r"needs `c2pa_certificate`\."),
        ({"c2pa_key": Path("a")}, "c2pa_key: it is only used with `mark=c2pa`"),
        ({"c2pa_timestamp": "http://a"}, "c2pa_timestamp: it is only used with `mark=c2pa`"),
        (
            {"mark": "c2pa", "c2pa_key": Path("a"), "c2pa_certificate": Path("b"), "c2pa_timestamp": "a"},
            "'a' must be a URL that begins with http",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(values, says) -> None:
    with pytest.raises(OptionError, match=says):
        MarkOptions(**values)


def foreign(assertions: list, signed_by: MarkOptions, *, settings=None, ingredient=False, kind="JPEG") -> bytes:
    """Sign a picture as another tool might."""
    rgb = samples.smooth(200, 300)
    data, mime = samples.pillow(rgb, kind), SIGNED_FORMATS[kind]
    assert signed_by.c2pa_certificate is not None
    assert signed_by.c2pa_key is not None
    material = signed_by.c2pa_certificate.read_bytes(), signed_by.c2pa_key.read_bytes()
    manifest = {"claim_generator_info": [{"name": "styleid", "version": "1"}], "assertions": assertions}
    bare = {"builder": {"thumbnail": {"enabled": False}}}
    context = c2pa.Context(c2pa.Settings.from_dict(bare if settings is None else settings))
    builder = c2pa.Builder(json.dumps(manifest), context)
    if ingredient:
        builder.add_ingredient({"title": "original.jpg", "relationship": "componentOf"}, mime, io.BytesIO(data))
    out = io.BytesIO()
    builder.sign(c2pa.Signer.from_info(c2pa.C2paSignerInfo("es256", *material, None)), mime, io.BytesIO(data), out)
    return out.getvalue()


CREATED = {"label": "c2pa.actions.v2", "data": {"actions": [ACTION]}}
DATED = {"label": "c2pa.actions.v2", "data": {"actions": [ACTION | {"when": "2026-01-01T00:00:00Z"}]}}


@pytest.mark.parametrize(
    ("assertions", "more", "words"),
    [
        ([CREATED], {"settings": {}}, "c2pa.thumbnail.claim"),
        ([CREATED], {"ingredient": True}, "c2pa.ingredient"),
        ([CREATED, {"label": "org.example.note", "data": {"name": "Jane"}}], {}, "org.example.note"),
        ([DATED], {}, "actions"),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "TIFF", "GIF"])
def test_a_manifest_that_holds_more_is_a_leftover(kind: str, assertions, more, words, signed_by) -> None:
    found = find_leftovers(foreign(assertions, signed_by, kind=kind, **more))
    assert any(words in line for line in found), found
    assert all(line.startswith("C2PA") for line in found)


def test_damaged_manifests_are_leftovers(signed_by) -> None:
    photo = read_photo_bytes(SOURCES["png"], "a.png")
    mask = np.zeros(photo.image_rgb.shape[:2], bool)
    data = encode_marked(photo, photo.image_rgb, mask, "strip", signed_by, **NEW).data
    at = data.index(b"caBX") + 4
    store = data[at : at + int.from_bytes(data[at - 8 : at - 4], "big")]
    assert manifest_leftovers(store) == []
    for cut in range(0, len(store), 97):
        assert manifest_leftovers(store[:cut]) != []
    for place in range(0, 900, 7):
        assert isinstance(manifest_leftovers(store[:place] + b"\xff" + store[place + 1 :]), list)
    assert manifest_leftovers(store.replace(b"pad", b"pic")) != []


@pytest.mark.parametrize("spoil", ["certificate", "key", "password", "mismatch"])
def test_files_that_cannot_sign_are_refused_before_a_run(spoil: str, tmp_path) -> None:
    certificate, key = certificates.pair(tmp_path, password=b"x" if spoil == "password" else None)
    if spoil == "mismatch":
        (tmp_path / "other").mkdir()
        key = certificates.pair(tmp_path / "other")[1]
    elif spoil != "password":
        {"certificate": certificate, "key": key}[spoil].write_text("nonsense")
    options = MarkOptions("c2pa", c2pa_certificate=certificate, c2pa_key=key)
    with pytest.raises(OptionError, match=r"^(mark|c2pa_key): "):
        process_files([tmp_path], Anonymizer(None, AnonymizeOptions("none")), RunOptions(tmp_path, marking=options))


def test_a_missing_file_and_a_missing_package_are_named(signed_by, monkeypatch, tmp_path) -> None:
    gone = MarkOptions("c2pa", c2pa_certificate=tmp_path / "gone.pem", c2pa_key=tmp_path / "gone.key")
    with pytest.raises(OptionError, match=r"^c2pa_certificate: .*gone\.pem cannot be read"):
        check_signing(gone)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(MissingDependencyError, match=r"styleid\[c2pa\]"):
        check_signing(signed_by)


def test_a_run_signs_and_names_no_path(signed_by, astronaut, tmp_path, capsys) -> None:
    (tmp_path / "in.jpg").write_bytes(samples.pillow(astronaut[:256, 96:352], "JPEG"))
    certificate, key = signed_by.c2pa_certificate, signed_by.c2pa_key
    command = ["anonymize", tmp_path / "in.jpg", "--out", tmp_path / "out", "--seed", "1", "--mark", "c2pa"]
    assert main([str(w) for w in [*command, "--c2pa-certificate", certificate, "--c2pa-key", key, "--quiet"]]) == 0
    require_bare(manifest_of((tmp_path / "out/in.jpg").read_bytes(), "JPEG"))
    journal = (tmp_path / "out/styleid-journal.jsonl").read_text()
    assert json.loads(journal)["mark"] == "c2pa"
    assert str(Path(str(certificate)).parent) not in journal


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_videos_are_signed_where_the_container_can_hold_it(suffix: str, signed_by, tmp_path) -> None:
    pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")
    from tests.media.video.test_marks import written
    from tests.media.video.test_video import make_video

    make_video(tmp_path / "in.mp4")
    out = tmp_path / f"out{suffix}"
    sink = written(tmp_path / "in.mp4", out, signed_by)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", out.name]
    if suffix == ".mkv":
        assert sink.mark == "iptc"
        assert any("Matroska cannot hold a C2PA manifest" in note for note in sink.notes)
        return
    data = out.read_bytes()
    assert sink.mark == "c2pa"
    assert data.count(PACKET) == 1
    require_bare(manifest_of(data, suffix[1:]))
    at = data.index(ISO_MANIFEST)
    assert manifest_leftovers(iso_store(data[at : at - 8 + int.from_bytes(data[at - 8 : at - 4], "big")])) == []
