"""Write signed C2PA manifests that declare generated content, with c2pa-python (extra `c2pa`).

A manifest contains the action `c2pa.created` with IPTC's source type and a hash of the output. It contains no
ingredient, no thumbnail and no hash of the original. Nothing is downloaded, and a time-stamp server is asked only if
the user names one.
"""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import IO, Any

from styleid.errors import MissingDependencyError, OptionError
from styleid.media.provenance import SOURCE_TYPE, MarkOptions
from styleid.version import __version__

SIGNED_FORMATS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WebP": "image/webp",
    "TIFF": "image/tiff",
    "GIF": "image/gif",
    "AVIF": "image/avif",
    "HEIC": "image/heic",
    "JPEG XL": "image/jxl",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
}
"""Media types of the formats that can hold a manifest. Keys: `Photo.format` for pictures, the suffix for videos."""

_MANIFEST = {
    "claim_generator_info": [{"name": "styleid", "version": __version__}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}]},
        }
    ],
}
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}, "created_assertion_labels": ["c2pa.actions.v2"]},
    "verify": {"verify_after_sign": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
}


class SigningError(Exception):
    """A file cannot be signed. The message is the reason, without the file's name."""


def sign_bytes(data: bytes, kind: str, options: MarkOptions) -> bytes:
    """Return a copy of a file with a signed manifest.

    Args:
        data: The file.
        kind: Its format, a key of `SIGNED_FORMATS`.
        options: Certificate, key and time-stamp server; both files must be given.

    Raises:
        SigningError: The file cannot be signed.
        OptionError: The certificate or the key cannot be read.
        MissingDependencyError: c2pa-python is not installed.
    """
    out = io.BytesIO()
    _sign(io.BytesIO(data), out, kind, options)
    return out.getvalue()


def sign_file(source: Path, target: Path, kind: str, options: MarkOptions) -> None:
    """Write a signed copy of the file `source` to `target`; see `sign_bytes` for the other arguments and errors."""
    with source.open("rb") as given, target.open("w+b") as out:
        _sign(given, out, kind, options)


def check_signing(options: MarkOptions) -> None:
    """Sign a picture of one pixel to check certificate, key and time-stamp server before a run.

    Does nothing unless the mark is "c2pa".

    Raises:
        OptionError: The certificate, the key or the time-stamp server cannot be used.
        MissingDependencyError: c2pa-python is not installed.
    """
    if options.mark != "c2pa":
        return
    try:
        sign_bytes(_pixel(), "PNG", options)
    except SigningError as error:
        raise OptionError("mark", f"a C2PA manifest cannot be signed: {error}.") from error


def _sign(source: IO[bytes], target: IO[bytes], kind: str, options: MarkOptions) -> None:
    c2pa = _import_c2pa()
    certificate, key, algorithm = _material(options)
    try:
        info = c2pa.C2paSignerInfo(algorithm, certificate, key, options.c2pa_timestamp or None)
        context = c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(json.dumps(_MANIFEST), context) as builder:
            builder.sign(signer, SIGNED_FORMATS[kind], source, target)
    except c2pa.C2paError as error:
        raise SigningError(str(error)) from error


def _import_c2pa() -> Any:
    try:
        import c2pa  # pyright: ignore[reportMissingTypeStubs]  # it ships no types
    except ImportError as error:
        raise MissingDependencyError("c2pa-python, which signs manifests,", "'styleid[c2pa]'") from error
    return c2pa


def _material(options: MarkOptions) -> tuple[bytes, bytes, str]:
    """Return the certificates, the key and C2PA's name of the key's algorithm."""
    certificate, key = (
        _read(name, path)
        for name, path in (("c2pa_certificate", options.c2pa_certificate), ("c2pa_key", options.c2pa_key))
    )
    return certificate, key, _algorithm(key)


def _read(name: str, path: Path | None) -> bytes:
    assert path is not None, "MarkOptions requires both files for c2pa"
    try:
        return path.read_bytes()
    except OSError as error:
        raise OptionError(name, f"{path} cannot be read: {error.strerror}.") from error


@cache
def _algorithm(key: bytes) -> str:
    """Return C2PA's name of the signature algorithm for a private key in PEM."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        raise OptionError("c2pa_key", f"it must be a private key in PEM without a password ({error}).") from error
    curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in curves:
        return curves[private.curve.name]
    if isinstance(private, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise OptionError("c2pa_key", "the key's type is not allowed by C2PA. Use P-256, P-384, P-521, RSA or Ed25519.")


def _pixel() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("L", (1, 1)).save(out, "PNG")
    return out.getvalue()
