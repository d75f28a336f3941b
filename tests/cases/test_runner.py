"""The runner detects what a run did to a face, and finds all files that the run wrote."""

import numpy as np

from tests.cases.runner import pixels, share_changed


def test_runs_are_seen_whole(head, styleid, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    head.save(folder / "a.png")
    (folder / "b.png").write_bytes(b"no picture")
    result = styleid("anonymize", folder, "--method", "none", "--json")
    assert (result.status, result.files.keys(), result.errors.keys()) == (3, {"a.png"}, {"b.png"})
    assert '"written": 1' in result.stdout
    assert "b.png" in result.stderr
    before, after = np.asarray(head), pixels(result.out / "a.png")
    assert share_changed(before, after, (100, 80, 160, 160)) > 0.95
    assert share_changed(before, after, (0, 0, 256, 20)) == 0.0


def test_bad_usage_ends_with_its_status(styleid, tmp_path):
    result = styleid("anonymize", tmp_path / "nowhere", "--method", "none")
    assert (result.status, result.files) == (2, {})
    assert "does not exist" in result.stderr
