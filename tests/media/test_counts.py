"""Counts in messages."""

import pytest

from styleid.media.counts import counted


@pytest.mark.parametrize(("number", "text"), [(0, "0 bytes"), (1, "1 byte"), (2, "2 bytes"), (12_345, "12,345 bytes")])
def test_counts_agree_with_their_noun(number: int, text: str) -> None:
    assert counted(number, "byte") == text
