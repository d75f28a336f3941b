"""The run-time type checker of the tests: beartype, except for protocols and replaced objects.

To check a value against a protocol, Python reads its properties. Those of a `LazyObservation` would then run every
network, which is what they are there to avoid. pyright checks protocols instead. `IO` counts as one: it asks for
attributes that files in memory lack. Some tests put small stand-ins in the place of a bundle or a detector.
"""

import re
from collections.abc import Callable

from beartype import BeartypeConf, beartype

PROTOCOLS = (
    "AllowList",
    "Aperture",
    "Clip",
    "ClipSink",
    "Detector",
    "Engine",
    "FaceReader",
    "FaceReaderSpec",
    "HintSource",
    "IO",
    "LiveOutput",
    "LookEngine",
    "LivePictures",
    "MeasureEngine",
    "Observed",
    "Space",
    "Targets",
)
REPLACED = ("Bundle", "BundleSpec", "FaceDetector", "Method")
_UNCHECKED = re.compile(rf"\b({'|'.join([*PROTOCOLS, *REPLACED])})\b")
_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand for a float


def check(function: Callable) -> Callable:
    """Check a function's arguments and result at each call, but for those that are named above."""
    hints = getattr(function, "__annotations__", {})
    shown = {name: hint if isinstance(hint, str) else repr(hint) for name, hint in hints.items()}
    for name in [name for name, hint in shown.items() if _UNCHECKED.search(hint)]:
        del hints[name]
    return _checked(function)
