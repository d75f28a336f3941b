"""`styleid rank`, and the use of its file by `styleid anonymize`."""

import json
import shutil

import numpy as np
import pytest

from styleid import AnonymizeOptions, Bundle
from styleid.bundles.registry import APPEARANCE_MODEL, built_in, verify
from styleid.cli import main
from styleid.core.methods import choose_method
from styleid.core.privacy import privacy_level
from styleid.errors import BundleError
from tests.evaluate.rig import pixel_recogniser
from tests.tiny_bundle import edit_bundle, tiny_bundle

SMALL = ("--pairs", "1", "--people", "10", "--quiet")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A copy of the built-in bundle with a ranking that the command installed, and what the command said."""
    root = tmp_path_factory.mktemp("installed")
    folder = root / "copy"
    shutil.copytree(built_in()[APPEARANCE_MODEL], folder)
    out = root / "rankings.npz"
    given = ("--bundle", str(folder), "--out", str(out), "--units", "layers,groups:8", "--install", *SMALL)
    assert main(["rank", *given]) == 0
    return folder, out


def test_an_installed_ranking_is_named_checked_and_used(installed):
    folder, out = installed
    assert verify(folder) == []
    assert (folder / "rankings.npz").read_bytes() == out.read_bytes()
    bundle = Bundle(folder)
    level = privacy_level("low", bundle.spec.thresholds)
    scores = bundle.rankings()
    assert set(scores) == {f"{name}{what}" for name in ("layers", "groups")
                           for what in ("", "@ratio", "@d_id", "@leak", "@d_attr", "@landmarks")}  # fmt: skip
    best = np.argsort(scores["layers"][:, 0])[-5:]
    (step,) = choose_method(AnonymizeOptions(units="layers:best-5"), bundle, level).steps
    assert step.rows == tuple(sorted(best))
    (step,) = choose_method(AnonymizeOptions(units="groups:5@ratio"), bundle, level).steps
    rows = {channel // 8 for channel in step.channels}
    assert rows == set(np.argsort(scores["groups@ratio"][:, 0])[-5:])


def test_an_altered_ranking_is_refused(installed, tmp_path):
    folder = edit_bundle(installed[0], tmp_path / "altered")
    (folder / "rankings.npz").write_bytes(b"0" + (folder / "rankings.npz").read_bytes()[1:])
    with pytest.raises(BundleError, match=r"rankings\.npz has the SHA-256"):
        Bundle(folder).rankings()


def test_a_ranking_of_another_shape_does_not_verify(installed, tmp_path):
    folder = edit_bundle(installed[0], tmp_path / "other", layers=60)
    assert any("the ranking layers has shape (59, 1)" in problem for problem in verify(folder))


def test_json_and_another_recogniser(tmp_path, capsys):
    recogniser = pixel_recogniser(tmp_path)
    out = tmp_path / "new" / "rankings.npz"
    assert main(["rank", "--out", str(out), "--units", "layers", "--identity", str(recogniser), "--json", *SMALL]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["settings"]["identity"].startswith("pixels ")
    assert record["settings"]["judge"].startswith("gate ")
    assert record["tables"]["layers"]["units"] == 19
    assert record["written"] == [str(out)]
    assert sorted(path.name for path in out.parent.iterdir()) == ["rankings.npz"]


def test_a_bundle_whose_swaps_change_nothing_ranks_nothing(tmp_path, tmp_path_factory):
    folder = tiny_bundle(tmp_path_factory, "copy")
    out = tmp_path / "rankings.npz"
    assert main(["rank", "--bundle", str(folder), "--out", str(out), "--units", "layers,windows", *SMALL]) == 0
    with np.load(out, allow_pickle=False) as file:
        assert file["layers@d_id"].tolist() == [[0], [0], [0]]
        assert file["layers"].tolist() == [[0], [0], [0]]
        assert np.isnan(file["windows"][1, 2])
        assert np.isfinite(file["windows"]).sum() == 6


def test_an_interrupted_run_goes_on_with_the_same_command(installed, tmp_path, capsys, monkeypatch):
    out = tmp_path / "rankings.npz"
    call = ["rank", "--out", str(out), "--units", "layers", "--batch", "16", *SMALL]

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("styleid.ranking.run.leak", interrupt)
        assert main(call) == 1
    assert "the same command continues" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [".rankings.under-way.npz"]
    assert main(call) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["rankings.npz"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--units", "rows"), "--units: 'rows' is unknown"),
        (("--units", "groups:3"), "--units: 'groups:3': a group's size must divide every row"),
        (("--pairs", "0"), "--pairs"),
        (("--identity", "arcface"), "--identity: 'arcface' is unknown"),
        (("--judge", "nowhere.onnx"), "--judge: nowhere.onnx needs a card"),
        (("--space", "s"), "--space: s needs the networks affines"),
        (("--bundle", "nothing"), "--bundle"),
        (("--faces", "nowhere"), "--faces: nowhere is not a folder"),
    ],
)
def test_wrong_options_end_with_usage(tmp_path, capsys, arguments, says):
    assert main(["rank", "--out", str(tmp_path / "a.npz"), *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_scores_go_into_an_npz(tmp_path, capsys):
    assert main(["rank", "--out", str(tmp_path / "a.json")]) == 2
    assert "ends in .npz" in capsys.readouterr().err
