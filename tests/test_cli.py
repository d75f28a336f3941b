"""The command line: messages and exit status."""

import errno
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import styleid
from styleid import cli
from styleid.bundles import registry
from styleid.cli import main
from styleid.engine.journal import NAME
from styleid.media.image import read_photo_bytes
from styleid.runtime import available_devices
from tests.tiny_bundle import tiny_bundle

NONE = ("--method", "none")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def photos(tmp_path, astronaut) -> Path:
    """Two small photos, one in a folder."""
    folder = tmp_path / "in"
    (folder / "street").mkdir(parents=True)
    small = Image.fromarray(astronaut[:256, 96:352]).resize((160, 160), Image.Resampling.LANCZOS)
    small.save(folder / "a.png")
    small.save(folder / "street/b.jpg")
    return folder


@pytest.fixture
def call(capsys, photos, tmp_path, tmp_path_factory) -> Call:
    """Run the command in this process. IN, OUT, FILE, COPY and OTHER stand for paths."""

    def of(*arguments: str) -> tuple[int, str, str]:
        places = {"IN": photos, "OUT": tmp_path / "out", "FILE": tmp_path / "file"}
        places |= {word: tiny_bundle(tmp_path_factory, word.lower()) for word in ("COPY", "OTHER") if word in arguments}
        capsys.readouterr()
        try:
            status = main([str(places.get(argument, argument)) for argument in arguments])
        except SystemExit as stop:
            status = int(stop.code or 0)
        return status, *capsys.readouterr()

    return of


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("typo",), "invalid choice: 'typo'"),
        (("anonymize",), "the following arguments are required: INPUT, --out"),
        (("anonymize", "IN"), "the following arguments are required: --out"),
        (("anonymize", "--out", "OUT"), "the following arguments are required: INPUT"),
        (("anonymize", "typo.jpg", "--out", "OUT", *NONE), "styleid: INPUT: typo.jpg does not exist"),
        (("anonymize", "IN", "--out", "IN", *NONE), "--out: "),
        (("anonymize", "IN", "--out", "new.jpg", *NONE), "new.jpg is named like a photo. Name a folder"),
        (("anonymize", "IN", "--out", "OUT", "--method", "magic"), "argument --method: invalid choice: 'magic'"),
        (("anonymize", "IN", "--out", "OUT", "--obscure", "smile"), "argument --obscure: invalid choice: 'smile'"),
        (("anonymize", "IN", "--out", "OUT", "--device", "abacus"), "argument --device: invalid choice: 'abacus'"),
        (("anonymize", "IN", "--out", "OUT", "--metadata", "all"), "argument --metadata: invalid choice: 'all'"),
        (("anonymize", "IN", "--out", "OUT", "--seed", "one"), "argument --seed: invalid int value: 'one'"),
        (("anonymize", "IN", "--out", "OUT", "--engine", "spark"), "argument --engine: invalid choice: 'spark'"),
        (("anonymize", "IN", "--out", "OUT", *NONE, "--workers", "-1"), "styleid: --workers: must be 0 or more"),
        (("anonymize", "IN", "--out", "OUT", *NONE, "--shard", "3/2"), "styleid: --shard: must be i/n"),
        (("anonymize", "@typo.txt", "--out", "OUT", *NONE), "styleid: INPUT: the list typo.txt cannot be read"),
        (("anonymize", "IN", "--out", "OUT", "--typo"), "unrecognized arguments: --typo"),
        (
            ("anonymize", "IN", "--out", "OUT", *NONE, "--strength", "0"),
            "styleid: --strength: must be more than 0 and at most 1, not 0.0.",
        ),
        (("anonymize", "IN", "--out", "OUT", *NONE, "--strength", "nan"), "styleid: --strength: must be more than 0"),
        (("anonymize", "IN", "--out", "OUT", *NONE, "--tries", "0"), "styleid: --tries: must be at least 1, not 0."),
        (("anonymize", "IN", "--out", "OUT", *NONE, "--threshold", "1.5"), "styleid: --threshold: must be between"),
        (
            ("anonymize", "IN", "--out", "OUT", *NONE, "--min-face-px", "3"),
            "styleid: --min-face-px: must be at least 8",
        ),
        (
            ("anonymize", "IN", "--out", "OUT", *NONE, "--boxes", "typo.json"),
            "styleid: --boxes: typo.json cannot be read",
        ),
        (("anonymize", "IN", "--out", "OUT", *NONE, "--boxes", "FILE"), 'must hold JSON such as {"street/1.jpg": [['),
        (
            ("anonymize", "IN", "--out", "OUT", "--bundle", "nowhere"),
            "styleid: --bundle: 'nowhere' is neither a built-in",
        ),
        (
            ("anonymize", "IN", "--out", "OUT", "--bundle", "COPY", "--privacy", "huge"),
            "styleid: --privacy: 'huge' is unknown",
        ),
        (
            ("anonymize", "IN", "--out", "OUT", "--bundle", "COPY", "--privacy", "0.9"),
            "styleid: --privacy: the false-match rate must",
        ),
        (
            ("anonymize", "IN", "--out", "OUT", "--bundle", "COPY", "--units", "levels:x"),
            "the bundle's levels are light, rest",
        ),
        (("anonymize", "-", "IN", "--out", "-", *NONE), "styleid: INPUT: '-' reads one photo"),
        (("anonymize", "-", "--out", "OUT", *NONE), "styleid: INPUT: '-' reads one photo"),
        (("anonymize", "IN", "--out", "-", *NONE), "styleid: INPUT: '-' reads one photo"),
        (("bundles",), "the following arguments are required: ACTION"),
        (("bundles", "show", "nowhere"), "styleid: --bundle: 'nowhere' is neither a built-in"),
        (("bundles", "verify", "nowhere"), "styleid: --bundle: 'nowhere' is neither a built-in"),
    ],
)
def test_wrong_use_ends_with_status_2_and_writes_nothing(call, tmp_path, photos, arguments, says):
    (tmp_path / "file").write_text('{"a.png": [[1, 2,')
    status, out, err = call(*arguments)
    assert status == 2
    assert says in err
    assert "Traceback" not in err
    assert out == ""
    assert not (tmp_path / "out").exists()
    assert names(photos) == {"a.png", "street/b.jpg"}


@pytest.mark.parametrize(
    "arguments", [("--help",), ("anonymize", "--help"), ("bundles", "--help"), ("doctor", "--help")]
)
def test_help_and_version_are_no_failures(call, arguments):
    status, out, _ = call(*arguments)
    assert status == 0
    assert "usage: styleid" in out
    assert "exit status:" in out or arguments == ("--help",)
    assert call("--version")[:2] == (0, f"styleid {styleid.__version__}\n")


@pytest.mark.parametrize("line", re.findall(r"^  (styleid .*)$", "\n".join(cli.EXAMPLES.values()), re.MULTILINE))
def test_examples_in_the_help_can_be_typed(line):
    words = shlex.split(line.split(" <")[0])[1:]
    parsed = cli.build_parser(words).parse_args(words)
    assert callable(parsed.run)


def test_help_waits_for_no_heavy_import():
    code = (
        "import sys\nfrom styleid.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "print('loaded:', *sorted({'numpy', 'cv2', 'PIL', 'onnx', 'onnxruntime', 'torch', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_photos_are_written_and_summed_up(call, tmp_path):
    status, out, err = call("anonymize", "IN", "--out", "OUT", *NONE)
    assert (status, err) == (0, "")
    assert "2 of 2 files written" in out
    assert "faces: 2 obscured" in out
    assert names(tmp_path / "out") == {"a.png", "street/b.jpg", NAME}
    status, out, _ = call("anonymize", "IN", "--out", "OUT", *NONE, "--resume")
    assert status == 0
    assert "(2 of them earlier)" in out


def test_the_summary_can_be_read_by_machines(call, photos):
    (photos / "cut.png").write_bytes((photos / "a.png").read_bytes()[:99])
    status, out, _ = call("anonymize", "IN", "--out", "OUT", "--bundle", "COPY", "--tries", "1", "--json")
    record = json.loads(out)
    assert out.count("\n") == 1
    assert status == record["exit_status"] == 3
    assert (record["inputs"], record["written"], record["obscured_against_method"]) == (3, 2, 2)
    assert record["faces"] == {"obscured": 2}
    assert [failure["input"] for failure in record["failures"]] == ["cut.png"]
    assert record["stage_seconds"].keys() >= {"detect", "parse", "identity", "generate", "composite"}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("zero.jpg", b""),
        ("text.png", b"no photo at all"),
        ("page.webp", b"<!doctype html><title>404</title>"),
        ("cut.png", None),
        ("archive.tif", b"PK\x03\x04" + bytes(200)),
        ("film.jpg", b"\x00\x00\x00\x18ftypmp42" + bytes(200)),
        ("link.jpg", Path("nowhere")),
    ],
)
def test_unreadable_inputs_are_named_and_the_rest_is_written(call, photos, tmp_path, name, data):
    if isinstance(data, Path):
        (photos / name).symlink_to(data)
    else:
        (photos / name).write_bytes((photos / "a.png").read_bytes()[:-40] if data is None else data)
    status, out, err = call("anonymize", "IN", "--out", "OUT", *NONE)
    assert status == 3
    (line,) = err.splitlines()
    assert line.startswith(f"styleid: {name}: ")
    assert line.endswith("(not written)")
    assert "1 file not written, as named above" in out
    assert names(tmp_path / "out") == {"a.png", "street/b.jpg", NAME}


def test_faces_obscured_against_the_method_are_named(call):
    status, _, err = call("anonymize", "IN", "--out", "OUT", "--bundle", "COPY", "--seed", "1")
    assert status == 3
    assert err.splitlines() == [
        "styleid: a.png: a face was obscured: too like the original",
        "styleid: street/b.jpg: a face was obscured: too like the original",
    ]


def test_new_faces_end_with_status_0_and_a_report(call, tmp_path, photos, astronaut):
    for name in ("a.png", "street/b.jpg"):
        Image.fromarray(astronaut).save(photos / name)
    status, out, err = call("anonymize", "IN", "--out", "OUT", "--bundle", "OTHER", "--seed", "1", "--report")
    assert (status, err) == (0, "")
    assert "faces: 2 anonymised" in out
    assert (tmp_path / "out/styleid-report.html").is_file()


def test_own_boxes_are_used(call, tmp_path, photos):
    Image.new("RGB", (60, 60), (9, 99, 9)).save(photos / "c.png")
    (tmp_path / "file").write_text('{"c.png": [[10, 10, 40, 50]]}')
    status, out, _ = call("anonymize", "IN", "--out", "OUT", *NONE, "--boxes", "FILE")
    assert status == 0
    assert "faces: 3 obscured" in out
    (tmp_path / "file").write_text('{"d.png": [[10, 10, 40, 50]]}')
    status, _, err = call("anonymize", "IN", "--out", "OUT", *NONE, "--boxes", "FILE")
    assert status == 2
    assert "'d.png' is not an input of this run" in err


def test_decisions_are_exported_and_made_again(call, tmp_path, photos):
    made = tmp_path / "made.json"
    status, _, err = call(
        "anonymize", "IN", "--out", "OUT", *NONE, "--obscure", "blur", "--export-decisions", str(made)
    )
    assert (status, err) == (0, "")
    record = json.loads(made.read_text())
    assert isinstance(record["seed"], int)  # drawn, since none was asked for
    status, out, _ = call("anonymize", "IN", "--out", str(tmp_path / "again"), "--decisions", str(made))
    assert status == 0
    assert "faces: 2 obscured" in out
    for name in record["photos"]:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    record["photos"]["a.png"]["faces"][0]["do"] = "keep"
    record["photos"]["street/b.jpg"]["sha256"] = "0" * 64
    made.write_text(json.dumps(record))
    status, out, err = call("anonymize", "IN", "--out", str(tmp_path / "third"), "--decisions", str(made))
    assert status == 3
    assert "street/b.jpg: it is not the file that the decisions were made about" in err
    assert "faces: 1 kept" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("IN", "--out", "OUT", "--obscure", "solid"), 'settings.obscure is "blur", but --obscure is solid'),
        (("IN", "--out", "OUT", "--obscure=solid"), 'settings.obscure is "blur", but --obscure is solid'),
        (("IN", "--out", "OUT", "--seed", "1", "--obscure", "blur"), "settings.seed is 5, but --seed is 1"),
        (("-", "--out", "-"), "has no name for decisions"),
    ],
)
def test_decisions_that_contradict_the_command_are_refused(call, tmp_path, arguments, says):
    record = {"format": 1, "seed": 5, "settings": {"obscure": "blur", "method": "none"}, "photos": {}}
    (tmp_path / "file").write_text(json.dumps(record))
    status, _, err = call("anonymize", *arguments, "--decisions", "FILE")
    assert status == 2
    assert says in err
    assert not (tmp_path / "out").exists()


def test_a_missing_device_is_our_failure(call, tmp_path):
    if "cuda" in available_devices():
        pytest.skip("this machine has CUDA")
    status, _, err = call("anonymize", "IN", "--out", "OUT", *NONE, "--device", "cuda")
    assert status == 1
    assert "pip install onnxruntime-gpu" in err
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_no_half_file(call, tmp_path, monkeypatch):
    def full(path, data):
        Path(path).write_bytes(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("styleid.media.storage.files.write_through", full)
    status, _, err = call("anonymize", "IN", "--out", "OUT", *NONE)
    assert status == 1
    assert "the disk is full" in err
    assert names(tmp_path / "out") == set()


def test_an_interrupt_is_told(call, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("styleid.core.pipeline.Anonymizer.anonymize", stop)
    status, _, err = call("anonymize", "IN", "--out", "OUT", *NONE)
    assert status == 1
    assert "--resume continues from here" in err


@pytest.fixture
def pipe(monkeypatch, capfdbinary) -> Callable[..., tuple[int, bytes, str]]:
    """Run the command with a photo on standard input."""

    def of(data: bytes, *arguments: str) -> tuple[int, bytes, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        status = main(["anonymize", "-", "--out", "-", *arguments])
        out, err = capfdbinary.readouterr()
        return status, out, err.decode()

    return of


def test_one_photo_goes_through_a_pipe(pipe, photos, tmp_path, tmp_path_factory):
    data = (photos / "a.png").read_bytes()
    before = read_photo_bytes(data, "before").image_rgb
    status, out, err = pipe(data, *NONE)
    after = read_photo_bytes(out, "after").image_rgb
    assert (status, err) == (0, "")
    assert after.shape == before.shape
    assert 0.02 < (after != before).any(-1).mean() < 0.3

    status, out, err = pipe(data, "--bundle", str(tiny_bundle(tmp_path_factory, "copy")), "--tries", "1")
    assert status == 3
    assert err == "styleid: standard input: a face was obscured: too like the original\n"
    assert np.array_equal(read_photo_bytes(out, "after").image_rgb, after)

    boxes = tmp_path / "boxes.json"
    boxes.write_text('{"-": [[2, 100, 40, 150]]}')
    status, out, _ = pipe(data, *NONE, "--boxes", str(boxes))
    assert status == 0
    assert np.ptp(read_photo_bytes(out, "after").image_rgb[115:135, 12:30].reshape(-1, 3), axis=0).max() == 0


@pytest.mark.parametrize("options", [(), ("--require-faces",), ("--max-pixels", "4000")])
def test_nothing_comes_out_of_a_pipe_that_should_not(pipe, options):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    status, out, err = pipe(buffer.getvalue() if options else b"no photo", *NONE, *options)
    assert (status, out) == (3, b"")
    assert err.startswith("styleid: standard input: ")
    assert err.endswith("(not written)\n")


def test_boxes_for_another_name_are_refused_in_a_pipe(pipe, photos, tmp_path):
    boxes = tmp_path / "boxes.json"
    boxes.write_text('{"a.png": [[2, 100, 40, 150]]}')
    status, out, err = pipe((photos / "a.png").read_bytes(), *NONE, "--boxes", str(boxes))
    assert (status, out) == (2, b"")
    assert "named '-'" in err


@pytest.fixture
def as_built_in(tmp_path, tmp_path_factory, monkeypatch) -> Path:
    """Put a tiny bundle in the place of the built-in ones, under the default's name."""
    root = tmp_path / "bundles"
    shutil.copytree(tiny_bundle(tmp_path_factory, "other"), root / registry.DEFAULT)
    monkeypatch.setattr(registry, "FOLDER", root)
    return root / registry.DEFAULT


def test_bundles_are_listed_and_shown(call, as_built_in, tmp_path):
    shutil.copytree(as_built_in, as_built_in.with_name("zzz"))
    status, out, err = call("bundles", "list")
    assert (status, err) == (0, "")
    assert [line[:5] for line in out.splitlines()] == [f"* {registry.DEFAULT}"[:5], "  zzz"]
    for name in ((), ("zzz",), (str(as_built_in),)):
        status, out, err = call("bundles", "show", *name)
        assert (status, err) == (0, "")
        assert "128 px, W+ 3 x 16384" in out
        assert "generator" in out
        assert "made by a test" in out


def test_bundles_are_verified(call, as_built_in):
    assert call("bundles", "verify") == (0, f"{registry.DEFAULT}: every file is what bundle.json says\n", "")
    path = as_built_in / "identity.onnx"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (as_built_in / "parser.onnx").unlink()
    (as_built_in / "stray.onnx").write_bytes(b"")
    status, out, err = call("bundles", "verify", str(as_built_in))
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 3
    for words in ("identity.onnx has the SHA-256", "parser.onnx cannot be read", "stray.onnx is not named"):
        assert words in err
    status, _, err = call("anonymize", "IN", "--out", "OUT")
    assert status == 1
    assert "parser.onnx cannot be read" in err


def test_an_altered_network_never_runs(call, as_built_in, tmp_path):
    path = as_built_in / "generator.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    status, _, err = call("anonymize", "IN", "--out", "OUT")
    assert status == 1
    assert "generator.onnx has the SHA-256" in err
    assert not (tmp_path / "out").exists()


def test_the_doctor_says_what_is_wrong(call, as_built_in, monkeypatch):
    status, out, err = call("doctor")
    assert status == 1
    assert err == "self-test: FAILED. the detector does not find a face that the bundle generated.\n"
    assert f"bundle {registry.DEFAULT}: every file is what bundle.json says" in out
    assert "detector: CenterFace found" in out
    assert out.endswith("1 check failed\n")

    monkeypatch.setattr("styleid.api.installation.self_test", lambda *_: "fine")
    status, out, err = call("doctor")
    assert (status, err) == (0, "")
    assert out.endswith("all checks passed\n")

    (as_built_in / "mapping.onnx").write_bytes(b"")
    status, _, err = call("doctor")
    assert status == 1
    assert "mapping.onnx has the SHA-256" in err

    (as_built_in / "bundle.json").unlink()
    status, _, err = call("doctor")
    assert status == 1
    assert "None is built in" in err
