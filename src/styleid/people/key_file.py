"""The secret key that pseudonyms depend on: a file of one line, made by `styleid key new`.

Whoever has the key and its people file can tell which new face stands for whom; without the key nobody can, its owner
included.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from styleid.errors import KeyFileError
from styleid.media.storage.files import os_reason

KEY_BYTES = 32
_PREFIX = "styleid-key-1:"
_LARGEST_BYTES = 4096
"""A file beyond this is no key, and is not read."""


@dataclass(frozen=True)
class SecretKey:
    """Hold a key. path: its file. secret: 32 bytes, which no message and no journal shows."""

    path: Path
    secret: bytes = field(repr=False)

    def digest(self, purpose: str, content: bytes) -> bytes:
        """Return HMAC-SHA256 of a purpose and some content, 32 bytes."""
        return hmac.new(self.secret, purpose.encode() + b"\0" + content, hashlib.sha256).digest()

    def derived(self, purpose: str, salt: bytes) -> bytes:
        """Return another key of 32 bytes for one purpose: HKDF-SHA256 (RFC 5869) of a single block."""
        drawn = hmac.new(salt, self.secret, hashlib.sha256).digest()
        return hmac.new(drawn, purpose.encode() + b"\x01", hashlib.sha256).digest()


def new_key(path: Path) -> SecretKey:
    """Write a new key for consistent targets, which only its owner can read, as `styleid key new` does.

    Args:
        path: Where to write it. The file must not exist.

    Returns:
        The key.

    Raises:
        KeyFileError: The file exists or cannot be written.

    Examples:
        >>> from pathlib import Path
        >>> from styleid import new_key
        >>> new_key(Path("my.key")).path.name
        'my.key'
    """
    secret = secrets.token_bytes(KEY_BYTES)
    line = _PREFIX + base64.b64encode(secret).decode() + "\n"
    write_new(path, line.encode(), 0o600, "it exists, and is never overwritten: its pseudonyms would be lost.")
    return SecretKey(path, secret)


def write_new(path: Path, content: bytes, mode: int, exists: str) -> None:
    """Write a key's file and bring it to the disk, never over another one.

    mode: permissions of the new file. exists: what to say where there is a file already.
    Raises KeyFileError where the file exists or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise KeyFileError(path, exists) from error
    except FileNotFoundError as error:
        raise KeyFileError(path, f"the folder {path.parent} does not exist.") from error
    except OSError as error:
        raise KeyFileError(path, f"{os_reason(error)}.") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_key(path: Path) -> SecretKey:
    """Read a key; raises KeyFileError where the file is missing, unreadable or not one that `styleid key new` made."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except FileNotFoundError as error:
        raise KeyFileError(path, f"it does not exist. To make a key, type: styleid key new {path}") from error
    except OSError as error:
        raise KeyFileError(path, f"it cannot be read: {error.strerror}.") from error
    wrong = f"it is no key of styleid's. A key is one line, made with: styleid key new {path.name}"
    try:
        line = content.decode("ascii").strip()
        secret = base64.b64decode(line.removeprefix(_PREFIX), validate=True)
    except (UnicodeDecodeError, binascii.Error, ValueError) as error:
        raise KeyFileError(path, wrong) from error
    if not line.startswith(_PREFIX):
        raise KeyFileError(path, wrong)
    if len(secret) != KEY_BYTES:
        raise KeyFileError(path, f"it holds {len(secret)} bytes and not {KEY_BYTES}: it was cut or changed.")
    return SecretKey(path, secret)
