"""`styleid video --live` on the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from styleid.cli import main
from styleid.commands.live import stopped_by_signals

av = pytest.importorskip("av", reason="videos are read by PyAV: pip install 'styleid[video]'")
pytest.importorskip("scipy", reason="faces are given to tracks by SciPy: pip install 'styleid[video]'")
RATE = 25


def clip(path: Path, frames: int) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        (stream.width, stream.height), stream.pix_fmt = (192, 128), "yuv420p"
        for i in range(frames):
            image = np.full((128, 192, 3), 60 + i % 100, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["rtsp://me:secret@host/x", "--out", "a.mp4"], "INPUT: rtsp://host/x is a stream. Add --live"),
        (["in.mp4", "--out", "udp://host:9"], "--out: udp://host:9 is a stream. Add --live"),
        (["in.mp4", "--out", "a.mp4", "--max-delay", "2"], "--max-delay: it can only be used with --live"),
        (["in.mp4", "--out", "a.mp4", "--live", "--keep", "staff"], "--keep: it does not go with --live"),
        (["in.mp4", "--out", "a.mp4", "--live", "--audio", "keep"], "--audio: it does not go with --live"),
        (["in.mp4", "--out", "a.mp4", "--live", "--max-delay", "0"], "--max-delay: 0.0 does not lie"),
        (["in.mp4", "--out", "http://host/x", "--live"], "--out: http://host/x cannot be written to"),
        (["in.mp4", "--out", "a.mp4", "--live", "--mark", "c2pa", "--c2pa-certificate", "a", "--c2pa-key", "b"],
         "--mark: c2pa can only sign a finished file"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_said(typed, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["video", *typed, "--method", "none"]) == 2
    assert said in capsys.readouterr().err


def test_a_url_of_another_kind_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["video", "s3://bucket/in.mp4", "--out", "a.mp4"])
    assert "give a path on this machine" in capsys.readouterr().err


def test_a_file_is_played(tmp_path, capsys):
    source = clip(tmp_path / "in.mp4", 20)
    assert main(["video", str(source), "--out", str(tmp_path / "a.mp4"), "--live", "--method", "none"]) == 0
    said = capsys.readouterr().out
    assert "frames written to" in said
    assert "sound was left out" in said
    assert (tmp_path / "a.mp4").stat().st_size > 0


def test_a_missing_source_is_named(tmp_path, capsys):
    out = str(tmp_path / "a.mp4")
    assert main(["video", str(tmp_path / "none.mp4"), "--out", out, "--live", "--method", "none", "--json"]) == 3
    said = capsys.readouterr()
    assert "none.mp4: it does not exist" in said.err
    assert json.loads(said.out)["error"] == "it does not exist"


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no interrupt to one process")
def test_an_interrupt_ends_the_run_and_keeps_what_was_shown(tmp_path):
    source, out = clip(tmp_path / "in.mp4", 60 * RATE), tmp_path / "a.mp4"
    typed = ["video", str(source), "--out", str(out), "--live", "--method", "none", "--json"]
    run = subprocess.Popen([sys.executable, "-m", "styleid", *typed], stdout=subprocess.PIPE, text=True)
    waited = time.monotonic()
    while not list(tmp_path.glob("*.part")) and time.monotonic() - waited < 60:
        time.sleep(0.1)
    time.sleep(2)
    run.send_signal(signal.SIGINT)
    told = json.loads(run.communicate(timeout=60)[0])
    assert (run.returncode, told["error"]) == (0, "")
    assert told["seconds"] < 55
    with av.open(str(out)) as made:
        assert sum(1 for _ in made.decode(video=0)) == told["frames"]["shown"] > 0
    assert list(tmp_path.glob("*.part")) == []


def test_a_second_interrupt_breaks_off():
    with stopped_by_signals() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
