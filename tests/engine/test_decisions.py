"""Decisions files are read strictly, repeat the run that exported them, and withhold photos that they do not fit."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from styleid import AnonymizeOptions, Anonymizer, Bundle
from styleid.core.decisions import FaceDecision, PhotoDecisions
from styleid.core.options import PeopleOptions
from styleid.engine.assignment import Assignment
from styleid.engine.decided_settings import adopt_run
from styleid.engine.decisions import DecidedPhoto, Decisions, read_decisions
from styleid.engine.decisions_export import with_seed
from styleid.engine.journal import NAME
from styleid.engine.local import RunOptions, Summary, process_files
from styleid.engine.report import write_report
from styleid.errors import OptionError
from styleid.faces.detect import DetectorOptions
from tests.tiny_bundle import tiny_bundle

SHA = "0" * 64
ONE = [10, 20, 60, 90]


def file_of(tmp_path: Path, record: Any) -> Path:
    path = tmp_path / "decisions.json"
    path.write_text(record if isinstance(record, str) else json.dumps(record))
    return path


def photo(**entry: Any) -> dict[str, Any]:
    return {"format": 1, "photos": {"a.jpg": {"sha256": SHA} | entry}}


# ---------------------------------------------------------------- the file


def test_a_file_is_read_with_people_and_who_decided(tmp_path):
    record = photo(
        faces=[
            {"box": ONE, "person": "p1"},
            {"box": [1.04, 2.06, 3, 4], "do": "replace", "target": 2, "person": "p1", "by": "bea", "score": 0.9},
            {"box": ONE, "do": "keep", "became": "obscured", "reason": "unlike"},
        ],
        add=[{"box": ONE, "do": "blur", "at": "2026-11-30T09:00:00Z"}],
        remove=[ONE, {"box": ONE, "by": "cem"}],
        approved=True,
        by="anna",
        at="2026-11-30",
    )
    record |= {"seed": 7, "settings": {"privacy": "high"}, "people": {"p1": {"do": "blur", "by": "dora"}}}
    record["videos"] = {"clip.mp4": {"sha256": SHA.upper(), "tracks": {"format": 1}}, "b.mp4": {"sha256": SHA}}
    decisions = read_decisions(file_of(tmp_path, record))
    own, day = (10.0, 20.0, 60.0, 90.0), "2026-11-30"
    assert decisions.settings == {"privacy": "high", "seed": 7}
    assert decisions.photos["a.jpg"].decisions.faces == (
        FaceDecision(own, "blur", 0, "p1", "dora", day),
        FaceDecision((1.0, 2.1, 3.0, 4.0), "replace", 2, "p1", "bea", day),
        FaceDecision(own, "keep", 0, "", "anna", day),
        FaceDecision(own, "remove", 0, "", "anna", day),
        FaceDecision(own, "remove", 0, "", "cem", day),
    )
    assert decisions.photos["a.jpg"].decisions.added == (
        FaceDecision(own, "blur", 0, "", "anna", "2026-11-30T09:00:00Z"),
    )
    assert decisions.photos["a.jpg"].approved == {"by": "anna", "at": day}
    assert decisions.videos["clip.mp4"].sha256 == SHA
    assert decisions.videos["clip.mp4"].tracks.value == {"format": 1}
    assert decisions.videos["b.mp4"].tracks is None


@pytest.mark.parametrize(
    ("approved", "expected"),
    [(False, False), (True, True), ({}, True), ({"by": "anna"}, {"by": "anna"}), ({"at": "2026-11-30"}, None)],
)
def test_approval_is_read(tmp_path, approved, expected):
    read = read_decisions(file_of(tmp_path, photo(approved=approved))).photos["a.jpg"].approved
    assert read == ({"at": "2026-11-30"} if expected is None else expected)


FACE = "photos['a.jpg'].faces[0]"


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ("{", "is not valid"),
        ("[" * 100_000, "is not valid"),
        ('{"format": 1, "photos": {"a": {}, "a": {}}}', "'a' occurs twice in one object"),
        ([], "the file must be an object, not []"),
        ({"photos": {}}, "the file lacks 'format'"),
        ({"format": 2, "photos": {}}, "format must be 1, the only format that this version reads, not 2"),
        ({"format": 1, "photos": []}, "photos must be an object"),
        ({"format": 1, "photos": {}, "photo": 1}, "the file has 'photo', which is not known here"),
        ({"format": 1, "photos": {}, "seed": "7"}, "seed must be a whole number"),
        ({"format": 1, "photos": {}, "seed": 7, "settings": {"seed": 8}}, "the same as settings.seed, 8, not 7"),
        ({"format": 1, "photos": {}, "settings": 3}, "settings must be an object"),
        ({"format": 1, "photos": {}, "people": {"p": {}}}, "people['p'] lacks 'do'"),
        ({"format": 1, "photos": {}, "people": {"p": {"do": "remove"}}}, "people['p'].do must be one of replace, keep"),
        ({"format": 1, "photos": {}, "videos": {"v": {}}}, "videos['v'] lacks 'sha256'"),
        ({"format": 1, "photos": {}, "videos": {"v": {"sha256": SHA, "tracks": 1}}}, "tracks must be an object"),
        ({"format": 1, "photos": {"a.jpg": {}}}, "photos['a.jpg'] lacks 'sha256'"),
        (photo(sha256="abc"), "photos['a.jpg'].sha256 must be the SHA-256 of the input file"),
        (photo(sha256=3), "photos['a.jpg'].sha256 must be the SHA-256 of the input file"),
        (photo(face=[]), "photos['a.jpg'] has 'face', which is not known here; it may have sha256, faces"),
        (photo(faces={}), "photos['a.jpg'].faces must be a list"),
        (photo(faces=[1]), f"{FACE} must be an object, not 1"),
        (photo(faces=[{}]), f"{FACE} lacks 'box'"),
        (photo(faces=[{"box": ONE, "do": "hide"}]), f"{FACE}.do must be one of replace, keep, solid, blur, pixelate"),
        (photo(faces=[{"box": ONE, "do": ["keep"]}]), f"{FACE}.do must be one of"),
        (photo(faces=[{"box": ONE, "do": "keep", "target": 1}]), f"{FACE}.target must be left out"),
        (photo(faces=[{"box": ONE, "target": -1}]), f"{FACE}.target must be a whole number from 0"),
        (photo(faces=[{"box": ONE, "target": True}]), f"{FACE}.target must be a whole number from 0"),
        (photo(faces=[{"box": ONE, "person": ""}]), f"{FACE}.person must be a text"),
        (photo(faces=[{"box": ONE, "at": "noon"}]), f"{FACE}.at must be a time such as"),
        (photo(faces=[{"box": ONE[:3]}]), f"{FACE}.box must be a box"),
        (photo(faces=[{"box": [1, 2, "3", 4]}]), f"{FACE}.box must be a box"),
        (photo(faces=[{"box": [1, 2, 1, 4]}]), f"{FACE}.box must be a box"),
        (photo(faces=[{"box": [1, 2, float("inf"), 4]}]), f"{FACE}.box must be a box"),
        (photo(faces=[{"box": [1, 2, float("nan"), 4]}]), f"{FACE}.box must be a box"),
        (photo(add=[{"box": ONE}]), "photos['a.jpg'].add[0] lacks 'do'"),
        (photo(add=[{"box": ONE, "do": "keep"}]), "photos['a.jpg'].add[0].do must be one of solid, blur, pixelate"),
        (photo(remove=[ONE[:2]]), "photos['a.jpg'].remove[0] must be a box"),
        (photo(remove=[{"box": ONE, "do": "keep"}]), "photos['a.jpg'].remove[0] has 'do'"),
        (photo(approved="yes"), "photos['a.jpg'].approved must be an object"),
        (photo(remove=["x" * 200]), "photos['a.jpg'].remove[0] must be an object"),
    ],
)
def test_a_file_that_is_not_understood_is_refused_by_its_field(tmp_path, record, says):
    path = file_of(tmp_path, record)
    with pytest.raises(OptionError) as error:
        read_decisions(path)
    assert str(error.value).startswith(f"decisions: {path}")
    assert says in str(error.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(OptionError, match="cannot be read: No such file"):
        read_decisions(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes(b'{"\xe9": 1}')
    with pytest.raises(OptionError, match="is not JSON in UTF-8"):
        read_decisions(tmp_path / "latin.json")


# ------------------------------------------------------------ the settings


DEFAULTS = AnonymizeOptions(), RunOptions(Path("out")), PeopleOptions()


def decisions_with(**settings: Any) -> Decisions:
    return Decisions("d.json", settings)


@pytest.mark.parametrize(
    ("settings", "typed", "expected"),
    [
        ({}, (), {}),
        ({"seed": 7, "privacy": "high", "tries": 2, "strength": 1}, (), {"seed": 7, "privacy": "high", "tries": 2}),
        ({"privacy": 0.01, "seed": None}, ("tries",), {"privacy": 0.01}),
        ({"privacy": "standard"}, ("privacy",), {}),
        ({"detector": {"threshold": 0.5}}, (), {"detector": DetectorOptions(0.5)}),
        ({"bundle": "aam128", "unknown": 3}, (), {}),
    ],
)
def test_settings_are_taken_over_where_nothing_else_was_typed(settings, typed, expected):
    how, _, _ = adopt_run(decisions_with(**settings), *DEFAULTS, typed)
    assert how == AnonymizeOptions(**expected)


def test_settings_of_runs_marks_and_people_are_taken_over():
    decisions = decisions_with(metadata="safe", mark="none", targets="k=3")
    _, run, people = adopt_run(decisions, *DEFAULTS, ())
    assert (run.metadata, run.marking.mark, people.targets) == ("safe", "none", "k=3")


@pytest.mark.parametrize(
    ("settings", "typed", "says"),
    [
        ({"privacy": "high"}, ("privacy",), 'settings.privacy is "high", but `privacy` is standard'),
        ({"seed": 7}, ("seed",), "settings.seed is 7, but `seed` is None"),
        ({"detector": {"min_face_px": 20}}, ("min_face_px",), "settings.detector.min_face_px is 20, but `min_face_px`"),
        ({"targets": "k=3"}, ("targets",), 'settings.targets is "k=3", but `targets` is fresh'),
        ({"seed": "7"}, (), 'settings.seed cannot be "7"'),
        ({"tries": True}, (), "settings.tries cannot be true"),
        ({"metadata": "all"}, (), 'settings.metadata cannot be "all"'),
        ({"tries": 0}, (), "tries: must be at least 1, not 0."),
        ({"detector": 3}, (), "settings.detector must be an object"),
    ],
)
def test_settings_that_contradict_are_refused(settings, typed, says):
    with pytest.raises(OptionError) as error:
        adopt_run(decisions_with(**settings), *DEFAULTS, typed)
    assert says in str(error.value)


def test_a_seed_is_drawn_where_there_is_none():
    assert with_seed(AnonymizeOptions(seed=0)).seed == 0
    drawn = {with_seed(AnonymizeOptions()).seed for _ in range(4)}
    assert None not in drawn
    assert len(drawn) == 4


# ----------------------------------------------------------------- the run


@pytest.fixture(scope="module")
def photos(tmp_path_factory, astronaut) -> Path:
    """Photos of one, two and no face, in three formats."""
    folder = tmp_path_factory.mktemp("decided")
    (folder / "street").mkdir()
    head = Image.fromarray(astronaut[:256, 96:352]).resize((160, 160), Image.Resampling.LANCZOS)
    pair = Image.fromarray(np.concatenate([np.asarray(head), np.asarray(head)[:, ::-1]], 1))
    pair.save(folder / "pair.png")
    head.save(folder / "street/one.jpg")
    pair.resize((400, 200), Image.Resampling.LANCZOS).save(folder / "street/more.webp", lossless=True)
    Image.new("RGB", (90, 90), (90, 120, 60)).save(folder / "empty.png")
    return folder


@pytest.fixture(scope="module")
def make(tmp_path_factory) -> Callable[..., Anonymizer]:
    def of(generator: str = "none", **options: Any) -> Anonymizer:
        options = {"seed": 3} | options
        if generator == "none":
            return Anonymizer(None, AnonymizeOptions(method="none", **options))
        return Anonymizer(Bundle(tiny_bundle(tmp_path_factory, generator)), AnonymizeOptions(**options))

    return of


@pytest.fixture
def run(photos, tmp_path) -> Callable[..., Summary]:
    def of(
        by: Anonymizer,
        out: str = "out",
        *,
        record: Any = None,
        export: Path | None = None,
        of: Path = photos,
        **how: Any,
    ) -> Summary:
        decisions = None if record is None else read_decisions(file_of(tmp_path, record))
        return process_files((of,), by, RunOptions(tmp_path / out, **how), decisions=decisions, export=export)

    return of


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    read = [json.loads(line) for line in (folder / NAME).read_text().splitlines()]
    return {line["input"]: line for line in read}


def exported(run: Callable[..., Summary], by: Anonymizer, tmp_path: Path) -> dict[str, Any]:
    run(by, "first", export=tmp_path / "exported.json")
    return json.loads((tmp_path / "exported.json").read_text())


GENERATORS = ("other", "noise", "none")
"""New faces, none that passes the gate, and no bundle."""


@pytest.mark.parametrize("generator", GENERATORS)
def test_an_exported_file_makes_the_same_bytes_again(make, run, photos, tmp_path, generator):
    by = make(generator)
    record = exported(run, by, tmp_path)
    assert record["seed"] == 3
    assert set(record["photos"]) == set(contents(photos))
    for name, entry in record["photos"].items():
        assert entry["sha256"] == hashlib.sha256((photos / name).read_bytes()).hexdigest()
        assert all(face["do"] == "replace" and face["score"] > 0.3 for face in entry["faces"])
    assert [len(record["photos"][name]["faces"]) for name in ("pair.png", "empty.png")] == [2, 0]
    became = {face["became"] for entry in record["photos"].values() for face in entry["faces"]}
    assert became == {"anonymised" if generator == "other" else "obscured"}
    again = run(by, "second", record=record, export=tmp_path / "again.json")
    assert contents(tmp_path / "second") == contents(tmp_path / "first")
    assert again.faces == {min(became): 5}
    assert json.loads((tmp_path / "again.json").read_text()) == record


@pytest.mark.parametrize("generator", ["other", "none"])
def test_what_was_decided_can_be_exported_and_made_again(make, run, tmp_path, generator):
    by = make(generator)
    record = exported(run, by, tmp_path)
    pair, more = record["photos"]["pair.png"], record["photos"]["street/more.webp"]
    pair["faces"][0] |= {"do": "keep", "by": "anna", "at": "2026-11-30T10:00:00"}
    pair["faces"][1] |= {"do": "pixelate", "person": "p1"}
    more["remove"] = [more["faces"].pop(0)["box"]]
    more["add"] = [{"box": [3.2, 150, 44.7, 196], "do": "blur"}]
    more["approved"] = {"by": "bea"}
    run(by, "second", record=record, export=tmp_path / "edited.json")
    edited = json.loads((tmp_path / "edited.json").read_text())
    assert edited["photos"]["street/more.webp"]["add"] == more["add"]
    assert edited["photos"]["pair.png"]["faces"][0]["became"] == "kept"
    run(by, "third", record=edited)
    assert contents(tmp_path / "third") == contents(tmp_path / "second")
    told = lines(tmp_path / "third")
    assert told["pair.png"]["faces"][0]["decision"] == {"do": "keep", "by": "anna", "at": "2026-11-30T10:00:00"}
    assert told["pair.png"]["faces"][1]["decision"] == {"do": "pixelate", "person": "p1"}
    assert [face["action"] for face in told["street/more.webp"]["faces"]].count("dismissed") == 1
    assert told["street/more.webp"]["approved"] == {"by": "bea"}
    assert "approved" not in told["pair.png"]


def test_people_are_treated_alike_over_all_photos(make, run, tmp_path):
    by = make()
    record = exported(run, by, tmp_path)
    for name in ("pair.png", "street/one.jpg"):
        face = record["photos"][name]["faces"][0]
        del face["do"]
        face["person"] = "p1"
    record["people"] = {"p1": {"do": "keep"}}
    assert run(by, record=record).faces == {"kept": 2, "obscured": 3}


def test_another_face_is_another_and_repeatable(make, run, tmp_path, bundle):
    """With the built-in bundle, whose faces differ from target to target."""
    by = Anonymizer(bundle, AnonymizeOptions(seed=3))
    record = exported(run, by, tmp_path)
    outputs = {}
    for target in (0, 1, 2):
        record["photos"]["street/one.jpg"]["faces"][0]["target"] = target
        for turn in "ab":
            run(by, f"{target}{turn}", record=record)
            outputs[target, turn] = contents(tmp_path / f"{target}{turn}")
        assert outputs[target, "a"] == outputs[target, "b"]
    first = contents(tmp_path / "first")
    assert outputs[0, "a"] == first
    assert len({outputs[target, "a"]["street/one.jpg"] for target in (0, 1, 2)}) == 3
    assert outputs[1, "a"]["pair.png"] == first["pair.png"]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda entry: entry.update(sha256=SHA), "it is not the file that the decisions were made about"),
        (lambda entry: entry["faces"][0].update(box=[0, 0, 9, 9]), "matches no face"),
        (lambda entry: entry["faces"].append(entry["faces"][0]), "none without another decision has"),
        (lambda entry: entry.update(remove=[[0, 0, 9, 9]]), "matches no face"),
        (lambda entry: entry.update(add=[{"box": [900, 0, 950, 50], "do": "blur"}]), "covers less than a pixel"),
    ],
)
def test_a_photo_that_decisions_do_not_fit_is_withheld_and_named(make, run, photos, tmp_path, edit, says):
    by = make()
    record = exported(run, by, tmp_path)
    edit(record["photos"]["pair.png"])
    summary = run(by, record=record)
    assert summary.exit_status == 3
    assert [name for name, _ in summary.failures] == ["pair.png"]
    assert says in summary.failures[0][1]
    assert set(contents(tmp_path / "out")) == set(contents(photos)) - {"pair.png"}
    assert says in lines(tmp_path / "out")["pair.png"]["error"]


def test_decisions_about_photos_that_are_not_there_are_refused(make, run, tmp_path):
    record = photo(faces=[])
    with pytest.raises(OptionError, match=r"^decisions: 'a.jpg' is not an input of this run"):
        run(make(), record=record)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"seed": 4}, "settings.seed is 4, and this run has 3"), ({"bundle": "aam128"}, "and this run has nothing")],
)
def test_decisions_made_with_other_settings_are_refused(make, run, tmp_path, settings, says):
    with pytest.raises(OptionError, match=says):
        run(make(), record={"format": 1, "settings": settings, "photos": {}})
    assert not (tmp_path / "out").exists()


def test_only_photos_with_other_decisions_are_done_again(make, run, tmp_path):
    by = make()
    record = exported(run, by, tmp_path)
    run(by, record=record)
    summary = run(by, record=record, resume=True)
    assert (summary.resumed, summary.written) == (4, 4)
    record["photos"]["pair.png"]["faces"][0]["do"] = "keep"
    summary = run(by, record=record, resume=True, export=tmp_path / "edited.json")
    assert summary.resumed == 0  # the journal does not say yet what the inputs were
    record["photos"]["street/one.jpg"]["approved"] = True
    summary = run(by, record=record, resume=True, export=tmp_path / "edited.json")
    assert (summary.resumed, summary.written, summary.faces["kept"]) == (4, 4, 1)
    assert lines(tmp_path / "out")["street/one.jpg"]["approved"] is True
    assert json.loads((tmp_path / "edited.json").read_text())["photos"]["street/one.jpg"]["approved"] is True
    record["photos"]["street/one.jpg"]["approved"] = False
    assert run(by, record=record, resume=True).resumed == 4
    assert "approved" not in lines(tmp_path / "out")["street/one.jpg"]
    summary = run(by, resume=True)
    assert summary.resumed == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "first")


def test_what_was_not_written_is_not_exported(make, run, photos, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(photos, folder)
    (folder / "broken.png").write_bytes(b"no picture")
    run(make(), export=tmp_path / "exported.json", of=folder)
    record = json.loads((tmp_path / "exported.json").read_text())
    assert set(record["photos"]) == set(contents(photos))


def test_workers_do_what_was_decided(make, run, tmp_path):
    by = make()
    record = exported(run, by, tmp_path)
    record["photos"]["pair.png"]["faces"][0]["do"] = "keep"
    assert run(by, "one", record=record).faces == {"kept": 1, "obscured": 4}
    run(by, "two", record=record, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_report_tells_what_was_decided(make, run, tmp_path):
    by = make()
    record = exported(run, by, tmp_path)
    record["photos"]["pair.png"]["faces"][0] |= {"do": "keep", "by": "<anna>", "at": "2026-11-30"}
    record["photos"]["pair.png"]["approved"] = {"by": "bea"}
    record["photos"]["street/one.jpg"]["add"] = [{"box": [1, 2, 30, 40], "do": "blur"}]
    summary = run(by, record=record)
    page = Path(write_report(tmp_path / "out", summary)).read_text()
    for text in ("Decided by a person", "by &lt;anna&gt;, at 2026-11-30; kept", "approved, by bea",
                 "blur (an added box) at 1, 2, 30, 40; obscured"):  # fmt: skip
        assert text in page


def test_an_added_box_in_the_first_frame_of_an_animation_is_hidden_in_every_frame(make, run, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    pictures = [Image.fromarray(np.random.default_rng(n).integers(0, 255, (60, 90, 3), np.uint8)) for n in range(3)]
    pictures[0].save(folder / "a.webp", save_all=True, append_images=pictures[1:], duration=100, lossless=True)
    by = make()
    run(by, "first", export=tmp_path / "exported.json", of=folder)
    record = json.loads((tmp_path / "exported.json").read_text())
    last = {"box": [60, 190, 80, 230], "do": "solid"}
    record["photos"]["a.webp"]["add"] = [{"box": [10, 10, 40, 50.1], "do": "solid", "by": "anna"}, last]
    run(by, "second", record=record, export=tmp_path / "edited.json", of=folder)
    told = lines(tmp_path / "second")["a.webp"]
    step = told["frames"]["step"]
    tops = [face["box"][1] for face in told["faces"] if face["box"][0] == 10]
    assert sorted(tops) == [10, 10 + step, 10 + 2 * step]
    assert len(told["faces"]) == 4
    before, after = (frames_of(place / "a.webp") for place in (folder, tmp_path / "second"))
    assert [bool((one != two)[20:40, 20:30].any()) for one, two in zip(before, after, strict=True)] == [True] * 3
    run(by, "third", record=json.loads((tmp_path / "edited.json").read_text()), of=folder)
    assert contents(tmp_path / "third") == contents(tmp_path / "second")


def frames_of(path: Path) -> list[np.ndarray]:
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


@pytest.mark.parametrize("targets", ["k=2", "consistent"])
def test_another_face_cannot_be_asked_for_where_people_share_theirs(targets):
    face = FaceDecision((0, 0, 9, 9), target=1)
    decisions = Decisions("d.json", photos={"a.jpg": DecidedPhoto(SHA, PhotoDecisions((face,)))})
    decisions.require_fresh_targets("fresh")
    with pytest.raises(OptionError, match=rf"photos\['a.jpg'\] asks for another new face .* `targets={targets}`"):
        decisions.require_fresh_targets(targets)


def test_who_is_kept_by_decision_is_in_no_group(make, photos, tmp_path, bundle):
    """Of three people two are kept: one alone makes no group of two, and the run says so."""
    options = AnonymizeOptions(seed=3)
    by = Anonymizer(bundle, options)
    export = tmp_path / "exported.json"
    process_files((photos,), by, RunOptions(tmp_path / "first"), export=export)
    record = json.loads(export.read_text())
    record["settings"]["targets"] = "k=2"
    for name in ("pair.png", "street/more.webp"):
        for face in record["photos"][name]["faces"]:
            face["do"] = "keep"
    decisions = read_decisions(file_of(tmp_path, record))
    assignment = Assignment(by, PeopleOptions("k=2"), "aam128")
    with pytest.raises(OptionError, match="this run shows only 1"):
        process_files((photos,), by, RunOptions(tmp_path / "out"), assignment=assignment, decisions=decisions)
