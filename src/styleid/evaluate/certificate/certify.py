"""Certify a finished run: examine it, attack it, draw the audit sample or use its answers, write and sign."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from styleid.bundles.registry import DEFAULT
from styleid.errors import OptionError, require_paths
from styleid.evaluate.battery import Battery
from styleid.evaluate.certificate.attacks import Attacked, attack, choose_targets, embed_faces, embed_tasks
from styleid.evaluate.certificate.audit_page import read_answers, write_audit_page
from styleid.evaluate.certificate.examine import ExaminedPhoto, ExamineTask, examine_photo, threshold_of
from styleid.evaluate.certificate.findings import Measured
from styleid.evaluate.certificate.hashes import hash_outputs
from styleid.evaluate.certificate.other_files import OtherFiles, examine_others
from styleid.evaluate.certificate.pages import write_pages
from styleid.evaluate.certificate.record import audit_record, body_of
from styleid.evaluate.certificate.runs import FinishedRun, open_run
from styleid.evaluate.certificate.sample import Sample, draw_sample, judge
from styleid.evaluate.certificate.signature import canonical, read_private_key, seal, sign
from styleid.evaluate.certificate.workspace import private_folder, remove
from styleid.evaluate.instruments import Setup
from styleid.evaluate.protocol import Named, read_identities
from styleid.evaluate.survey import Surveyor, Watch
from styleid.media.storage.files import write_atomic
from styleid.runtime import cpu_threads

CERTIFICATE, AUDIT, STATE = "certificate.json", "audit", "audit-sample.json"
TRIED = ("A0", "A0s", "A1", "A4", "A5")
TRAINED = "A2"


@dataclass(frozen=True)
class CertifyOptions:
    """Choose how a run is certified.

    out: folder for the certificate, its pages and the audit sample. It must lie outside originals and outputs.
    identities: who is shown: none, folders (each folder of photos is one person), or a CSV file with the columns file
        and person, and x0, y0, x1, y1 if a photo shows several people. Attacks that need several photos of a person
        need it.
    recognisers: recognisers that attack, separated by commas: gate (the identity network of the bundle), dlib, sface,
        insightface, uniface, or .onnx files with a card beside them. auto takes all that are installed.
    trained: also run the attacker who learns from pairs of originals and outputs (A2); it takes longer.
    faces: maximum number of faces that are attacked. If there are more, whole people are drawn by the seed.
    photos: number of whole photos in the audit sample. If 200 are clean, at most 1.5 % of all photos have an untouched
        face.
    regions: number of suspicious parts of photos in the audit sample.
    answers: file that the audit page saved. With it, the certificate has what people saw.
    key: private key to sign with, made by `styleid key new --signing`.
    seed: seed of everything that is drawn at random.
    bundle: bundle whose recogniser and parser are used.
    workers: number of processes; 0 means one for each core.
    """

    out: Path
    identities: str = "none"
    recognisers: str = "auto"
    trained: bool = False
    faces: int = 1000
    photos: int = 200
    regions: int = 100
    answers: Path | None = None
    key: Path | None = None
    seed: int = 0
    bundle: str = DEFAULT
    workers: int = 0

    def __post_init__(self) -> None:
        require_paths(out=self.out, answers=self.answers, key=self.key)
        for name, least in (("faces", 1), ("photos", 1), ("regions", 0), ("workers", 0)):
            if getattr(self, name) < least:
                raise OptionError(name, f"must be {least} or more, not {getattr(self, name)}.")


@dataclass
class Certified:
    """What was written. record: the certificate. pages: its files. audit_page: the page to answer, or None."""

    record: dict[str, Any]
    pages: list[Path]
    audit_page: Path | None

    @property
    def exit_status(self) -> int:
        """0 if there is no finding, people answered the whole sample, and the certificate is not partial; else 3."""
        audit = self.record["audit"]
        seen = bool(audit) and not audit["unanswered"] and not audit["known_missed"]
        return 0 if seen and not self.record["findings"] and not self.record["partial"] else 3


def certify(originals: Path, outputs: Path, options: CertifyOptions, watch: Watch | None = None) -> Certified:
    """Certify a finished run, or complete a certificate with the answers that people gave, as `styleid certify` does.

    Args:
        originals: The run's input: a folder of photos or shards, or a video.
        outputs: The run's output, with its journal.
        options: Where the certificate is written, which attacks are made, and how many photos people look at.
        watch: Called after each photo with the number of photos done, the number of all, and a line about the last.

    Returns:
        The certificate and the files that were written. `exit_status` is that of the command.

    Raises:
        OptionError: The two places hold no run, or the answers belong to another sample.
        KeyFileError: The key to sign with cannot be used.
        BundleError: The bundle cannot be used.
        OutputError: A file cannot be written.

    Examples:
        >>> from pathlib import Path
        >>> from styleid import CertifyOptions, certify
        >>> options = CertifyOptions(Path("certificate"), recognisers="gate", photos=1, regions=0)
        >>> certified = certify(Path("photos"), Path("anonymised"), options)
        >>> certified.record["photos"]["published"], certified.exit_status
        (1, 3)
    """
    require_paths(originals=originals, outputs=outputs)
    _check_places(originals, outputs, options.out)
    key = None if options.key is None else read_private_key(options.key)
    hashes = hash_outputs(outputs)
    if options.answers is not None:
        record, sample = _read_state(options.out, hashes)
        answers, who = read_answers(options.answers, sample)
        record["audit"] = audit_record(sample, judge(sample, answers), who)
    else:
        record, sample = _measure(originals, outputs, hashes, options, watch)
    complete = options.answers is not None and not record["audit"]["unanswered"]
    record["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    pages = write_pages(record, options.out)
    record["pages"] = {page.name: digest for page, digest in pages.items()}
    signed = seal(record) if key is None else sign(record, key)
    path = options.out / CERTIFICATE
    write_atomic(path, (json.dumps(signed, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode())
    if complete:
        remove(options.out / AUDIT)
    page = options.out / AUDIT / "index.html"
    return Certified(signed, [path, *pages], page if page.is_file() else None)


def _check_places(originals: Path, outputs: Path, out: Path) -> None:
    for option, place in (("originals", originals), ("outputs", outputs)):
        if not place.exists():
            raise OptionError(option, f"{place} does not exist.")
        real, inside = place.resolve(), out.resolve()
        if real == inside or real in inside.parents or inside in real.parents:
            raise OptionError("out", f"{out} must not contain {place} or lie in it. Name another folder.")


def _measure(
    originals: Path, outputs: Path, hashes: Mapping[str, str], options: CertifyOptions, watch: Watch | None
) -> tuple[dict[str, Any], Sample]:
    """Examine and attack the run, draw the sample, and store what is needed to continue with the answers."""
    seconds = _Seconds()
    with open_run(originals, outputs, options.seed) as run, private_folder() as space:
        seconds("reading the run")
        setup = Setup(space / "cache.sqlite", options.bundle, options.recognisers)
        with Surveyor(setup, options.workers or cpu_threads(), watch) as surveyor:
            examined = _examine(run, surveyor)
            others = (
                examine_others(outputs, {item.name for item in run.items}) if run.kind == "photos" else OtherFiles()
            )
            seconds("examining photos")
            attacked = _attack(run, examined, options, surveyor)
            seconds("attacks")
        sample = draw_sample(examined, options.photos, options.regions, options.seed, _digest(hashes), run.total)
        items, by_name = {item.name: item for item in run.items}, {look.name: look for look in examined}
        write_audit_page(options.out / AUDIT, sample, items, by_name, watch)
        seconds("drawing the sample")
        settings = _settings(options)
        record = body_of(
            Measured(run, examined, others, attacked, dict(hashes), options.bundle, settings, seconds.spent)
        )
    _write_state(options.out, record, sample)
    return record, sample


def _examine(run: FinishedRun, surveyor: Surveyor) -> list[ExaminedPhoto]:
    threshold = threshold_of(run.settings)
    tasks = [ExamineTask(item, threshold, run.lists_faces) for item in run.items]
    return surveyor.each(examine_photo, tasks, "photos", lambda task: task.item.name)


def _attack(
    run: FinishedRun, examined: Sequence[ExaminedPhoto], options: CertifyOptions, surveyor: Surveyor
) -> Attacked:
    people = _people(options.identities, [look.name for look in examined])
    targets, every = choose_targets(examined, people, options.faces, options.seed)
    tasks = embed_tasks(examined, {item.name: item for item in run.items}, targets)
    found = surveyor.each(embed_faces, tasks, "faces", lambda task: task.item.name)
    embeddings = [one for photo in found for one in photo]
    tried = (*TRIED, TRAINED) if options.trained else TRIED
    attacked = attack(targets, embeddings, surveyor.tools.recognisers, surveyor.tools.bundle.spec, Battery(tried))
    attacked.of = every
    return attacked


def _people(identities: str, names: Sequence[str]) -> dict[str, tuple[Named, ...]]:
    if identities == "none":
        return {}
    if identities == "folders":
        return {name: (Named(parent),) for name in names if (parent := name.rpartition("/")[0])}
    return read_identities(Path(identities), names)


def _settings(options: CertifyOptions) -> dict[str, Any]:
    chosen = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
    return {name: value for name, value in chosen.items() if name not in ("out", "key", "answers", "workers")}


def _digest(hashes: Mapping[str, str]) -> str:
    return hashlib.sha256(canonical(hashes)).hexdigest()


def _write_state(out: Path, record: Mapping[str, Any], sample: Sample) -> None:
    text = json.dumps({"certificate": record, "sample": sample.to_json()}, indent=1, allow_nan=False)
    write_atomic(out / STATE, text.encode())


def _read_state(out: Path, hashes: Mapping[str, str]) -> tuple[dict[str, Any], Sample]:
    """Read what was measured when the sample was drawn; raises OptionError if the outputs have changed since."""
    path = out / STATE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        record, sample = dict(state["certificate"]), Sample.from_json(state["sample"])
    except OSError as error:
        raise OptionError("answers", f"{path} cannot be read ({error.strerror}); draw the sample first, without "
                          "`answers`.") from error  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise OptionError("answers", f"{path} is damaged ({error}); draw a new sample, without `answers`.") from error
    if sample.outputs != _digest(hashes):
        raise OptionError("answers", "the outputs have changed since the sample was drawn, so the answers cannot "
                          "be used. Draw a new sample, without `answers`.")  # fmt: skip
    return record, sample


class _Seconds:
    """Records the duration of each stage."""

    def __init__(self) -> None:
        self._since, self.spent = time.perf_counter(), dict[str, float]()

    def __call__(self, stage: str) -> None:
        now = time.perf_counter()
        self.spent[stage], self._since = round(now - self._since, 1), now
