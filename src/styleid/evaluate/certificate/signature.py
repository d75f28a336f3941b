"""Sign certificates with Ed25519, and check signatures. This needs the extra `keys`.

The signature covers the canonical form of the certificate without its field `signature`: JSON with sorted keys, no
spaces, and non-ASCII characters escaped.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from styleid.errors import CertificateError, KeyFileError, MissingDependencyError
from styleid.people.key_file import write_new

PUBLIC_SUFFIX = ".pub"
ALGORITHM = "Ed25519"
FIELD = "signature"
_EXISTS = "it exists already, and keys are never overwritten. Choose another name."
_LARGEST_BYTES = 16384
"""Maximum number of bytes that are read of a key file."""


def canonical(record: Mapping[str, Any]) -> bytes:
    """Return the bytes of a certificate that the signature covers."""
    body = {name: value for name, value in record.items() if name != FIELD}
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def read_record(path: Path) -> dict[str, Any]:
    """Read a certificate; raises CertificateError if it is not a JSON object or repeats a field."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    except OSError as error:
        raise CertificateError(path, f"it cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise CertificateError(path, f"it is not a certificate: {error}.") from error
    if not isinstance(record, dict):
        raise CertificateError(path, "it is not a certificate: it must hold a JSON object.")
    return record


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; raise ValueError for a repeated field, of which programs may read different values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field occurs twice")
    return found


def new_signing_key(path: Path) -> Path:
    """Write a new pair of keys (Ed25519) to sign certificates with, as `styleid key new --signing` does.

    Args:
        path: Where to write the private key, which only its owner can read.

    Returns:
        The file of the public key: the same path with `.pub` at its end.

    Raises:
        KeyFileError: One of the files exists or cannot be written.
        MissingDependencyError: The package cryptography is not installed; the extra `keys` has it.

    Examples:
        >>> from pathlib import Path
        >>> from styleid import new_signing_key
        >>> new_signing_key(Path("board.key")).name
        'board.key.pub'
    """
    private, serialization = _ed25519().Ed25519PrivateKey.generate(), _serialization()
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_path = path.with_name(path.name + PUBLIC_SUFFIX)
    if os.path.lexists(public_path):
        raise KeyFileError(public_path, _EXISTS)
    write_new(path, secret, 0o600, _EXISTS)
    write_new(public_path, _public_pem(private.public_key()), 0o644, _EXISTS)
    return public_path


def read_private_key(path: Path) -> Any:
    """Read a private key; raises KeyFileError if the file is not an unencrypted Ed25519 key."""
    kind, serialization = _ed25519().Ed25519PrivateKey, _serialization()
    advice = f"it is not a key for signing. To make one, type `styleid key new --signing {path.name}`"
    try:
        key = serialization.load_pem_private_key(_read(path), None)
    except (ValueError, TypeError, _unsupported()) as error:
        raise KeyFileError(path, advice) from error
    if not isinstance(key, kind):
        raise KeyFileError(path, advice)
    return key


def read_public_key(path: Path) -> Any:
    """Read a public key; raises KeyFileError if the file is not an Ed25519 public key."""
    kind, serialization = _ed25519().Ed25519PublicKey, _serialization()
    advice = "it is not a public key for signatures. `styleid key new --signing` writes one beside the private key."
    try:
        key = serialization.load_pem_public_key(_read(path))
    except (ValueError, TypeError, _unsupported()) as error:
        raise KeyFileError(path, advice) from error
    if not isinstance(key, kind):
        raise KeyFileError(path, advice)
    return key


def sign(record: Mapping[str, Any], key: Any) -> dict[str, Any]:
    """Return the certificate with a signature by a private key."""
    public = raw_public(key.public_key())
    field = {"algorithm": ALGORITHM, "public_key": _text(public), "value": _text(key.sign(canonical(record)))}
    return {**record, FIELD: field}


def seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the certificate with a hash instead of a signature. A hash shows accidental changes, but not forgery."""
    return {**record, FIELD: {"algorithm": "none", "sha256": hashlib.sha256(canonical(record)).hexdigest()}}


def is_signed(record: Mapping[str, Any]) -> bool:
    """Return whether a certificate has a signature. This does not check it."""
    field = record.get(FIELD)
    return isinstance(field, dict) and field.get("algorithm") == ALGORITHM


def fault(record: Mapping[str, Any], public: Any = None) -> str:
    """Return why the signature or hash of a certificate is wrong; "" if it is right.

    Args:
        record: The certificate.
        public: The key that must have signed. Without it, the key that the certificate names is used, so only
            accidental changes are found.
    """
    field = record.get(FIELD)
    if not isinstance(field, dict):
        return "the certificate has no signature"
    if not is_signed(record):
        if public is not None:
            return "the certificate is not signed"
        whole = field.get("sha256") == hashlib.sha256(canonical(record)).hexdigest()
        return "" if whole else "the certificate was changed after it was written"
    try:
        given = base64.b64decode(str(field["public_key"]), validate=True)
        value = base64.b64decode(str(field["value"]), validate=True)
    except (KeyError, binascii.Error, ValueError):
        return "the signature cannot be read"
    if public is not None and given != raw_public(public):
        return f"the certificate is signed by another key ({fingerprint(given)}, not {fingerprint(raw_public(public))})"
    return "" if _holds(given, value, canonical(record)) else "the signature does not match the certificate"


def signer(record: Mapping[str, Any]) -> str:
    """Return the fingerprint of the key that the certificate names; "" if it names none."""
    try:
        return fingerprint(base64.b64decode(str(record[FIELD]["public_key"]), validate=True))
    except (KeyError, TypeError, binascii.Error, ValueError):
        return ""


def fingerprint(raw_key: bytes) -> str:
    """Return the fingerprint of a key: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(raw_key).hexdigest()[:16]


def raw_public(public: Any) -> bytes:
    """Return the 32 bytes of a public key."""
    serialization = _serialization()
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _holds(raw_key: bytes, value: bytes, body: bytes) -> bool:
    kind = _ed25519().Ed25519PublicKey
    from cryptography.exceptions import InvalidSignature

    try:
        kind.from_public_bytes(raw_key).verify(value, body)
    except (InvalidSignature, ValueError):
        return False
    return True


def _public_pem(public: Any) -> bytes:
    serialization = _serialization()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_BYTES)
    except OSError as error:
        raise KeyFileError(path, f"it cannot be read ({error.strerror}).") from error


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingDependencyError("cryptography, which signs certificates,", "'styleid[keys]'") from error
    return ed25519


def _serialization() -> Any:
    from cryptography.hazmat.primitives import serialization

    return serialization


def _unsupported() -> type[Exception]:
    from cryptography.exceptions import UnsupportedAlgorithm

    return UnsupportedAlgorithm
