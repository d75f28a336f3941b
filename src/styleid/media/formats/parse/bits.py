"""Read bits from the headers of coded pictures."""

from __future__ import annotations


class UnsupportedStreamError(Exception):
    """A stream ends too early or uses syntax that is not supported."""


class BitReader:
    """Reader of bits, the highest bit of each byte first. Its methods raise `UnsupportedStreamError` at the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def take(self, count: int = 1) -> int:
        """Return an unsigned number of `count` bits, 0 for no bits."""
        end = self._position + count
        if end > 8 * len(self._data):
            raise UnsupportedStreamError
        whole = int.from_bytes(self._data[self._position // 8 : (end + 7) // 8], "big")
        self._position = end
        return whole >> (-end % 8) & ((1 << count) - 1)

    def golomb(self) -> int:
        """Return an unsigned exponential-Golomb number."""
        zeros = 0
        while not self.take():
            zeros += 1
            if zeros > 32:
                raise UnsupportedStreamError
        return (1 << zeros) - 1 + self.take(zeros)

    def signed_golomb(self) -> int:
        """Return a signed exponential-Golomb number."""
        code = self.golomb()
        return (code + 1) // 2 if code & 1 else -(code // 2)

    def skip_golombs(self, count: int) -> None:
        """Skip `count` exponential-Golomb numbers."""
        for _ in range(count):
            self.golomb()
