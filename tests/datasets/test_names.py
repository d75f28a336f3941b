"""Names in annotations, and the files that they refer to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleid.datasets.names import Finder, NameMatch, is_plain, possible_paths

FILES = ("train/a.png", "train/b.png", "val/b.png", "train/sub/c 1.JPG", "val/00012.png", "train/é.png", "x/IMG-7.png")


@pytest.fixture(scope="module")
def finder() -> Finder:
    return Finder(FILES, "/data/coco")


@pytest.mark.parametrize(
    ("text", "folders", "meant"),
    [
        ("a.png", ["train"], "train/a.png"),
        ("./a.png", ["train"], "train/a.png"),
        ("train/a.png", ["", "train"], "train/a.png"),
        ("../train/a.png", ["annotations"], "train/a.png"),
        ("/data/coco/val/b.png", ["train"], "val/b.png"),
        ("/elsewhere/val/b.png", ["train"], "val/b.png"),
        ("D:\\coco\\val\\b.png", [""], "val/b.png"),
        ("http://host/v1/val/b.png?x=1#y", [""], "val/b.png"),
        ("http://host/c%201.JPG", [""], "train/sub/c 1.JPG"),
        ("/data/local-files/?d=train%2Fa.png", [""], "train/a.png"),
        ("c 1.jpg", ["val"], "train/sub/c 1.JPG"),
        ("C 1", ["val"], "train/sub/c 1.JPG"),
        ("c 1.webp", ["val"], "train/sub/c 1.JPG"),
        ("e\u0301.png", ["train"], "train/é.png"),
        ("img_7.png", ["x"], "x/IMG-7.png"),
        ("3f2a9c1d-a.png", ["train"], "train/a.png"),
        ("a_png.rf.3f2a9c1d3f2a9c1d3f2a9c1d.jpg", ["train"], "train/a.png"),
        ("/mnt/train.tar#a.png", [""], "train/a.png"),
        ("train.tar#sub/c 1.JPG", [""], "train/sub/c 1.JPG"),
        ("train/&eacute;.png", [""], "train/é.png"),
        ("http://[bad", [""], ""),
        ("../../etc/passwd", ["train"], ""),
        ("/etc/passwd", ["train"], ""),
        ("none.png", ["train"], ""),
        ("\0", ["train"], ""),
        ("", ["train"], ""),
        ("..", ["train"], ""),
        (".", ["train"], ""),
    ],
)
def test_names_lead_to_files_of_the_data_set_alone(finder, text, folders, meant):
    assert finder.find(text, folders).name == meant


def test_what_fits_several_files_is_left_open(finder):
    assert finder.find("/x/b.png", [""]) == NameMatch(maybe=("train/b.png", "val/b.png"))
    assert finder.find("/x/val/b.png", [""]).name == "val/b.png"
    assert finder.find("b.png", ["x"], taken={"val/b.png"}).name == "train/b.png"
    assert finder.find("a.png", ["x"], taken={"train/a.png"}) == NameMatch()
    assert finder.find("/x/a.png", ["x"], taken={"train/a.png"}).name == "train/a.png"


def test_numbers_find_files_with_zeros_before_them(finder):
    assert finder.numbered("12") == finder.numbered("0012") == ("val/00012.png",)
    assert finder.numbered("120") == ()


def test_only_likely_files_are_chosen_where_a_name_does_not_lead():
    finder = Finder(FILES, likely=["train/a.png"])
    assert finder.find("b.png", ["val"]).name == "val/b.png"
    assert finder.find("/x/b.png", ["val"]) == NameMatch()


@given(st.text(max_size=30))
def test_any_text_means_a_file_or_nothing(text):
    found = Finder(FILES, "/data/coco").find(text, ["train", ""])
    assert {found.name, *found.maybe} - {""} <= set(FILES)
    assert all(possible_paths(text))
    assert isinstance(is_plain(text), bool)
