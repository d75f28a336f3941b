"""What all requests share: networks, limits, figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import Request

from styleid.engine.local import threads
from styleid.runtime import cpu_threads
from styleid.serve.metrics import Metrics
from styleid.serve.networks import Networks
from styleid.serve.options import ServeOptions
from styleid.serve.turns import Turns


class Service:
    """Hold what requests work with.

    nowhere: an output folder for photos that are handed back and never written.
    """

    nowhere = Path("-")

    def __init__(self, options: ServeOptions) -> None:
        """Load the networks; BundleError or OptionError where they cannot be used."""
        self.options = options
        self.metrics = Metrics()
        self.networks = Networks(options.bundle, options.device)
        self.turns = Turns(threads(cpu_threads()), options.limits.max_waiting)

    def count(self, record: Mapping[str, Any], seconds: float) -> None:
        """Count one photo by its line in the journal."""
        result = "withheld" if "error" in record else "written"
        self.metrics.add("styleid_photos_total", result=result)
        self.metrics.add("styleid_photo_seconds_total", seconds)
        for face in record["faces"]:
            self.metrics.add("styleid_faces_total", action=face["action"])


def the_service(request: Request) -> Service:
    """Return the service that a request is for."""
    return request.app.state.service
