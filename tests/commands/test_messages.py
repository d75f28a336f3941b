"""Messages name options as flags."""

import pytest

from styleid.commands.messages import SHOWN, counted, message, warn_of_each, with_flags
from styleid.errors import ImageError, OptionError

POSITIONAL = {"source": "IN", "out": "OUT"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Take `method=none`.", "Take --method none."),
        ("`require_faces` is set", "--require-faces is set"),
        ("`key_file=FILE`, or `keep`", "--key-file FILE, or --keep"),
        ("choose another `out` than `source`", "choose another OUT than IN"),
        ("type `styleid key new FILE`", "type `styleid key new FILE`"),
        ("see `Anonymizer.from_bundle` or `Region`", "see `Anonymizer.from_bundle` or `Region`"),
        ("no option at all", "no option at all"),
    ],
)
def test_options_become_flags(text, shown):
    assert with_flags(text, POSITIONAL) == shown


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OptionError("min_face_px", "3: take 8 or more"), "--min-face-px: 3: take 8 or more"),
        (OptionError("out", "it is `source`"), "OUT: it is IN"),
        (OptionError("s3://bucket", "it cannot be opened"), "s3://bucket: it cannot be opened"),
        (ImageError("a.jpg", "`keep` needs a face"), "a.jpg: --keep needs a face"),
    ],
)
def test_errors_name_flags(error, shown):
    assert message(error, POSITIONAL) == shown


@pytest.mark.parametrize(
    ("lines", "count", "more"),
    [(SHOWN, None, 0), (SHOWN + 3, None, 3), (SHOWN + 3, 1000, 1000 - SHOWN), (2, None, 0)],
)
def test_only_the_first_lines_are_printed(capsys, lines, count, more):
    warn_of_each([f"line {number}" for number in range(lines)], " files", count)
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "styleid: line 0"
    assert len(told) == min(lines, SHOWN) + bool(more)
    assert (told[-1] == f"styleid: ... and {more} more files") == bool(more)


@pytest.mark.parametrize(
    ("count", "words", "shown"),
    [
        (1, ("file",), "1 file"),
        (2, ("file",), "2 files"),
        (0, ("face",), "0 faces"),
        (2, ("person", "people"), "2 people"),
    ],
)
def test_numbers_agree_with_their_nouns(count, words, shown):
    assert counted(count, *words) == shown
