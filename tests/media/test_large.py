"""A panorama of a hundred million pixels is read and written within a memory limit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SOURCE = str(Path(__file__).resolve().parents[2] / "src")

_CODE = """
import io, resource, sys
from pathlib import Path
import numpy as np
from PIL import Image
from styleid.media.image import encode_photo, read_photo_bytes
kind, options = sys.argv[1], eval(sys.argv[2])
out = io.BytesIO()
Image.new("RGB", (25_000, 4_000), (90, 120, 150)).save(out, kind, **options)
photo = read_photo_bytes(out.getvalue(), "panorama")
new = photo.image_rgb.copy()
mask = np.zeros(new.shape[:2], bool)
mask[100:300, 100:400] = True
new[mask] = 200
done = encode_photo(photo, new, mask)
assert len(done) < 3 * len(out.getvalue()) + 100_000
status = Path("/proc/self/status")  # ru_maxrss is inherited from whoever started this, and that may be the larger
lines = status.read_text().splitlines() if status.is_file() else []
own = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
print((own or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss])[0] / 1e6)
"""


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("PNG", {"compress_level": 1}), ("TIFF", {"compression": "tiff_lzw"})]
)
def test_a_hundred_megapixels(kind: str, options: dict[str, object]) -> None:
    command = [sys.executable, "-W", "error", "-c", _CODE, kind, repr(options)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": _SOURCE}
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 2.2, "gigabytes at the peak"
