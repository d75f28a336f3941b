"""Lists of files as inputs, and inputs in general."""

import os
from pathlib import Path

import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.engine.inputs import Inputs
from styleid.engine.local import RunOptions, process_files
from styleid.engine.shards import Shard
from styleid.errors import OptionError
from styleid.media.storage.files import walk_inputs

pytestmark = pytest.mark.versions

NAMES = ("b/2.png", "1.png", "b/c/3.png")


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in (*NAMES, "other.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(tmp_path / name)
    return tmp_path


def names(given: str | Path, out: Path, **options) -> list[str]:
    return [file.relative.as_posix() for file in Inputs([Path(given)], exclude=out, **options)]


def test_a_text_list_keeps_its_order_and_names_each_file_once(folder):
    (folder / "list.txt").write_text(f"b/2.png\n\n  {folder}/1.png\nb/../b/c/3.png\n./1.png\n")
    assert names(f"@{folder}/list.txt", folder / "out") == list(NAMES)
    done = process_files(
        [Path(f"@{folder}/list.txt")],
        Anonymizer(None, AnonymizeOptions(method="none")),
        RunOptions(folder / "out"),
    )
    assert (done.inputs, done.written) == (3, 3)
    assert (folder / "out/b/c/3.png").is_file()
    assert not (folder / "out/other.png").exists()


def test_a_relative_list_is_relative_to_itself(folder, monkeypatch):
    (folder / "b/list.txt").write_text("2.png\nmissing.png\n")
    monkeypatch.chdir(folder)
    files = list(Inputs([Path("@b/list.txt")], exclude=Path("out")))
    assert [file.path for file in files] == [Path("b/2.png"), Path("b/missing.png")]  # reading names what is missing


def test_a_parquet_list_is_read_by_its_column(folder):
    pytest.importorskip("pyarrow", reason="Parquet files are read with pyarrow")
    import pyarrow as arrow
    from pyarrow import parquet

    parquet.write_table(arrow.table({"label": [1, 2, 3], "path": list(NAMES)}), folder / "list.parquet")
    assert names(f"@{folder}/list.parquet", folder / "out") == list(NAMES)
    parquet.write_table(arrow.table({"label": [1]}), folder / "list.parquet")
    with pytest.raises(OptionError, match="no column 'path', only label"):
        names(f"@{folder}/list.parquet", folder / "out")
    (folder / "list.parquet").write_bytes(b"PAR?")
    with pytest.raises(OptionError, match="is not a Parquet file"):
        names(f"@{folder}/list.parquet", folder / "out")


@pytest.mark.parametrize(
    ("text", "says"),
    [("../up.png", "does not lie below"), ("/etc/passwd", "does not lie below"), ("out/1.png", "in the output folder")],
)
def test_a_list_names_nothing_outside_its_folder_nor_outputs(folder, text, says):
    (folder / "list.txt").write_text(f"1.png\n{text}\n")
    with pytest.raises(OptionError, match=says):
        names(f"@{folder}/list.txt", folder / "out")


def test_a_list_goes_alone_and_must_be_there(folder):
    with pytest.raises(OptionError, match=r"the list typo\.txt cannot be read: No such file"):
        names("@typo.txt", folder / "out")
    with pytest.raises(OptionError, match="must be the only input"):
        Inputs([folder / "1.png", Path("@list.txt")], exclude=folder / "out")
    (folder / "@odd.png").write_bytes(b"")
    assert names(folder / "@odd.png", folder / "out") == ["@odd.png"]


def test_inputs_are_what_the_walk_lists(folder):
    for given in ([folder], [folder / "b", folder / "1.png"]):
        inputs = Inputs(given, exclude=folder / "out")
        assert list(inputs) == walk_inputs(given, exclude=folder / "out")
        assert len(inputs) == len(list(inputs))
    parts = [names(folder, folder / "out", shard=Shard(index, 2)) for index in (1, 2)]
    assert sorted(parts[0] + parts[1]) == sorted([*NAMES, "other.png"])


def test_folders_stand_where_their_names_do(tmp_path):
    for name in ("a b/1.png", "a/2.png", "a.d/3.png", "a-e/4.png", "a/b/5.png", "a/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [file.relative for file in walk_inputs([tmp_path])]
    assert found == sorted(found)
    assert [os.fspath(path) for path in found][:2] == ["a/2.png", "a/b/5.png"]
