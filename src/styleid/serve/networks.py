"""Anonymisers for any settings, all on the same networks."""

from __future__ import annotations

import threading

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import load_bundle
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.core.timing import StageTimer
from styleid.faces.detect import DetectorOptions, FaceDetector
from styleid.runtime import Device

_MOST_DETECTORS = 8


class Networks:
    """Make anonymisers that share what was loaded; safe to use from several threads."""

    def __init__(self, bundle: str, device: Device) -> None:
        """Load a bundle; BundleError or OptionError where it cannot be used."""
        self.name = bundle
        self.device: Device = device
        self.bundle: Bundle = load_bundle(bundle, device)
        self._detectors: dict[DetectorOptions, FaceDetector] = {}
        self._lock = threading.Lock()

    def anonymizer(self, options: AnonymizeOptions) -> Anonymizer:
        """Return an anonymiser with a timer of its own; OptionError where the bundle cannot do what options ask for."""
        bundle = None if options.method == "none" else self.bundle
        detector = self.detector(options.detector)
        return Anonymizer(bundle, options, self.device, detector=detector, timer=StageTimer())

    def detector(self, options: DetectorOptions) -> FaceDetector:
        """Return a detector with these options."""
        with self._lock:
            if options not in self._detectors:
                if len(self._detectors) >= _MOST_DETECTORS:  # each holds a network: clients may not pile them up
                    self._detectors.pop(next(iter(self._detectors)))
                self._detectors[options] = FaceDetector(options, self.device)
            return self._detectors[options]
