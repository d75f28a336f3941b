"""Certificates report the flaws of rigged runs, and nothing for runs without flaws."""

import json
import re
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleid.cli import main
from styleid.errors import OptionError
from styleid.evaluate.certificate.certify import CertifyOptions, certify
from styleid.evaluate.certificate.examine import RegionKind
from styleid.evaluate.certificate.sample import CLEAN
from tests.evaluate.certificate import rigged
from tests.evaluate.rig import draw_people, with_thumbnail

PEOPLE = 20
PHOTOS = 2 * PEOPLE
FEW = {"recognisers": "gate", "workers": 1, "photos": 20, "regions": 10, "identities": "folders"}


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    return draw_people(tmp_path_factory.mktemp("certify") / "originals", PEOPLE)


@pytest.fixture(scope="module")
def honest(originals, tmp_path_factory) -> Path:
    return rigged.finished(originals, tmp_path_factory.mktemp("certify") / "outputs")


@pytest.fixture
def outputs(honest, tmp_path) -> Path:
    return rigged.copy_of(honest, tmp_path / "outputs")


@pytest.fixture(scope="module")
def certified(originals, honest, tmp_path_factory):
    out = tmp_path_factory.mktemp("certify") / "certificate"
    return certify(originals, honest, CertifyOptions(out, **FEW)), out


def found(record: dict) -> str:
    return "; ".join(f"{one['what']}: {one['count']}" for one in record["findings"])


def test_an_honest_run_has_no_finding(certified):
    record = certified[0].record
    assert record["findings"] == []
    assert record["photos"]["published"] == record["photos"]["compared"] == PHOTOS
    assert record["faces"]["found_or_listed"] == record["faces"]["obscured"] == PHOTOS
    assert record["faces"]["left_as_they_were"] == 0
    worst = {(one["attack"], one["name"]): one for one in record["attacks"]["worst"]}
    assert worst["A0", "rank-1"]["value"] <= 0.2
    assert all(one["floor"] is not None and one["chance"] is not None for one in worst.values())
    assert record["attacks"]["recognisers"]["gate"]["thresholds_from"] == "the bundle"
    assert certified[0].exit_status == 3  # nobody has looked yet


def test_the_page_lists_the_fields(certified):
    page = (Path(__file__).resolve().parents[3] / "docs/certificate.md").read_text(encoding="utf-8")
    section = page.partition("### The fields of `certificate.json`\n")[2].partition("\n### ")[0]
    names = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ") and "`" in line.split("|")[1]]
    listed = {name for cell in names for name in re.findall(r"`(\w+)`", cell)}
    assert listed == set(certified[0].record) | {"signature"}


def test_without_the_other_recognisers_it_is_partial(certified):
    assert [line.split()[2] for line in certified[0].record["partial"]] == ["dlib", "sface"]


def test_an_attacker_who_learns_is_asked_for(certified, originals, honest, tmp_path):
    assert any("give `trained`" in line for line in certified[0].record["not_tested"])
    record = certify(originals, honest, CertifyOptions(tmp_path / "certificate", **FEW, trained=True)).record
    assert any(line.startswith(f"A2: {PEOPLE} people are too few") for line in record["not_tested"])
    assert not any("give `trained`" in line for line in record["not_tested"])


def test_the_audit_page_is_private_and_sends_nothing(certified):
    folder = certified[1] / "audit"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    page = (folder / "index.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|localStorage", page)
    sample = rigged.sample_of(certified[1])
    assert {path.name for path in folder.glob("*.jpg")} == {
        f"{q.number}-{side}.jpg" for q in sample.questions for side in ("before", "after")
    }
    assert sum(q.region is None for q in sample.questions) == 20


def test_the_certificate_holds_no_picture_and_no_embedding(certified):
    for path in certified[0].pages:
        text = path.read_text()
        assert "<img" not in text
        assert "data:" not in text
        assert "embedding" not in text
        assert "http:" not in text
        assert "https:" not in text
    assert [path.name for path in certified[0].pages] == ["certificate.json", "certificate.html", "board.html"]
    page = certified[0].pages[1].read_text()
    for clause in ("7.3", "8.2.2", "8.2.3", "8.3.4", "Article 35"):
        assert clause in page


RESTORED = ("exactly", "encoded again", "shifted", "left out of the journal")


@pytest.mark.parametrize("how", RESTORED)
def test_restored_faces_are_in_the_sample_and_under_the_bound(how, originals, outputs, tmp_path):
    names = [line["input"] for line in rigged.lines_of(outputs)][3:5]
    change = {"encoded again": rigged.encoded_again, "shifted": rigged.shifted}.get(how, np.copy)
    rigged.restore(originals, outputs, names, change)
    if how == "left out of the journal":
        lines = rigged.lines_of(outputs)
        rigged.write_lines(outputs, [line | {"faces": []} if line["input"] in names else line for line in lines])
    out = tmp_path / "certificate"
    record = certify(originals, outputs, CertifyOptions(out, **FEW)).record
    assert "faces that were left unchanged, but not on purpose: 2" in found(record)
    sample = rigged.sample_of(out)
    unchanged = {q.photo for q in sample.questions if q.region and q.region.kind == RegionKind.UNCHANGED}
    assert unchanged == set(names)
    file = rigged.answers_file(tmp_path / "answers.json", sample, rigged.truthful(sample, names))
    audit = certify(originals, outputs, CertifyOptions(out, **FEW, answers=file)).record["audit"]
    assert audit["at_most_share"] >= len(names) / PHOTOS
    assert audit["known_missed"] == 2


def test_a_copier_is_called_one(originals, outputs, tmp_path):
    for line in rigged.lines_of(outputs):
        rigged.put(outputs, line["input"], (originals / line["input"]).read_bytes())
    record = certify(originals, outputs, CertifyOptions(tmp_path / "certificate", **FEW)).record
    assert f"equal to their originals and show faces: {PHOTOS}" in found(record)
    assert f"but not on purpose: {PHOTOS}" in found(record)
    assert "attack A0s, rank-1, by gate: 1.000" in found(record)


def test_files_that_were_altered_or_added_or_left_out_are_named(originals, outputs, tmp_path):
    one, two, three, four = [line["input"] for line in rigged.lines_of(outputs)][:4]
    (outputs / one).write_bytes((outputs / two).read_bytes())
    rigged.write_lines(outputs, [line for line in rigged.lines_of(outputs) if line["input"] != two])
    (outputs / three).unlink()
    (outputs / four).write_bytes(b"no picture")
    (outputs / "notes.txt").write_text("a plain note")
    (outputs / "hidden.bin").write_bytes(bytes(range(256)) + (originals / one).read_bytes())
    record = certify(originals, outputs, CertifyOptions(tmp_path / "certificate", **FEW)).record
    texts = {what: (count, names) for what, count, names in (one.values() for one in record["findings"])}
    assert texts["outputs that differ from the files that the run wrote"] == (2, sorted([one, four]))
    assert texts["outputs that the journal does not list, or lists as withheld"] == (1, [two])
    assert texts["originals without an output and without a reason in the journal"] == (1, [three])
    assert texts["outputs that cannot be compared with an original"][0] == 1
    assert texts["other files that contain a picture, or cannot be searched for one"] == (1, ["hidden.bin"])
    assert record["side_channels"]["other_files"] == 3


def test_one_thumbnail_is_found(originals, tmp_path):
    jpegs = tmp_path / "originals"
    for path in sorted(originals.rglob("*.png"))[:4]:
        target = jpegs / path.parent.name / "0.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(target, quality=92)
    outputs = rigged.finished(jpegs, tmp_path / "outputs")
    name = rigged.lines_of(outputs)[0]["input"]
    hidden, shown = (np.asarray(Image.open(folder / name)) for folder in (outputs, jpegs))
    rigged.put(outputs, name, with_thumbnail(hidden, shown))
    record = certify(jpegs, outputs, CertifyOptions(tmp_path / "certificate", **FEW)).record
    assert "contain another picture of the original: 1" in found(record)
    assert record["side_channels"]["with_a_picture_of_the_original"] == 1


def test_kept_people_are_counted_apart(originals, outputs, tmp_path):
    names = [line["input"] for line in rigged.lines_of(outputs)][:2]
    for name in names:
        rigged.put(outputs, name, (originals / name).read_bytes())
    lines = [
        line | {"faces": [face | {"action": "kept"} for face in line["faces"]]} if line["input"] in names else line
        for line in rigged.lines_of(outputs)
    ]
    rigged.write_lines(outputs, lines)
    out = tmp_path / "certificate"
    record = certify(originals, outputs, CertifyOptions(out, **FEW)).record
    assert record["faces"]["kept_on_purpose"] == record["faces"]["photos_with_kept_faces"] == 2
    assert record["faces"]["left_as_they_were"] == 0
    assert record["findings"] == []
    assert record["attacks"]["of"] == PHOTOS - 2
    assert RegionKind.KEPT in {q.region.kind for q in rigged.sample_of(out).questions if q.region}


def test_what_a_person_dismissed_is_no_finding_but_is_shown(originals, outputs, tmp_path):
    name = rigged.lines_of(outputs)[0]["input"]
    rigged.put(outputs, name, (originals / name).read_bytes())
    lines = rigged.lines_of(outputs)
    dismissed = [face | {"action": "dismissed"} for face in lines[0]["faces"]]
    rigged.write_lines(outputs, [lines[0] | {"faces": dismissed}, *lines[1:]])
    out = tmp_path / "certificate"
    record = certify(originals, outputs, CertifyOptions(out, **FEW)).record
    assert record["findings"] == []
    assert (record["faces"]["dismissed"], record["faces"]["kept_on_purpose"]) == (1, 0)
    assert RegionKind.DISMISSED in {q.region.kind for q in rigged.sample_of(out).questions if q.region}


def test_answers_end_the_certificate_and_it_verifies(originals, honest, tmp_path, capsys):
    key = tmp_path / "key"
    assert main(["key", "new", "--signing", str(key)]) == 0
    out = tmp_path / "certificate"
    given = [str(originals), str(honest), "--out", str(out), "--recognisers", "gate", "--photos", str(PHOTOS)]
    given += ["--workers", "1", "--key", str(key)]
    assert main(["certify", *given]) == 3
    said = capsys.readouterr().out
    assert "to be answered by a person" in said
    sample = rigged.sample_of(out)
    answers = rigged.truthful(sample, [])
    half = {number: answer for number, answer in answers.items() if number % 2}
    assert main(["certify", *given, "--answers", str(rigged.answers_file(tmp_path / "half", sample, half))]) == 3
    assert "without an answer, counted as missed faces" in capsys.readouterr().out
    assert (out / "audit").is_dir()  # so that somebody can go on
    assert main(["certify", *given, "--answers", str(rigged.answers_file(tmp_path / "all", sample, answers))]) == 3
    assert "At most 0 % of the photos hold an untouched face" in capsys.readouterr().out  # each was looked at
    assert not (out / "audit").exists()
    verify = ["verify", str(out / "certificate.json"), str(honest), "--public-key", f"{key}.pub"]
    assert main(verify) == 0
    board = out / "board.html"
    assert "the editor looked at 40 whole pictures" in board.read_text()
    board.write_text("better")
    assert main(verify) == 1


def test_answers_that_do_not_belong_are_refused(originals, honest, certified, tmp_path):
    out = certified[1]
    sample = rigged.sample_of(out)
    good = json.loads(rigged.answers_file(tmp_path / "good", sample, rigged.truthful(sample, [])).read_text())
    wrong = ({"sample": "another"}, {"kind": "another"}, {"answers": {"0": "perhaps"}}, {"answers": {"9999": CLEAN}},
             {"answers": []})  # fmt: skip
    for change in wrong:
        (tmp_path / "wrong").write_text(json.dumps(good | change))
        with pytest.raises(OptionError, match=r"^answers: "):
            certify(originals, honest, CertifyOptions(out, **FEW, answers=tmp_path / "wrong"))
    for path in (tmp_path / "nowhere", originals):
        with pytest.raises(OptionError, match="cannot be read"):
            certify(originals, honest, CertifyOptions(out, **FEW, answers=path))
    with pytest.raises(OptionError, match="draw the sample first"):
        certify(originals, honest, CertifyOptions(tmp_path / "new", **FEW, answers=tmp_path / "good"))


def test_answers_to_outputs_that_have_changed_since_are_refused(originals, outputs, tmp_path):
    out = tmp_path / "certificate"
    certify(originals, outputs, CertifyOptions(out, **FEW))
    sample = rigged.sample_of(out)
    file = rigged.answers_file(tmp_path / "answers", sample, rigged.truthful(sample, []))
    (outputs / "more.txt").write_text("x")
    with pytest.raises(OptionError, match="have changed since the sample was drawn"):
        certify(originals, outputs, CertifyOptions(out, **FEW, answers=file))


def test_places_and_options_that_cannot_work_are_refused(originals, honest, tmp_path):
    for place, text in ((honest / "certificate", "must not contain"), (originals, "must not contain")):
        with pytest.raises(OptionError, match=text):
            certify(originals, honest, CertifyOptions(place, **FEW))
    with pytest.raises(OptionError, match="does not exist"):
        certify(originals, tmp_path / "nowhere", CertifyOptions(tmp_path / "c", **FEW))
    with pytest.raises(OptionError, match="has no journal"):
        certify(honest, originals, CertifyOptions(tmp_path / "c", **FEW))
    with pytest.raises(OptionError, match=r"^photos: must be 1 or more, not 0"):
        CertifyOptions(tmp_path, photos=0)
