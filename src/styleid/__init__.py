"""styleid anonymises the faces in photos: each becomes a face of nobody, checked before it is written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from styleid.version import __version__ as __version__

# ONNX Runtime 1.32 keeps a device id in the user's cache and sends events to its maker unless told not to before it is
# imported; its disable_telemetry_events() comes too late. Nothing leaves this machine.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from styleid.bundles.bundle import Bundle as Bundle
    from styleid.bundles.registry import load_bundle as load_bundle
    from styleid.core.options import AnonymizeOptions as AnonymizeOptions
    from styleid.core.pipeline import Anonymizer as Anonymizer
    from styleid.errors import BundleError as BundleError
    from styleid.errors import ImageError as ImageError
    from styleid.errors import MissingDependencyError as MissingDependencyError
    from styleid.errors import OptionError as OptionError
    from styleid.errors import StyleIDError as StyleIDError
    from styleid.faces.detect import DetectorOptions as DetectorOptions
    from styleid.faces.detect import FaceDetector as FaceDetector
    from styleid.media.provenance import MarkOptions as MarkOptions
    from styleid.ranking.run import Ranking as Ranking
    from styleid.ranking.run import RankOptions as RankOptions
    from styleid.ranking.run import rank_units as rank_units
    from styleid.types import Action as Action
    from styleid.types import FaceOutcome as FaceOutcome
    from styleid.types import Faces as Faces
    from styleid.types import Outcome as Outcome

_HOMES = {
    "Bundle": "bundles.bundle",
    "load_bundle": "bundles.registry",
    "BundleError": "errors",
    "ImageError": "errors",
    "MissingDependencyError": "errors",
    "OptionError": "errors",
    "StyleIDError": "errors",
    "DetectorOptions": "faces.detect",
    "FaceDetector": "faces.detect",
    "MarkOptions": "media.provenance",
    "RankOptions": "ranking.run",
    "Ranking": "ranking.run",
    "rank_units": "ranking.run",
    "AnonymizeOptions": "core.options",
    "Anonymizer": "core.pipeline",
    "Action": "types",
    "FaceOutcome": "types",
    "Faces": "types",
    "Outcome": "types",
}

__all__ = [
    "Action",
    "AnonymizeOptions",
    "Anonymizer",
    "Bundle",
    "BundleError",
    "DetectorOptions",
    "FaceDetector",
    "FaceOutcome",
    "Faces",
    "ImageError",
    "MarkOptions",
    "MissingDependencyError",
    "OptionError",
    "Outcome",
    "RankOptions",
    "Ranking",
    "StyleIDError",
    "__version__",
    "load_bundle",
    "rank_units",
]


def __getattr__(name: str) -> Any:
    """Import public names when they are first used, so that `styleid --help` need not wait for them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'styleid' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"styleid.{_HOMES[name]}"), name)
