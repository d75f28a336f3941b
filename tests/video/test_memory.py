"""Memory does not grow with the length of a clip."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")
pytest.importorskip("scipy", reason="faces are given to tracks by SciPy: pip install 'styleid[video]'")

WIDTH, HEIGHT, SHORT = 480, 360, 60
"""60 frames at 25 a second are longer than every window that a run holds, so four times as many should cost nothing."""
FRAME_BYTES = WIDTH * HEIGHT * 3
MOST_GROWTH = 32 << 20

RUN = """
import sys
from pathlib import Path
import numpy as np
from styleid import AnonymizeOptions, Anonymizer, Faces
from styleid.video.options import VideoOptions
from styleid.video.run import process_video

class Seeing:
    frame, kept = 0, []
    def detect(self, image_rgb):
        x = 40 + self.frame % 100
        self.frame += 1
        if sys.argv[3] == "keep":
            self.kept.append(image_rgb.copy())
        box = np.float32([[x, 60, x + 80, 160]])
        points = np.float32([[x + 25, 95], [x + 55, 95], [x + 40, 115], [x + 28, 135], [x + 52, 135]])
        return Faces(box, np.float32([0.9]), points[None])

anonymizer = Anonymizer(None, AnonymizeOptions(method="none"))
summary = process_video(Path(sys.argv[1]), anonymizer, VideoOptions(Path(sys.argv[2])), detector=Seeing())
assert sum(track["obscured"] for track in summary.record["tracks"]) == summary.record["video"]["frames"]
try:  # of this program alone; ru_maxrss begins with what its parent held when it was started
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    print(int(line.split()[1]) * 1024)
except OSError:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


def make_clip(path: Path, frames: int) -> Path:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, ::40], image[::30] = 180, 90
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(frames):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(image, 2 * i, 1), "rgb24")))
        out.mux(stream.encode(None))
    return path


def peak_bytes(source: Path, how: str = "") -> int:
    out = source.with_name(f"out-{source.name}")
    done = subprocess.run([sys.executable, "-c", RUN, source, out, how], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_clip_four_times_as_long_needs_no_more_memory(tmp_path):
    short, long = (make_clip(tmp_path / f"{n}.mp4", n) for n in (SHORT, 4 * SHORT))
    held = peak_bytes(short)
    assert peak_bytes(long) - held < MOST_GROWTH
    assert peak_bytes(long, "keep") - held > 2 * MOST_GROWTH  # the measurement detects a run that keeps its frames
    assert 3 * SHORT * FRAME_BYTES > 2 * MOST_GROWTH
