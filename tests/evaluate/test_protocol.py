"""Who is shown in photos, and which output belongs to which original."""

from pathlib import Path

import pytest
from PIL import Image

from styleid.errors import OptionError
from styleid.evaluate.protocol import Named, Original, pair_outputs, read_originals


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    return root


def test_folders_are_people_and_loose_photos_nobody(tmp_path):
    folder = tree(tmp_path, "ann/1.png", "ann/2.png", "ben/old/1.png", "loose.png")
    found = {original.name: original.named for original in read_originals(folder)}
    assert found == {
        "ann/1.png": (Named("ann"),),
        "ann/2.png": (Named("ann"),),
        "ben/old/1.png": (Named("ben/old"),),
        "loose.png": (),
    }
    assert not any(original.named for original in read_originals(folder, "none"))


def test_a_csv_names_people_and_boxes(tmp_path):
    folder = tree(tmp_path / "photos", "a.png", "b.png", "c.png")
    file = tmp_path / "who.csv"
    file.write_text("file,person,x0,y0,x1,y1\na.png,Ann,,,,\nb.png,Ann,1,2,3,4\nb.png,Ben,4,2,6.5,4\n")
    found = {original.name: original.named for original in read_originals(folder, str(file))}
    assert found["a.png"] == (Named("Ann"),)
    assert found["b.png"] == (Named("Ann", (1, 2, 3, 4)), Named("Ben", (4, 2, 6.5, 4)))
    assert found["c.png"] == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,who\na.png,Ann\n", "must begin with the line file,person"),
        ("file,person\ntypo.png,Ann\n", "line 2: 'typo.png' is not an original"),
        ("file,person\na.png,\n", "line 2: the person is missing"),
        ("file,person,x0,y0,x1,y1\na.png,Ann,1,2,x,4\n", "must be four numbers"),
        ("file,person,x0,y0,x1,y1\na.png,Ann,1,2,1,4\n", "x0 < x1 and y0 < y1, not 1,2,1,4"),
        ("file,person\na.png,Ann\na.png,Ben\n", "has several people, so each needs x0,y0,x1,y1"),
    ],
)
def test_a_csv_that_does_not_fit_is_refused(tmp_path, text, says):
    folder = tree(tmp_path / "photos", "a.png")
    (tmp_path / "who.csv").write_text(text)
    with pytest.raises(OptionError, match=says):
        read_originals(folder, str(tmp_path / "who.csv"))


def test_outputs_are_found_by_path_then_by_stem(tmp_path):
    names = ("same.png", "other.jpg", "x/tool.png", "x/missing.png", "two.png", "two.jpg")
    originals = [Original(name, tmp_path / name) for name in names]
    folder = tree(tmp_path / "out", "same.png", "other.webp", "x/tool_anonymized.png", "two.bmp", "stray.png")
    pairing = pair_outputs(originals, folder)
    found = {name: path.relative_to(folder).as_posix() for name, path in pairing.outputs.items()}
    assert found == {"same.png": "same.png", "other.jpg": "other.webp", "x/tool.png": "x/tool_anonymized.png"}
    # two.bmp could have come from either of two originals: nobody guesses
    assert pairing.strays == ("stray.png", "two.bmp")
