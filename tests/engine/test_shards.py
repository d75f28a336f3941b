"""Machines that share only a folder process one part of the inputs each, and together all of them."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.engine.journal import NAME, Journal, journals
from styleid.engine.local import RunOptions, process_files
from styleid.engine.shards import Shard
from styleid.errors import OptionError
from tests.engine.test_local import contents

COUNT = 24
PARTS = ("1/3", "2/3", "3/3")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for index in range(COUNT):
        path = folder / ("", "deep")[index % 2] / f"{index:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40 + index, 40), (index, 120, 60)).save(path)
    return folder


@pytest.fixture(scope="module")
def plain() -> Anonymizer:
    return Anonymizer(None, AnonymizeOptions(method="none", seed=1))


def lines(path: Path) -> list[str]:
    return [json.loads(line)["input"] for line in path.read_text().splitlines()]


def outputs(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if not name.startswith("styleid-journal")}


@given(st.text(min_size=1), st.integers(1, 40))
def test_every_name_belongs_to_one_part(name, count):
    taken = [index for index in range(1, count + 1) if Shard(index, count).takes(name)]
    assert len(taken) == 1


def test_parts_do_not_change_with_versions_or_machines():
    taken = {index: [n for n in range(12) if Shard(index, 3).takes(f"street/{n}.jpg")] for index in (1, 2, 3)}
    assert taken == {1: [1, 2, 4, 5, 7, 9, 10, 11], 2: [0, 6], 3: [3, 8]}


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "-1/3", "a/b", "1/3/5", " 1/3", "1/", "1.5/3", "1/9999999"])
def test_what_is_no_part_is_refused(photos, plain, tmp_path, text):
    with pytest.raises(OptionError, match=r"^shard: must be i/n, .* not "):
        process_files([photos], plain, RunOptions(tmp_path / "out", shard=text))
    assert not (tmp_path / "out").exists()


def test_parts_are_all_of_it_and_are_resumed_as_one(photos, plain, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    process_files([photos], plain, RunOptions(whole))
    done: dict[str, list[str]] = {}
    for part in PARTS:
        summary = process_files([photos], plain, RunOptions(out, shard=part))
        done[part] = lines(out / f"styleid-journal-{part.replace('/', '-of-')}.jsonl")
        assert summary.inputs == summary.written == len(done[part])
        assert done[part] == [name for name in lines(whole / NAME) if name in done[part]]
    assert sorted(name for names in done.values() for name in names) == sorted(lines(whole / NAME))
    assert all(done.values())
    assert outputs(out) == outputs(whole)
    assert not (out / NAME).exists()
    assert len(journals(out)) == 3

    lost = done["2/3"][0]
    (out / lost).unlink()
    (out / done["3/3"][0]).write_bytes((photos / done["3/3"][0]).read_bytes()[:-1])
    merged = process_files([photos], plain, RunOptions(out, resume=True))
    assert (merged.inputs, merged.resumed, merged.written) == (COUNT, COUNT - 2, COUNT)
    assert lines(out / NAME) == [name for name in lines(whole / NAME) if name in (lost, done["3/3"][0])]
    assert outputs(out) == outputs(whole)
    assert sorted(record["input"] for record in Journal(out).records()) == sorted(lines(whole / NAME))
    assert sorted(record["input"] for record in Journal(out).latest()) == sorted(lines(whole / NAME))

    for index in range(1, 6):  # other parts' journals count as well: there may be another number of machines now
        again = process_files([photos], plain, RunOptions(out, shard=f"{index}/5", resume=True))
        assert again.inputs == again.resumed


def test_settings_must_agree_with_every_part(photos, plain, tmp_path):
    process_files([photos], plain, RunOptions(tmp_path, shard="1/2"))
    other = Anonymizer(None, AnonymizeOptions(method="none", seed=2))
    for shard in ("", "2/2"):
        with pytest.raises(OptionError, match="other settings \\(seed\\)"):
            process_files([photos], other, RunOptions(tmp_path, shard=shard, resume=True))


def test_a_part_leaves_what_other_machines_are_writing(photos, plain, tmp_path):
    young, old = (tmp_path / f".styleid-{digit * 16}.part" for digit in "12")
    for path in (young, old):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    process_files([photos], plain, RunOptions(tmp_path, shard="1/2"))
    assert young.exists()
    assert not old.exists()
    process_files([photos], plain, RunOptions(tmp_path, resume=True))
    assert not young.exists()


def test_boxes_of_another_part_are_no_mistake(photos, plain, tmp_path):
    boxes = {name: [[1, 1, 20, 20]] for name in ("00.png", "02.png", "04.png", "06.png")}
    faces = 0
    for part in PARTS:
        faces += process_files([photos], plain, RunOptions(tmp_path, shard=part), boxes).faces["obscured"]
    assert faces == 4
    with pytest.raises(OptionError, match=r"'typo\.png' is not an input"):
        process_files([photos], plain, RunOptions(tmp_path, shard="1/3"), boxes | {"typo.png": [[1, 1, 20, 20]]})


def test_a_journal_that_was_copied_whole_still_tells_only_what_is_true(photos, plain, tmp_path):
    """Journals from several folders may lie together; what counts is the output."""
    one, two = tmp_path / "one", tmp_path / "two"
    process_files([photos], plain, RunOptions(one))
    process_files([photos], plain, RunOptions(two))
    shutil.copy(one / NAME, two / "styleid-journal-1-of-2.jsonl")
    (two / NAME).write_text((two / NAME).read_text().replace('"sha256": "', '"sha256": "0'))
    assert process_files([photos], plain, RunOptions(two, resume=True)).resumed == COUNT
    (two / "00.png").write_bytes(b"other")
    assert process_files([photos], plain, RunOptions(two, resume=True)).resumed == COUNT - 1
