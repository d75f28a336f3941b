"""Divide inputs among machines that do not talk to each other."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from styleid.errors import OptionError


@dataclass(frozen=True)
class Shard:
    """Take one of several parts of the inputs. index: 1 to count."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard | None:
        """Read i/n; nothing where the text is empty. Raises OptionError for anything else."""
        if not text:
            return None
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise OptionError("shard", f"'{text}' is no part: write i/n, such as 1/8 for the first of eight.")
        return cls(int(found[1]), int(found[2]))

    def takes(self, name: str) -> bool:
        """Say whether an input belongs to this part: the same on every machine, whatever else lies in the folder."""
        digest = hashlib.sha256(name.encode(errors="surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1

    @property
    def suffix(self) -> str:
        """What the part's journal has in its name."""
        return f"{self.index}-of-{self.count}"
