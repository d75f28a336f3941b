"""A cache of the outputs of networks, by their inputs.

The key is a hash of the pixels and of the fingerprint of the network, so it does not depend on file names. Embeddings
are biometric data, so only the owner can read the file.
"""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from styleid.errors import OptionError


class Cache:
    """Arrays in an SQLite file, which several processes can share. Raises OptionError if the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._file = sqlite3.connect(path, timeout=120, isolation_level=None)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=OFF")
            self._file.execute("CREATE TABLE IF NOT EXISTS arrays (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
        except (OSError, sqlite3.Error) as error:
            raise OptionError("cache", f"{path} cannot be used as a cache: {error}.") from error
        self.hits = self.misses = 0

    def get(self, kind: str, content: np.ndarray[Any, Any], make: Callable[[], np.ndarray[Any, Any]]) -> np.ndarray:
        """Return the array for an input, from the file if it has it.

        Args:
            kind: Name and version of what computes the array.
            content: The input.
            make: Computes the array.
        """
        digest = hashlib.blake2b(f"{kind}\0{content.dtype}\0{content.shape}".encode(), digest_size=20)
        digest.update(np.ascontiguousarray(content).data)
        key = digest.digest()
        row = self._file.execute("SELECT value FROM arrays WHERE key = ?", (key,)).fetchone()
        if row is not None:
            self.hits += 1
            return np.load(io.BytesIO(row[0]), allow_pickle=False)
        self.misses += 1
        value, packed = make(), io.BytesIO()
        np.save(packed, value, allow_pickle=False)
        self._file.execute("INSERT OR REPLACE INTO arrays VALUES (?, ?)", (key, packed.getvalue()))
        return value

    def close(self) -> None:
        """Close the file, without deleting it."""
        self._file.close()
