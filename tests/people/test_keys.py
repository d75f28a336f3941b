"""Keys and people files: only files that belong together open, and no incomplete file remains."""

import dataclasses
import io
import json
import os
import stat

import numpy as np
import pytest

from styleid.bundles.bundle import Bundle
from styleid.bundles.spec import BundleSpec, NetworkFile
from styleid.errors import KeyFileError, MissingDependencyError, OutputError, PeopleFileError
from styleid.people import people_file as peoplefile
from styleid.people.key_file import SecretKey, new_key, read_key
from styleid.people.people_file import SUFFIX, People, PeopleFile, Person
from tests.bundles.tiny_format2 import tiny_format2

pytestmark = pytest.mark.versions


@pytest.fixture
def key(tmp_path) -> SecretKey:
    return new_key(tmp_path / "a.key")


@pytest.fixture
def spec(bundle) -> BundleSpec:
    return bundle.spec


@pytest.fixture
def people() -> People:
    draw = np.random.default_rng(1)
    some = [
        Person(bytes([n]) * 16, draw.random((3, 472), np.float32), draw.standard_normal(128), n + 1) for n in range(3)
    ]
    return People(bytes(range(16)), tuple(some), {b"m" * 16: 2, b"n" * 16: 0})


def assert_same(one: People, other: People) -> None:
    assert (one.id, one.sightings, len(one.people)) == (other.id, other.sightings, len(other.people))
    for a, b in zip(one.people, other.people, strict=True):
        assert (a.id, a.faces) == (b.id, b.faces)
        assert np.array_equal(a.targets, b.targets)
        assert a.targets.dtype == b.targets.dtype
        assert np.array_equal(a.embeddings_sum, b.embeddings_sum)


def test_a_key_is_read_as_it_was_made_and_only_by_its_owner(tmp_path, key):
    assert read_key(key.path) == key
    assert len(key.secret) == 32
    assert key.secret.hex() not in repr(key)
    assert new_key(tmp_path / "b.key").secret != key.secret
    if os.name == "posix":
        assert stat.S_IMODE(key.path.stat().st_mode) == 0o600


def test_digests_and_derived_keys_depend_on_key_purpose_and_content(tmp_path, key):
    other = new_key(tmp_path / "b.key")
    digests = [k.digest(p, c) for k in (key, other) for p in ("a", "b") for c in (b"1", b"2")]
    derived = [k.derived(p, c) for k in (key, other) for p in ("a", "b") for c in (b"1", b"2")]
    assert len({*digests, *derived}) == 16


def test_a_key_agrees_with_the_hkdf_of_cryptography(key):
    hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
    hkdf = pytest.importorskip("cryptography.hazmat.primitives.kdf.hkdf")
    expected = hkdf.HKDF(hashes.SHA256(), 32, b"salt", b"people file").derive(key.secret)
    assert key.derived("people file", b"salt") == expected


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist. To make a key, type: styleid key new"),
        (b"", "is not a styleid key"),
        (b"secret", "is not a styleid key"),
        (b"\xff\xfe\x00", "is not a styleid key"),
        (b"styleid-key-1:" + b"A" * 5000, "is not a styleid key"),
        (b"styleid-key-1:c2hvcnQ=\n", "has 5 bytes instead of 32"),
        (b"styleid-key-1:\n", "has 0 bytes instead of 32"),
        (b"A" * 44, "is not a styleid key"),
    ],
)
def test_what_is_no_key_is_refused(tmp_path, content, says):
    path = tmp_path / "bad.key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(KeyFileError, match=says):
        read_key(path)


def test_a_key_is_never_overwritten_and_a_folder_is_none(tmp_path, key):
    before = key.path.read_bytes()
    with pytest.raises(KeyFileError, match="never overwritten"):
        new_key(key.path)
    assert key.path.read_bytes() == before
    with pytest.raises(KeyFileError, match=r"^key .*: the folder .* does not exist"):
        new_key(tmp_path / "gone/a.key")
    with pytest.raises(KeyFileError, match="cannot be read"):
        read_key(tmp_path)


def test_a_key_cannot_be_made_below_a_file(key):
    with pytest.raises(KeyFileError, match="a file is in the way where a folder of that name is needed"):
        new_key(key.path / "b.key")


def test_a_folder_in_the_place_of_the_people_file_is_refused(key, spec, people):
    file = PeopleFile(key, spec)
    file.path.mkdir()
    for use in (file.read, lambda: file.write(people)):
        with pytest.raises(PeopleFileError, match=r"a.key.people: the file cannot be read: Is a directory"):
            use()


def sealed(key: SecretKey, plain: bytes) -> bytes:
    """Return a people file of any content, as the format is documented."""
    aead = pytest.importorskip("cryptography.hazmat.primitives.ciphers.aead")
    head, nonce = b"styleid-people-1\n" + bytes(16), bytes(12)
    return head + nonce + aead.AESGCM(key.derived("people file", bytes(16))).encrypt(nonce, plain, head)


def archive(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"text",
        b"PK\x03\x04 and no archive",
        archive(ids=np.zeros((0, 16), np.uint8)),
        archive(**{name: np.zeros(0, np.uint8) for name in ("about", "ids", "targets", "sums", "faces", "marks")}),
        archive(
            about=np.frombuffer(b"{}", np.uint8),
            **{name: np.zeros(0, np.uint8) for name in ("ids", "targets", "sums", "faces", "marks", "marked")},
        ),
    ],
    ids=["nothing", "text", "half an archive", "a part", "no description", "no networks"],
)
def test_people_of_another_version_are_refused(key, spec, plain):
    file = PeopleFile(key, spec)
    file.path.write_bytes(sealed(key, plain))
    with pytest.raises(PeopleFileError, match=r"a\.key\.people: it was written by another version of styleid"):
        file.read()


def test_people_come_back_as_they_were(key, spec, people):
    file = PeopleFile(key, spec)
    assert file.read().people == ()
    file.write(people)
    assert file.path == key.path.with_name("a.key" + SUFFIX)
    assert_same(PeopleFile(key, spec).read(), people)
    more = dataclasses.replace(people, people=(*people.people, people.people[0].met(np.ones(128))))
    file.write(more)
    assert_same(PeopleFile(key, spec).read(), more)
    empty = People(bytes(16))
    file.write(empty)
    assert_same(PeopleFile(key, spec).read(), empty)


def test_targets_that_earlier_versions_kept_in_rows_are_read(key, spec, people):
    about = {"bundle": spec.name, "networks": {r: spec.networks[r].sha256 for r in ("identity", "generator")}}
    content = archive(
        about=np.frombuffer(json.dumps(about).encode(), np.uint8),
        ids=np.array([list(p.id) for p in people.people], np.uint8),
        targets=np.stack([p.targets.reshape(3, 59, 8) for p in people.people]),
        sums=np.stack([p.embeddings_sum for p in people.people]),
        faces=np.array([p.faces for p in people.people]),
        marks=np.array([list(mark) for mark in people.sightings], np.uint8),
        marked=np.array(list(people.sightings.values())),
    )
    file = PeopleFile(key, spec)
    file.path.write_bytes(sealed(key, content))
    assert_same(file.read(), dataclasses.replace(people, id=bytes(16)))


def test_every_generator_of_the_bundle_must_be_the_same(key, people, tmp_path):
    spec = Bundle(tiny_format2(tmp_path / "tiny")).spec
    PeopleFile(key, spec).write(people)
    assert_same(PeopleFile(key, spec).read(), people)
    other = dataclasses.replace(spec.networks["generator64"], sha256="0" * 64)
    changed = dataclasses.replace(spec, networks={**spec.networks, "generator64": other})
    with pytest.raises(PeopleFileError, match="it was made with other networks"):
        PeopleFile(key, changed).read()


def test_nothing_of_people_can_be_read_without_the_key(key, spec, people):
    file = PeopleFile(key, spec)
    file.write(people)
    first = file.path.read_bytes()
    file.write(people)
    second = file.path.read_bytes()
    assert first[:33] == second[:33]
    assert first[33:] != second[33:]  # another nonce each time
    for content in (people.people[0].targets.tobytes()[:32], b"aam128", b"m" * 16, key.secret):
        assert content not in first


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b"", "not a people file of styleid, or it is incomplete"),
        (lambda b: b[:40], "not a people file of styleid, or it is incomplete"),
        (lambda b: b"x" + b[1:], "not a people file of styleid"),
        (lambda b: b[:-1], "cannot decrypt it"),
        (lambda b: b[:200] + bytes([b[200] ^ 1]) + b[201:], "cannot decrypt it"),
        (lambda b: b[:20] + bytes([b[20] ^ 1]) + b[21:], "cannot decrypt it"),
    ],
)
def test_a_changed_people_file_is_refused(key, spec, people, change, says):
    file = PeopleFile(key, spec)
    file.write(people)
    file.path.write_bytes(change(file.path.read_bytes()))
    with pytest.raises(PeopleFileError, match=says):
        file.read()


def test_another_key_and_another_bundle_are_refused(tmp_path, key, spec, people):
    file = PeopleFile(key, spec)
    file.write(people)
    stranger = new_key(tmp_path / "b.key")
    file.path.replace(other := tmp_path / ("b.key" + SUFFIX))
    with pytest.raises(PeopleFileError, match="belongs to another key"):
        PeopleFile(stranger, spec).read()
    other.replace(file.path)
    foreign = NetworkFile("identity.onnx", "0" * 64, 1, 18)
    changed = dataclasses.replace(spec, name="else", networks={**spec.networks, "identity": foreign})
    with pytest.raises(PeopleFileError, match=r"bundle 'context128'\), .* do not fit this version of 'else'"):
        PeopleFile(key, changed).read()


def test_what_another_run_wrote_meanwhile_is_not_lost(key, spec, people):
    one, other = PeopleFile(key, spec), PeopleFile(key, spec)
    one.read(), other.read()
    other.write(people)
    with pytest.raises(PeopleFileError, match="another run changed the file at the same time"):
        one.write(People(bytes(16)))
    assert_same(one.read(), people)


def test_a_write_that_fails_leaves_what_was(key, spec, people, monkeypatch):
    file = PeopleFile(key, spec)
    file.write(people)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("styleid.media.storage.files.write_through", full)
    with pytest.raises(OutputError, match="the disk is full"):
        file.write(People(people.id))
    monkeypatch.undo()
    assert_same(PeopleFile(key, spec).read(), people)
    assert sorted(p.name for p in key.path.parent.iterdir()) == ["a.key", "a.key.people"]


def test_without_cryptography_the_error_says_what_to_install(key, spec, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'styleid\[keys\]'"):
        peoplefile.PeopleFile(key, spec)
