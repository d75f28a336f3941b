"""Send a stream with known faces to `styleid video --live`, and measure untouched faces and the delay.

    python benchmarks/live.py [--seconds 20] [--max-delay 1] [--rounds 3] [--method latent]

Two heads (of scikit-image's portrait) move over a picture at 1280 x 720 and 25 frames per second. The stream is H.264
in MPEG-TS over TCP; each frame is sent at its time. A face counts as untouched if its inner part differs from the
original frame by less than 4 grey levels on average. Prints the Markdown table of docs/video.md.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from styleid.media.video.pyav import import_av

SIZE, RATE = (1280, 720), 25
HEAD, FACE = (95, 0, 355, 260), (181, 58, 270, 178)
UNTOUCHED = 4.0
"""Grey levels; H.264 at the quality used here changes a face by less than 3."""
SIDES_PX = (150.0, 130.0)
"""Heights of the two faces."""


class Scene:
    """Two moving heads over a picture, with known positions of their faces."""

    def __init__(self) -> None:
        import skimage.data

        portrait = skimage.data.astronaut()
        x0, y0, x1, y1 = HEAD
        self._heads = portrait[y0:y1, x0:x1], portrait[y0:y1, x0:x1][:, ::-1]
        self._wall = cv2.GaussianBlur(cv2.resize(skimage.data.coffee(), SIZE), (0, 0), 2).astype(np.float32)

    def image(self, i: int) -> np.ndarray:
        """Return frame i, uint8 (height, width, 3)."""
        image = self._wall.copy()
        for k, (head, (x, y)) in enumerate(zip(self._heads, self.centres(i), strict=True)):
            scale = SIDES_PX[k] / (FACE[3] - FACE[1])
            small = cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)
            middle = np.array([(FACE[0] + FACE[2]) / 2 - HEAD[0], (FACE[1] + FACE[3]) / 2 - HEAD[1]]) * scale
            middle[0] = small.shape[1] - middle[0] if k else middle[0]
            opacity = np.zeros(small.shape[:2], np.float32)
            h, w = opacity.shape
            cv2.ellipse(opacity, (w // 2, h // 2), (int(0.47 * w), int(0.49 * h)), 0, 0, 360, 1, -1)
            opacity = cv2.GaussianBlur(opacity, (0, 0), 0.02 * w)
            matrix = np.array([[1, 0, x - middle[0]], [0, 1, y - middle[1]]], np.float32)
            there = cv2.warpAffine(opacity, matrix, SIZE)[..., None]
            image = image * (1 - there) + cv2.warpAffine(small, matrix, SIZE) * there
        return image.round().clip(0, 255).astype(np.uint8)

    def centres(self, i: int) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the centres x, y of the faces in frame i, in pixels."""
        one = 400 + 200 * np.sin(i / 40), 360 + 60 * np.sin(i / 23)
        return one, (900 + 120 * np.cos(i / 35), 330 + 50 * np.cos(i / 19))

    def inner(self, i: int) -> Iterator[np.ndarray]:
        """Yield the inner part of each face, bool (height, width)."""
        for side, (x, y) in zip(SIDES_PX, self.centres(i), strict=True):
            mask = np.zeros(SIZE[::-1], np.uint8)
            axes = round(0.25 * side), round(0.35 * side)
            cv2.ellipse(mask, (round(x), round(y)), axes, 0, 0, 360, 1, -1)
            yield mask > 0


def encoded(scene: Scene, frames: int) -> list[bytes]:
    """Return the encoded stream in parts, one per frame."""
    av, made = import_av(), io.BytesIO()
    parts: list[bytes] = []
    with av.open(made, "w", format="mpegts", container_options={"flush_packets": "1"}) as out:
        options = {"crf": "18", "preset": "veryfast", "tune": "zerolatency", "g": str(RATE)}
        stream = out.add_stream("libx264", rate=RATE, options=options)
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        for i in range(frames):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(scene.image(i), "rgb24")))
            parts.append(made.getvalue()[sum(map(len, parts)) :])
    return parts


def serve(parts: list[bytes], listening: socket.socket) -> None:
    """Send each part at its time to the first client that connects."""
    with listening, listening.accept()[0] as other:
        begun = time.monotonic()
        for i, part in enumerate(parts):
            time.sleep(max(0.0, begun + i / RATE - time.monotonic()))
            other.sendall(part)


def run_once(parts: list[bytes], folder: Path, options: argparse.Namespace) -> tuple[dict[str, Any], float]:
    """Run the command on the stream; return its summary and its CPU seconds."""
    listening = socket.create_server(("127.0.0.1", 0))
    address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
    threading.Thread(target=serve, args=(parts, listening), daemon=True).start()
    typed = ["video", address, "--out", str(folder / "out.mkv"), "--live", "--max-delay", str(options.max_delay),
             "--method", options.method, "--seed", "5", "--quality", "16", "--json", "--quiet"]  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "styleid", *typed], stdout=subprocess.PIPE, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 3):
        raise SystemExit(f"styleid ended with status {done.returncode}.")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout), cpu_s


def untouched(scene: Scene, path: Path) -> tuple[int, int]:
    """Return the number of untouched faces in the output, and the number of all faces in it."""
    left = total = 0
    with import_av().open(str(path)) as made:
        for frame in made.decode(video=0):
            i = round(frame.time * RATE)
            change = np.abs(frame.to_ndarray(format="rgb24").astype(int) - scene.image(i)).mean(2)
            for mask in scene.inner(i):
                total += 1
                left += change[mask].mean() < UNTOUCHED
    return left, total


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--max-delay", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", default="latent")
    options = parser.parse_args()
    scene = Scene()
    parts = encoded(scene, options.seconds * RATE)
    print("| frames shown a second | dropped | with an obscured face | delay, half / 95 % within | faces untouched | "
          "CPU ms a shown frame | load |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for _ in range(options.rounds):
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as folder:
            told, cpu_s = run_once(parts, Path(folder), options)
            left, total = untouched(scene, Path(folder) / "out.mkv")
        frames, delay = told["frames"], told["delay_s"]
        print(f"| {frames['shown'] / options.seconds:.1f} | {frames['dropped']} of {frames['received']} "
              f"| {frames['obscured']} | {delay['p50']:.2f} / {delay['p95']:.2f} s | {left} of {total} "
              f"| {1000 * cpu_s / max(frames['shown'], 1):.0f} | {load:.1f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
