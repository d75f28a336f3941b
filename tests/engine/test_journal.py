import hashlib
import json
import os
from pathlib import Path

import pytest

from styleid.engine.journal import NAME, Journal
from styleid.errors import OptionError, OutputError
from styleid.media.storage.files import InputFile

SETTINGS = {"method": "latent", "seed": 1}


def _record(name: str, data: bytes) -> dict:
    return {"input": name, "sha256": hashlib.sha256(data).hexdigest(), "faces": [], "settings": SETTINGS}


def test_lines_are_read_back_and_the_last_of_an_input_counts(tmp_path):
    journal = Journal(tmp_path)
    journal.append({"input": "a", "error": "cut short", "faces": [], "settings": SETTINGS})
    journal.append(_record("b", b"b"))
    journal.append(_record("a", b"a"))
    again = Journal(tmp_path).records()
    assert [r["input"] for r in again] == ["a", "b"]
    assert "error" not in again[0]
    assert len((tmp_path / NAME).read_text().splitlines()) == 3


def test_only_whole_unchanged_outputs_count_as_finished(tmp_path):
    source, output = tmp_path / "in/a.png", tmp_path / "out/a.png"
    journal = Journal(output.parent)
    for path, age in ((source, 20), (output, 10)):
        path.parent.mkdir()
        path.write_bytes(b"pixels")
        os.utime(path, (1e9 - age, 1e9 - age))
    journal.append(_record("a.png", b"pixels"))
    file = InputFile(source, Path("a.png"))
    assert journal.finished(file, SETTINGS) is not None
    assert journal.finished(file, SETTINGS | {"seed": 2}) is None
    assert journal.finished(InputFile(source, Path("other.png")), SETTINGS) is None
    os.utime(source)
    assert journal.finished(file, SETTINGS) is None
    os.utime(output)
    assert journal.finished(file, SETTINGS) is not None
    output.write_bytes(b"pixelz")
    assert journal.finished(file, SETTINGS) is None
    output.unlink()
    assert journal.finished(file, SETTINGS) is None


@pytest.mark.parametrize("keep", range(1, 60, 7))
def test_half_a_line_of_a_killed_run_is_left_alone(tmp_path, keep):
    Journal(tmp_path).append(_record("a", b"a"))
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole + whole[:keep])
    journal = Journal(tmp_path)
    assert [r["input"] for r in journal.records()] == ["a"]
    journal.append(_record("b", b"b"))
    assert [r["input"] for r in Journal(tmp_path).records()] == ["a", "b"]


def test_other_settings_are_named(tmp_path):
    journal = Journal(tmp_path)
    journal.append(_record("a", b"a"))
    journal.require_settings(dict(SETTINGS))
    with pytest.raises(OptionError, match="seed"):
        journal.require_settings(SETTINGS | {"seed": 9})


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    journal = Journal(tmp_path)
    (tmp_path / NAME).mkdir()
    with pytest.raises(OutputError, match=NAME):
        journal.append(_record("a", b"a"))


def test_names_of_every_script_survive(tmp_path):
    Journal(tmp_path).append(_record("фото/日本 \n1.jpg", b"a"))
    assert json.loads((tmp_path / NAME).read_text())["input"] == "фото/日本 \n1.jpg"
