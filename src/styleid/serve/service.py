"""What all requests share: networks, jobs, limits, figures."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
from fastapi import Request

from styleid.engine.local import threads
from styleid.errors import OptionError
from styleid.runtime import cpu_threads
from styleid.serve.folder import JOBS, FolderLock, empty_temporary_folder, open_folder, open_store
from styleid.serve.folders import Folders
from styleid.serve.metrics import Metrics
from styleid.serve.networks import Networks
from styleid.serve.options import ServeOptions
from styleid.serve.turns import Turns
from styleid.serve.webhook import SECRET_VARIABLE, Sender, Webhook
from styleid.serve.worker import Worker

_PREVIEWS = 2
"""How many photos are decoded at once to be looked at: each takes memory, and whoever looks can wait."""


class Service:
    """Hold what requests work with.

    nowhere: an output folder for photos that are handed back and never written.
    """

    nowhere = Path("-")

    def __init__(self, options: ServeOptions) -> None:
        """Load the networks and open the folder; BundleError or OptionError where they cannot be used."""
        self.options = options
        self.metrics = Metrics()
        self.networks = Networks(options.bundle, options.device)
        self.turns = Turns(threads(cpu_threads()), options.limits.max_waiting)
        self.previews = anyio.CapacityLimiter(_PREVIEWS)
        hook = _webhook(options)
        folder = open_folder(options.data_folder)
        self.folders = Folders.read(options.folder, options.out_folder, folder)
        self._lock = FolderLock(folder)
        empty_temporary_folder(folder)
        self.store = open_store(folder)
        self.worker = Worker(self.store, self.networks, folder / JOBS, self.folders, options.limits.pixels)
        self.sender = None if hook is None else Sender(self.store, hook)
        if not options.is_local and not self.store.tokens():
            self.close()
            raise OptionError("host", "nobody could sign in, since there is no token yet. "
                              "Type: styleid serve token add NAME")  # fmt: skip

    @property
    def needs_token(self) -> bool:
        """Whether requests must show who sends them: always from other machines, here once there is a token."""
        return not self.options.no_token and (not self.options.is_local or bool(self.store.tokens()))

    def start(self) -> None:
        """Begin to do jobs."""
        self.store.note_ends(self.sender is not None)
        self.worker.start()
        if self.sender is not None:
            self.sender.start()

    def close(self) -> None:
        """End after the photos in hand."""
        self.worker.stop()
        if self.sender is not None:
            self.sender.stop()
        self.store.close()
        self._lock.release()

    def count(self, record: Mapping[str, Any], seconds: float) -> None:
        """Count one photo by its line in the journal."""
        result = "withheld" if "error" in record else "written"
        self.metrics.add("styleid_photos_total", result=result)
        self.metrics.add("styleid_photo_seconds_total", seconds)
        for face in record["faces"]:
            self.metrics.add("styleid_faces_total", action=face["action"])

    def gauges(self) -> dict[str, float]:
        """Return the figures that are not counted but looked at."""
        states = Counter(job.state for job in self.store.jobs())
        return {f'styleid_jobs{{state="{state}"}}': count for state, count in states.items()}


def _webhook(options: ServeOptions) -> Webhook | None:
    if not options.webhook:
        return None
    secret = os.environ.get(SECRET_VARIABLE, "")
    return Webhook.read(
        options.webhook, options.webhook_secret, options.webhook_host, secret, allow_insecure=options.allow_insecure
    )


def the_service(request: Request) -> Service:
    """Return the service that a request is for."""
    return request.app.state.service
