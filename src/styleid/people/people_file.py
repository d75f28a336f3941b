"""The people file of a key: the people who were met so far and their targets, encrypted, beside the key.

The file has a magic line, a random id, a nonce, and an archive of arrays encrypted with AES-256-GCM. The cipher's key
is derived from the secret key and the id. For each person, the file contains the sum and number of the faces'
embeddings, by which later runs recognise the person, and the targets, which are synthetic. It contains no picture and
no latent code of the person's own face. Embeddings are biometric data: protect the key and the file accordingly.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from styleid.bundles.spec import BundleSpec
from styleid.errors import MissingDependencyError, PeopleFileError
from styleid.media.storage.files import write_atomic
from styleid.people.key_file import SecretKey
from styleid.types import FloatArray

SUFFIX = ".people"
ID_BYTES = 16
_MAGIC = b"styleid-people-1\n"
_NONCE_BYTES = 12
_LOOKING, _DRAWING = "identity", "generator"


@dataclass(frozen=True)
class Person:
    """One person.

    id: 16 bytes.
    targets: the person's targets, W+ (t, size), in the order in which they are tried.
    embeddings_sum: sum of the unit embeddings of the person's faces, (d,).
    faces: number of faces in the sum.
    """

    id: bytes
    targets: Float[np.ndarray, "t size"]
    embeddings_sum: Float[np.ndarray, " d"]
    faces: int

    def met(self, embedding: Float[np.ndarray, " d"]) -> Person:
        """Return the person with one more face, given its unit embedding, (d,)."""
        return replace(self, embeddings_sum=self.embeddings_sum + embedding, faces=self.faces + 1)


@dataclass(frozen=True)
class People:
    """All people of a key.

    id: id of the file, 16 bytes.
    people: the people.
    sightings: position in `people` of each face's person, by the face's mark.
    """

    id: bytes
    people: tuple[Person, ...] = ()
    sightings: dict[bytes, int] = field(default_factory=dict[bytes, int])


class PeopleFile:
    """Reads and writes the people file of a key.

    path: the file.
    """

    def __init__(self, key: SecretKey, spec: BundleSpec) -> None:
        """Choose the file beside the key.

        Args:
            key: The key.
            spec: The bundle. A file that was made with other networks is refused.

        Raises:
            MissingDependencyError: If the package cryptography is not installed.
        """
        self.path = key.path.with_name(key.path.name + SUFFIX)
        self._key, self._spec = key, spec
        drawing = [one.network for one in spec.generators] or [_DRAWING]
        self._networks = {role: spec.networks[role].sha256 for role in (_LOOKING, *drawing)}
        self._last: bytes | None = None
        _cipher(bytes(32))

    def read(self) -> People:
        """Return the people in the file; no people if the file does not exist.

        Raises:
            PeopleFileError: If the file cannot be read, was changed, belongs to another key, or was made with other
                networks.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            self._last = None
            return People(secrets.token_bytes(ID_BYTES))
        except OSError as error:
            raise PeopleFileError(self.path, f"the file cannot be read: {error.strerror}.") from error
        self._last = hashlib.sha256(content).digest()
        return self._opened(content)

    def write(self, people: People) -> None:
        """Write the file atomically.

        Raises:
            OutputError: If the file cannot be written.
            PeopleFileError: If another run changed the file since it was read.
        """
        if self._digest() != self._last:
            raise PeopleFileError(self.path, "another run changed the file at the same time. Run again.")
        nonce = secrets.token_bytes(_NONCE_BYTES)
        head = _MAGIC + people.id
        sealed = self._cipher(people.id).encrypt(nonce, self._packed(people), head)
        content = head + nonce + sealed
        write_atomic(self.path, content)
        self._last = hashlib.sha256(content).digest()

    def _digest(self) -> bytes | None:
        try:
            return hashlib.sha256(self.path.read_bytes()).digest()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PeopleFileError(self.path, f"the file cannot be read: {error.strerror}.") from error

    def _opened(self, content: bytes) -> People:
        from cryptography.exceptions import InvalidTag

        head, rest = content[: len(_MAGIC) + ID_BYTES], content[len(_MAGIC) + ID_BYTES :]
        if not head.startswith(_MAGIC) or len(rest) <= _NONCE_BYTES:
            raise PeopleFileError(self.path, "the file is not a people file of styleid, or it is incomplete.")
        own = head[len(_MAGIC) :]
        try:
            plain = self._cipher(own).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], head)
        except InvalidTag as error:
            raise PeopleFileError(
                self.path,
                f"the key {self._key.path} cannot decrypt it: it belongs to another key, or it was changed. "
                "Use the key with which it was made, or a new key.",
            ) from error
        return self._unpacked(own, plain)

    def _cipher(self, own: bytes) -> Any:
        return _cipher(self._key.derived("people file", own))

    def _packed(self, people: People) -> bytes:
        spec, archive = self._spec, io.BytesIO()
        about = {"bundle": spec.name, "networks": self._networks}
        np.savez_compressed(
            archive,
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            ids=_rows([p.id for p in people.people]),
            targets=_stacked([p.targets for p in people.people], np.float32),
            sums=_stacked([p.embeddings_sum for p in people.people], np.float64),
            faces=np.array([p.faces for p in people.people], np.int64),
            marks=_rows(list(people.sightings)),
            marked=np.array(list(people.sightings.values()), np.int64),
        )
        return archive.getvalue()

    def _unpacked(self, own: bytes, plain: bytes) -> People:
        try:
            with np.load(io.BytesIO(plain), allow_pickle=False) as file:
                content = {name: file[name] for name in file.files}
            about = json.loads(content["about"].tobytes())
            rows = zip(*(content[name] for name in ("ids", "targets", "sums", "faces")), strict=True)
            # earlier versions kept targets as (t, layers, width)
            people = tuple(Person(i.tobytes(), t.reshape(len(t), -1), s, int(n)) for i, t, s, n in rows)
            marks = zip(content["marks"], content["marked"], strict=True)
            found = People(own, people, {mark.tobytes(): int(at) for mark, at in marks})
            bundle, networks = about["bundle"], about["networks"]
        except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise PeopleFileError(self.path, f"it was written by another version of styleid ({error}).") from error
        if networks != self._networks:
            raise PeopleFileError(
                self.path,
                f"it was made with other networks (bundle '{bundle}'), whose embeddings and targets do not fit this "
                f"version of '{self._spec.name}'. Use the bundle with which it was made, or a new key.",
            )
        return found


def _cipher(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ModuleNotFoundError as error:
        raise MissingDependencyError("cryptography, which `targets=consistent` needs,", "'styleid[keys]'") from error
    return AESGCM(key)


def _rows(ids: Sequence[bytes]) -> UInt8[np.ndarray, "n bytes"]:
    return np.frombuffer(b"".join(ids), np.uint8).reshape(-1, ID_BYTES)


def _stacked(arrays: Sequence[FloatArray], kind: type[np.floating]) -> FloatArray:
    return np.stack(arrays).astype(kind) if arrays else np.zeros((0, 1)).astype(kind)
