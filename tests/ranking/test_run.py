"""Small complete rankings of the built-in bundle."""

import doctest
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleid.errors import OptionError
from styleid.ranking import curves, run
from styleid.ranking.plots import draw_all
from styleid.ranking.probe import ATTRIBUTES, Identity, Probe, attribute_scales, raw_attributes
from styleid.ranking.run import RankOptions, rank_units
from styleid.ranking.spaces import WPlusSpace, choose_space

OPTIONS = RankOptions(units="layers,groups:8", pairs=1, people=10, seed=3, batch=16)


@pytest.fixture(scope="module")
def bundle(appearance_model):
    """A bundle of format 1, whose rows have names and one width."""
    return appearance_model


@pytest.fixture(scope="module")
def ranking(bundle):
    return rank_units(bundle, OPTIONS)


def test_a_ranking_has_what_was_asked_for(bundle, ranking):
    arrays = ranking.arrays()
    assert list(ranking.tables) == ["layers", "groups"]
    for name in ("layers", "groups"):
        for what in ("", "@ratio", "@d_id", "@leak", "@d_attr", "@landmarks"):
            assert arrays[name + what].shape == (bundle.spec.layers, 1)
            assert np.isfinite(arrays[name + what]).all()
    # a group of eight is a layer here, and is measured once
    assert np.array_equal(arrays["layers@d_id"], arrays["groups@d_id"])
    settings = json.loads(arrays["rank.settings"])
    assert (settings["seed"], settings["pairs"], settings["faces"]) == (3, 1, "sampled")


def test_the_default_score_is_the_difference_over_the_whole_table(ranking):
    table = ranking.tables["layers"]
    h = [(v - v.min()) / (v.max() - v.min()) for v in (table.d_id, table.d_attr)]
    assert np.allclose(ranking.arrays()["layers"][:, 0], h[0] - h[1], atol=1e-6)


def test_pose_moves_landmarks_and_texture_hardly_does(bundle):
    # of a few pairs, heads are turned by as much as chance brought
    landmarks = rank_units(bundle, replace(OPTIONS, units="layers", people=20, pairs=20)).tables["layers"].landmarks
    assert landmarks[0] > 0.05
    # lips and lids are set by whose they are, which the first four rows of texture tell too
    assert landmarks[11:15].max() < 0.003
    assert np.allclose(landmarks[15:], 0, atol=1e-6)


def test_a_seed_repeats_and_another_does_not(bundle, ranking):
    assert rank_units(bundle, OPTIONS).content() == ranking.content()
    other = rank_units(bundle, replace(OPTIONS, seed=4, units="layers"))
    assert not np.allclose(other.tables["layers"].d_id, ranking.tables["layers"].d_id, atol=1e-3)


def test_a_killed_ranking_goes_on_and_comes_to_the_same(bundle, ranking, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "SAVE_EVERY", 1)
    state, seen = tmp_path / "state.npz", []

    def kill(done, total, stage):
        if stage == "units":
            seen.append(done)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rank_units(bundle, OPTIONS, state=state, watch=kill)
    with np.load(state, allow_pickle=False) as file:
        assert set(file.files) == {"rank.settings", "units", "units.done"}  # no embedding, no crop, no code
    with pytest.raises(OptionError, match=r"other settings.*seed 3, not 4"):
        rank_units(bundle, replace(OPTIONS, seed=4), state=state)
    resumed = []
    done = rank_units(bundle, OPTIONS, state=state, watch=lambda k, n, stage: resumed.append((stage, k)))
    assert done.content() == ranking.content()
    assert min(k for stage, k in resumed if stage == "units") > seen[-1]
    again = []
    assert rank_units(bundle, OPTIONS, state=state, watch=lambda k, n, stage: again.append(stage)).content() == (
        ranking.content()
    )
    assert "units" not in again


def test_a_file_that_is_no_state_is_refused(bundle, tmp_path):
    state = tmp_path / "state.npz"
    state.write_bytes(b"something else")
    with pytest.raises(OptionError, match=r"state\.npz, the state of an unfinished ranking, cannot"):
        rank_units(bundle, OPTIONS, state=state)
    assert state.read_bytes() == b"something else"


def test_curves_are_measured_on_other_people_and_drawn(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "SHARES", (0.3,))
    ranking = rank_units(bundle, replace(OPTIONS, units="groups:8", pairs=2), curves=True)
    assert ranking.settings["curves_on_other_people"]
    table = ranking.tables["groups"]
    assert table.curves is not None
    assert len(ranking.own) == len(bundle.spec.swaps)
    everything = table.curves["difference"][:, -1]
    assert (everything[:, 0] > ranking.own[0][:, 0] * 0.8).all()
    pictures = draw_all(ranking, bundle.spec)
    assert set(pictures) == {"groups", "curves"}
    for content in pictures.values():
        assert len(content) < 300_000
        (tmp_path / "a.png").write_bytes(content)
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.format == "PNG"
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 8


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"pairs": 0}, "^pairs: must be at least 1, not 0"),
        ({"people": 9}, "^people: must be at least 10, not 9"),
        ({"people": 20, "pairs": 21}, "^people: must be at least the number of pairs, 21, not 20"),
        ({"batch": 0}, "^batch: must be at least 1, not 0"),
        ({"seed": -1}, "^seed: must be at least 0, not -1"),
        ({"space": "z"}, "^space: 'z' is unknown"),
    ],
)
def test_wrong_options_are_refused(changes, option):
    with pytest.raises(OptionError, match=option):
        RankOptions(**changes)


def test_s_needs_a_bundle_that_has_it(bundle):
    with pytest.raises(OptionError, match="affines and synthesis"):
        choose_space("s", bundle)


def test_every_attribute_counts_alike(bundle):
    people = run.sampled_people(bundle, Identity.of_bundle(bundle), 10, 0)
    space = WPlusSpace(bundle)
    images, landmarks = space.render(space.codes(people.wplus))
    raw = raw_attributes(bundle.describe(images.round().astype(np.uint8)), images, landmarks)
    scaled, start = raw / attribute_scales(raw), 0
    for numbers, least in ATTRIBUTES.values():
        if raw[:, start : start + numbers].var(0).sum() > least**2:
            assert scaled[:, start : start + numbers].var(0).sum() == pytest.approx(1, abs=1e-3)
        start += numbers
    assert start == raw.shape[1]


def test_alignment_takes_placement_out_of_identity(bundle):
    """The same face elsewhere in its crop is the same person, and moves."""
    people = run.sampled_people(bundle, Identity.of_bundle(bundle), 10, 0)
    moved = people.wplus.copy()
    moved[:, bundle.spec.rows[1].first] += 1
    space, identity = WPlusSpace(bundle), Identity.of_bundle(bundle)
    probe = Probe(bundle, space, identity)
    before, after = probe.read(space.codes(people.wplus)), probe.read(space.codes(moved))
    assert np.linalg.norm(before.embeddings - after.embeddings, axis=1).mean() < 0.35
    assert np.abs(before.landmarks - after.landmarks).mean() > 0.3


def test_people_of_photos_are_one_face_each(bundle, tmp_path, astronaut):
    for name, side in (("a/1.png", 240), ("a/2.png", 250), ("b.png", 260)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(astronaut[:side, 96 : 96 + side]).save(tmp_path / name)
    Image.new("RGB", (64, 64)).save(tmp_path / "empty.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    people = run.people_of_photos(bundle, Identity.of_bundle(bundle), tmp_path, 10, 0)
    assert len(people) == 2
    assert sorted(name for name, _ in people.skipped) == ["broken.png", "empty.png"]
    assert people.embeddings[0] @ people.embeddings[1] > 0.9
    assert people.wplus.shape == people.targets.shape == (2, bundle.spec.size)
    with pytest.raises(OptionError, match="people found: 2;"):
        rank_units(bundle, replace(OPTIONS, faces=tmp_path))


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_faces_is_refused(bundle, tmp_path, made):
    folder = tmp_path / "photos"
    if made:
        folder.mkdir()
    with pytest.raises(OptionError, match=r"^faces: "):
        run.people_of_photos(bundle, Identity.of_bundle(bundle), folder, 10, 0)


def test_the_docstring_runs():
    tests = doctest.DocTestFinder(recurse=False).find(rank_units, "rank_units", globs={})
    assert [doctest.DocTestRunner().run(one).failed for one in tests] == [0]


def test_the_page_s_example_runs(capsys):
    page = Path(__file__).resolve().parents[2] / "docs/rankings.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(code, "rankings.md", "exec"), {})
    assert capsys.readouterr().out.startswith("[")
