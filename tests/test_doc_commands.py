"""The commands in the documentation work: each is run, in the order of its page."""

import json
import shlex
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from styleid.cli import main
from tests.evaluate.certificate.rigged import answers_file, sample_of, truthful
from tests.test_docs import SHOWN

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NOT_RUN = {
    "styleid train ": "tests/lab runs the trainings",
    "styleid bundles ": "tests/lab builds and verifies bundles",
    "--bundle ffhq1024": "needs weights of other projects; tests/lab builds the bundle from small ones",
    "styleid serve --": "serves until it is ended; tests/serve runs the service",
    "styleid serve\n": "serves until it is ended; tests/serve runs the service",
    "s3://": "needs a bucket; tests/engine/test_remote.py has another remote storage",
    "--engine ray": "tests/engine/test_ray.py runs it where Ray is installed",
    " --live": "needs a camera or a stream; tests/video/test_live.py has a local one",
    "--mark c2pa": "needs a certificate; tests/media/test_signing.py makes one",
    "--baselines all": "needs ten people; tests/evaluate/test_baselines.py draws every baseline",
    "--judge dlib": "tests/ranking ranks with other judges",
    "styleid rank ": "tests/ranking ranks, with fewer samples",
    "@ratio": "needs an installed ranking; tests/ranking makes one",
    "layers:best": "needs an installed ranking; tests/ranking makes one",
}
"""Commands that this test leaves out, by a part of theirs, and where they are tried instead."""
OBSCURED_OR_PARTIAL = 3


def reason_not_to_run(command: str) -> str | None:
    return next((reason for part, reason in NOT_RUN.items() if part in command + "\n"), None)


RUN = [(page, command) for page, command in SHOWN if reason_not_to_run(command) is None]
PAGES = sorted({page for page, _ in RUN})


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The folder in which a page's reader works: photos and data sets of four people."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for place in ("photos", "originals", "2024", "2025", "staff/anna", "coco/images", "coco/annotations", "yolo/images",
                  "yolo/labels", "VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2012/Annotations", "shards",
                  "examples"):  # fmt: skip
        (tmp_path / place).mkdir(parents=True)
    for place in ("photos", "originals", "2024", "2025", "coco/images", "yolo/images",
                  "VOCdevkit/VOC2012/JPEGImages", "examples"):  # fmt: skip
        shutil.copy(EXAMPLES / "group.jpg", tmp_path / place)
    shutil.copy(EXAMPLES / "people.mp4", tmp_path / "examples")
    with Image.open(EXAMPLES / "group.jpg") as image:
        width, height = image.size
    record = {
        "images": [{"id": 1, "file_name": "group.jpg", "width": width, "height": height}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, width, height], "iscrowd": 0,
                         "area": width * height}],
        "categories": [{"id": 1, "name": "person"}],
    }  # fmt: skip
    (tmp_path / "coco/annotations/instances.json").write_text(json.dumps(record))
    (tmp_path / "yolo/labels/group.txt").write_text("")
    (tmp_path / "VOCdevkit/VOC2012/Annotations/group.xml").write_text(
        "<annotation><filename>group.jpg</filename></annotation>"
    )
    with tarfile.open(tmp_path / "shards/000.tar", "w") as shard:
        shard.add(EXAMPLES / "group.jpg", "group.jpg")
    return tmp_path


def one_face(folder: Path) -> None:
    """Put the photo of a person to keep into `staff/`."""
    from skimage import data
    from skimage.io import imsave

    imsave(folder / "staff/anna/portrait.png", data.astronaut())


def anonymised_photos(folder: Path) -> None:
    """Finish the run that is to be certified."""
    anonymised("photos/", "anonymised/")


def answered(folder: Path) -> None:
    """Write `answers.json` as the audit page saves it, with every question answered."""
    sample = sample_of(folder / "certificate")
    answers_file(folder / "answers.json", sample, truthful(sample, untouched=()))


def outputs_of_tools(folder: Path) -> None:
    """Put outputs where the page on evaluation expects those of several tools."""
    for place in ("anonymised/", "ours/", "blurred/", "other-tool/"):
        anonymised("originals/", place)


def anonymised(photos: str, out: str) -> None:
    shutil.rmtree(out, ignore_errors=True)
    assert main(["anonymize", photos, "--out", out, "--method", "none", "--quiet"]) == 0


def missed_in_coco(folder: Path) -> None:
    """Anonymise the data set once, and write the box of a missed face."""
    shutil.rmtree(folder / "anonymised", ignore_errors=True)
    command = ["dataset", "coco", "coco/", "anonymised/", "--seed", "7", "--boxes", "from-annotations", "--quiet"]
    assert main(command) in (0, OBSCURED_OR_PARTIAL)
    (folder / "missed.json").write_text(json.dumps({"images/group.jpg": [[20, 10, 60, 50]]}))


BEFORE: dict[str, Callable[[Path], None]] = {
    "--keep staff/": one_face,
    "styleid certify photos/ anonymised/ --out certificate/ --key my.key\n": anonymised_photos,
    "--answers answers.json": answered,
    "styleid evaluate": outputs_of_tools,
    "--boxes missed.json": missed_in_coco,
}
"""What a command needs that its page describes in words, by a part of the command."""
GOES_ON = ("--resume", "--shard")
"""Options of commands that add to an earlier output; every other command of a page gets an empty place."""


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_in_their_order(page: str, folder: Path, capsys) -> None:
    for command in [one for name, one in RUN if name == page]:
        given = shlex.split(command, comments=True)[1:]
        for part, prepare in BEFORE.items():
            if part in command + "\n":
                prepare(folder)
        if given[0] in ("anonymize", "dataset") and not set(GOES_ON) & set(given):
            shutil.rmtree(given[given.index("--out") + 1] if "--out" in given else given[-1], ignore_errors=True)
        capsys.readouterr()
        status = main(given)
        assert status in (0, OBSCURED_OR_PARTIAL), f"{command}\n{capsys.readouterr().err}"


def test_few_commands_are_left_out() -> None:
    left = [command for _, command in SHOWN if reason_not_to_run(command)]
    shown = [command for _, command in SHOWN if not command.startswith("styleid train")]
    assert len(RUN) > len(shown) / 2
    assert all(any(part in command + "\n" for command in left) for part in NOT_RUN), "a reason that no command needs"
