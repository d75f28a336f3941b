"""Make anonymisers with different settings from the same loaded networks."""

from __future__ import annotations

import threading

import numpy as np

from styleid.bundles.bundle import Bundle
from styleid.bundles.example_inputs import example_inputs
from styleid.bundles.registry import load_bundle
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.core.timing import StageTimer
from styleid.faces.detect import DetectorOptions, FaceDetector
from styleid.runtime import Device

_MOST_DETECTORS = 8
_OVERVIEW_PX = 640
"""The side to which the detector scales larger photos."""


class Networks:
    """Networks that are loaded once, for anonymisers with any settings; safe to use from several threads."""

    def __init__(self, bundle: str, device: Device) -> None:
        """Read a bundle's description; its networks are loaded by `warm_up`, or else when they are first used.

        Raises:
            BundleError: The bundle is missing or its description cannot be used.
        """
        self.name = bundle
        self.device: Device = device
        self.bundle: Bundle = load_bundle(bundle, device)
        self._detectors: dict[DetectorOptions, FaceDetector] = {}
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Load all networks and run each once.

        The first upload is then answered as fast as later ones, and memory hardly grows after the start.

        Raises:
            BundleError: A network's file is missing or altered.
            OptionError: ONNX Runtime cannot use the device.
            MissingDependencyError: The device or the detector needs a package that is not installed.
        """
        for role in self.bundle.spec.networks:
            self.bundle.run(role, **example_inputs(self.bundle, role))
        self.detector(DetectorOptions()).detect(np.zeros((_OVERVIEW_PX, _OVERVIEW_PX, 3), np.uint8))

    def anonymizer(self, options: AnonymizeOptions) -> Anonymizer:
        """Return an anonymiser with its own timer.

        Raises:
            OptionError: The bundle does not support the options.
        """
        bundle = None if options.method == "none" else self.bundle
        detector = self.detector(options.detector)
        return Anonymizer(bundle, options, self.device, detector=detector, timer=StageTimer())

    def detector(self, options: DetectorOptions) -> FaceDetector:
        """Return a detector with these options."""
        with self._lock:
            if options not in self._detectors:
                if len(self._detectors) >= _MOST_DETECTORS:  # clients choose the options; each holds a network
                    self._detectors.pop(next(iter(self._detectors)))
                self._detectors[options] = FaceDetector(options, self.device)
            return self._detectors[options]
