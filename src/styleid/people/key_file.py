"""The secret key for consistent targets: a file with one line, made by `styleid key new`.

With the key and its people file, new faces can be traced back to people. Without the key, nobody can do this.
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
"""Size above which a file is not read as a key."""


@dataclass(frozen=True)
class SecretKey:
    """A secret key.

    path: its file.
    secret: 32 bytes. They never appear in messages, journals or `repr`.
    """

    path: Path
    secret: bytes = field(repr=False)

    def digest(self, purpose: str, content: bytes) -> bytes:
        """Return the HMAC-SHA256 of a purpose and some content, 32 bytes."""
        return hmac.new(self.secret, purpose.encode() + b"\0" + content, hashlib.sha256).digest()

    def derived(self, purpose: str, salt: bytes) -> bytes:
        """Derive a key of 32 bytes for one purpose: HKDF-SHA256 (RFC 5869) with one block."""
        drawn = hmac.new(salt, self.secret, hashlib.sha256).digest()
        return hmac.new(drawn, purpose.encode() + b"\x01", hashlib.sha256).digest()


def new_key(path: Path) -> SecretKey:
    """Write a new key for consistent targets, which only its owner can read, as `styleid key new` does.

    Args:
        path: Where to write it. The file must not exist.

    Returns:
        The key.

    Raises:
        KeyFileError: If the file exists or cannot be written.

    Examples:
        >>> from pathlib import Path
        >>> from styleid import new_key
        >>> new_key(Path("my.key")).path.name
        'my.key'
    """
    secret = secrets.token_bytes(KEY_BYTES)
    line = _PREFIX + base64.b64encode(secret).decode() + "\n"
    exists = "the file exists. A key is never overwritten, because its pseudonyms would be lost. Give another name."
    write_new(path, line.encode(), 0o600, exists)
    return SecretKey(path, secret)


def write_new(path: Path, content: bytes, mode: int, exists: str) -> None:
    """Write a new file and flush it to the disk. An existing file is never overwritten.

    Args:
        path: The new file.
        content: Its content.
        mode: Its permissions.
        exists: Message of the error if the file exists.

    Raises:
        KeyFileError: If the file exists or cannot be written.
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
    """Read a key.

    Args:
        path: A file that `styleid key new` made.

    Raises:
        KeyFileError: If the file is missing, cannot be read, or is not a key.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except FileNotFoundError as error:
        raise KeyFileError(path, f"the file does not exist. To make a key, type: styleid key new {path}") from error
    except OSError as error:
        raise KeyFileError(path, f"the file cannot be read: {error.strerror}.") from error
    wrong = "the file is not a styleid key. A key has one line. To make one, type: styleid key new FILE"
    try:
        line = content.decode("ascii").strip()
        secret = base64.b64decode(line.removeprefix(_PREFIX), validate=True)
    except (UnicodeDecodeError, binascii.Error, ValueError) as error:
        raise KeyFileError(path, wrong) from error
    if not line.startswith(_PREFIX):
        raise KeyFileError(path, wrong)
    if len(secret) != KEY_BYTES:
        raise KeyFileError(path, f"the key has {len(secret)} bytes instead of {KEY_BYTES}: the file was changed.")
    return SecretKey(path, secret)
