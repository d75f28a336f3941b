"""Options and messages about which face each person gets."""

import io
import sys
from pathlib import Path

import pytest
from PIL import Image

from styleid.cli import main
from styleid.core.options import AnonymizeOptions, PeopleOptions
from styleid.errors import OptionError


@pytest.fixture
def photo(tmp_path, astronaut) -> Path:
    path = tmp_path / "in/a.png"
    path.parent.mkdir()
    Image.fromarray(astronaut[:256, 96:352]).save(path)
    return path


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"targets": "typo"}, "^targets: 'typo' is unknown; choose fresh, consistent, or k=N"),
        ({"targets": "k"}, "'k' is unknown"),
        ({"targets": "k="}, "'k=' is unknown"),
        ({"targets": "k=-3"}, "'k=-3' is unknown"),
        ({"targets": "k=two"}, "'k=two' is unknown"),
        ({"targets": "k=1"}, "^targets: k must be at least 2, not 1"),
        ({"targets": "consistent"}, "^key_file: `targets=consistent` needs a key.*styleid key new FILE"),
        ({"key_file": Path("x")}, "^key_file: `targets=fresh` uses no key"),
        ({"targets": "k=3", "key_file": Path("x")}, "^key_file: `targets=k=3` uses no key"),
    ],
)
def test_impossible_wishes_are_refused(values, says):
    with pytest.raises(OptionError, match=says):
        PeopleOptions(**values)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"method": "magic"}, "^method: 'magic' is unknown; choose one of latent, pixel, swapper, none"),
        ({"obscure": "hat"}, "^obscure: 'hat' is unknown; choose one of solid, blur, pixelate"),
        ({"region": "nose"}, "^region: 'nose' is unknown; choose one of full, inner"),
        ({"strength": 0}, "^strength: must be more than 0 and at most 1, not 0"),
        ({"strength": 1.5}, "^strength: must be more than 0 and at most 1, not 1.5"),
        ({"strength": float("nan")}, "^strength: must be more than 0 and at most 1, not nan"),
        ({"tries": 0}, "^tries: must be at least 1, not 0"),
    ],
)
def test_values_that_mean_nothing_are_refused(values, says):
    with pytest.raises(OptionError, match=says):
        AnonymizeOptions(**values)


def test_k_is_read():
    assert (PeopleOptions("k=12").k, PeopleOptions().k, PeopleOptions("consistent", Path("x")).k) == (12, None, None)


def test_a_key_is_made_once(tmp_path, capsys):
    path = str(tmp_path / "a.key")
    assert main(["key", "new", path]) == 0
    said = capsys.readouterr().out
    assert "a new key" in said
    assert "a.key.people" in said
    assert Path(path).read_text().split(":")[1].strip() not in said
    assert main(["key", "new", path]) == 1
    assert "never overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (("--targets", "k=2", "--method", "none"), 2, "--targets: k=2 gives new faces, and --method none makes none"),
        (("--targets", "consistent", "--key-file", "GONE"), 1, "the file does not exist. To make a key, type: styl"),
        (("--targets", "consistent"), 2, "styleid key new FILE"),
        (("--keep", "GONE", "--method", "none"), 2, "is not a folder. Give a folder with photos"),
        (("--targets", "k=2"), 2, "this run shows only 1. Nothing was written"),
    ],
)
def test_what_cannot_be_done_ends_before_anything_is_written(photo, tmp_path, capsys, bundle, options, status, says):
    options = [str(tmp_path / "gone") if o == "GONE" else o for o in options]
    assert main(["anonymize", str(photo.parent), "--out", str(tmp_path / "out"), *options]) == status
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_one_photo_through_a_pipe_keeps_its_pseudonym(photo, tmp_path, bundle, monkeypatch, capsysbinary):
    def pipe(*options: str) -> tuple[int, bytes, bytes]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
        return main(["anonymize", "-", "--out", "-", *options]), *capsysbinary.readouterr()

    key = str(tmp_path / "a.key")
    assert main(["key", "new", key]) == 0
    capsysbinary.readouterr()
    first, second = (pipe("--targets", "consistent", "--key-file", key) for _ in range(2))
    assert first == second
    assert first[0] == 0
    assert first[1][:4] == b"\x89PNG"
    status, out, said = pipe("--targets", "k=2")
    assert (status, out) == (2, b"")
    assert b"cannot be grouped with others" in said
