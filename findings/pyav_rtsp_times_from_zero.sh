#!/usr/bin/env bash
# The FFmpeg in PyAV 18.1.0 gives the first two pictures of an RTSP stream the same time if RTP time stamps begin at 0.
#
# Input: a valid RTSP stream of this machine, over TCP, of four VP8 pictures at 25 a second, each in one RTP packet. The
# RTP time stamps begin at 0, at 1 or at 123456, as RTP-Info says, and rise by 3600 a picture.
# Expected: times 0, 3600, 7200 and 10800 whatever the first time stamp is; RFC 3550 lets it be any number.
# Seen: with a first time stamp of 0, the times are 0, 0, 3600 and 7200: two pictures share a time, and all after the
# first are one picture too early. From 1 and 123456 they are as expected.
# Cause, it seems: 0 also stands for a first time stamp that is not known yet, so that the second picture's is taken.
#
# Needs python3 with venv, and PyPI. Works in a temporary folder, which it removes. Connects to this machine alone. The
# status is 0 as long as PyAV behaves as said above.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check av==18.1.0 numpy==2.2.6

cat > "$folder/show.py" <<'PYTHON'
import re
import socket
import struct
import sys
import threading
from fractions import Fraction

import av
import numpy as np

STEP = 3600  # ticks of 1/90000 s between pictures


def coded() -> list[bytes]:
    encoder = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 64, "yuv420p", Fraction(1, 25)
    encoder.options = {"deadline": "realtime", "lag-in-frames": "0"}
    pictures = []
    for index in range(4):
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 60 * index, np.uint8), format="rgb24")
        frame.pts = index
        pictures += [bytes(packet) for packet in encoder.encode(frame)]
    assert len(pictures) == 4
    return pictures


def serve(listening: socket.socket, pictures: list[bytes], begin: int) -> None:
    """Answer the requests of one client, and send it the pictures."""
    sdp = ("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
           "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=control:one\r\n")
    base = f"rtsp://127.0.0.1:{listening.getsockname()[1]}/stream/"
    answers = {
        "OPTIONS": "Public: DESCRIBE, SETUP, PLAY\r\n\r\n",
        "DESCRIBE": f"Content-Base: {base}\r\nContent-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}",
        "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n\r\n",
        "PLAY": f"Session: 1\r\nRTP-Info: url={base}one;seq=0;rtptime={begin}\r\n\r\n",
    }
    with listening.accept()[0] as client, client.makefile("rb") as lines:
        method = ""
        while method != "PLAY":
            method, headers = lines.readline().decode().split()[0], ""
            while (line := lines.readline().decode()).strip():
                headers += line
            number = re.search(r"(?im)^CSeq: *(\d+)", headers).group(1)
            client.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{answers[method]}".encode())
        for index, picture in enumerate(pictures):
            head = struct.pack(">BBHII", 0x80, 0x80 | 96, index, begin + index * STEP, 7)  # RTP, the last of a picture
            packet = head + b"\x10" + picture  # VP8 in RTP: a new partition begins
            client.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)


def times(pictures: list[bytes], begin: int) -> list[int | None]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening, pictures, begin), daemon=True).start()
        address = f"rtsp://127.0.0.1:{listening.getsockname()[1]}/stream"
        with av.open(address, options={"rtsp_transport": "tcp"}, timeout=10) as stream:
            assert stream.streams.video[0].time_base == Fraction(1, 90000)
            return [frame.pts for frame in stream.decode(video=0)]


print(f"PyAV {av.__version__}, libavformat {'.'.join(map(str, av.library_versions['libavformat']))}")
pictures = coded()
seen = {begin: times(pictures, begin) for begin in (0, 1, 123456)}
for begin, found in seen.items():
    print(f"time stamps from {begin}: pictures at {found}")
right = [0, 3600, 7200, 10800]
sys.exit(seen != {0: [0, 0, 3600, 7200], 1: right, 123456: right})
PYTHON

"$folder/venv/bin/python" "$folder/show.py"
