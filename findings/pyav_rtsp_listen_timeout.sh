#!/usr/bin/env bash
# The FFmpeg in PyAV 18.1.0 cannot wait for an RTSP publisher without a limit, although that is its documented default.
#
# Input: av.open of an rtsp:// address of this machine with rtsp_flags=listen, which makes FFmpeg the server that a camera
# or an encoder publishes to.
# Expected: FFmpeg's documentation of `listen_timeout` says that the default, -1, waits without a limit.
# Seen: with the default, or with -1 itself, av.open fails at once with OverflowError, errno 34 (ERANGE), "Numerical
# result out of range"; nothing listens. With listen_timeout=1 it listens, and gives up after a second, as documented.
#
# Needs python3 with venv, and PyPI. Works in a temporary folder, which it removes. Connects to nothing. The status is 0
# as long as PyAV behaves as said above.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check av==18.1.0

cat > "$folder/show.py" <<'PYTHON'
import errno
import socket
import sys
import time

import av

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"rtsp://127.0.0.1:{free.getsockname()[1]}/stream"


def opened(**more: str) -> tuple[str, int | None, float]:
    """Return the error of waiting for a publisher that never comes, its number, and the seconds until it."""
    begun = time.monotonic()
    try:
        av.open(address, options={"rtsp_flags": "listen", **more}, timeout=5)
    except OSError as error:
        return type(error).__name__, error.errno, time.monotonic() - begun
    except av.error.FFmpegError as error:
        return type(error).__name__, error.errno, time.monotonic() - begun
    return "no error", None, time.monotonic() - begun


results = {said: opened(**more) for said, more in (
    ("default", {}), ("listen_timeout=-1", {"listen_timeout": "-1"}), ("listen_timeout=1", {"listen_timeout": "1"}))}
print(f"PyAV {av.__version__}, libavformat {'.'.join(map(str, av.library_versions['libavformat']))}")
for said, (error, number, seconds) in results.items():
    print(f"{said}: {error}, errno {number}, after {seconds:.1f} s")
*unlimited, limited = results.values()
sys.exit(not all(number == errno.ERANGE and seconds < 1 for _, number, seconds in unlimited)
         or limited[1] != errno.ETIMEDOUT or limited[2] < 0.9)
PYTHON

"$folder/venv/bin/python" "$folder/show.py"
