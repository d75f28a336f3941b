"""Divide the inputs of a run among machines that do not communicate."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from styleid.errors import OptionError


@dataclass(frozen=True)
class Shard:
    """One of several parts of the inputs. index: from 1 to count. count: number of parts."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard | None:
        """Parse i/n, such as 1/8; return None for an empty text. Raises OptionError for anything else."""
        if not text:
            return None
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise OptionError("shard", f"must be i/n, such as 1/8 for the first of eight parts, not '{text}'.")
        return cls(int(found[1]), int(found[2]))

    def takes(self, name: str) -> bool:
        """Return whether an input belongs to this part. It depends on the name of the input only."""
        digest = hashlib.sha256(name.encode(errors="surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1

    @property
    def suffix(self) -> str:
        """The part of the journal's file name that names the shard."""
        return f"{self.index}-of-{self.count}"
