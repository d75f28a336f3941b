"""State that all requests share: networks, jobs, limits and metrics."""

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
from styleid.serve.request_slots import RequestSlots
from styleid.serve.webhook import SECRET_VARIABLE, Sender, Webhook
from styleid.serve.worker import Worker

_PREVIEWS = 2
"""Largest number of previews that are decoded at the same time, to limit memory."""


class Service:
    """State that all requests share.

    Attributes:
        nowhere: Placeholder for the output folder of single photos, which are never written.
        options: Options of the service.
        metrics: Counters for `/metrics`.
        networks: The loaded networks.
        turns: Limit of requests for single photos.
        previews: Limit of previews that are decoded at the same time.
        folders: The named folders of the server.
        store: Database of jobs, decisions and tokens.
        worker: Thread that processes jobs.
        sender: Thread that calls the webhook, or None without a webhook.
    """

    nowhere = Path("-")

    def __init__(self, options: ServeOptions) -> None:
        """Read the bundle's description and open the data folder.

        Args:
            options: Options of the service.

        Raises:
            BundleError: The bundle cannot be used.
            OptionError: The webhook or a folder cannot be used, another service uses the data folder, or no token
                exists although other machines can connect.
        """
        self.options = options
        self.metrics = Metrics()
        self.networks = Networks(options.bundle, options.device)
        self.turns = RequestSlots(threads(cpu_threads()), options.limits.max_waiting)
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
        """Whether requests need a token: if other machines can connect, or once a token exists, unless `no_token`."""
        return not self.options.no_token and (not self.options.is_local or bool(self.store.tokens()))

    def start(self) -> None:
        """Start to process jobs and to send notices."""
        self.store.note_ends(self.sender is not None)
        self.worker.start()
        if self.sender is not None:
            self.sender.start()

    def close(self) -> None:
        """Stop after the photos in progress, and release the data folder."""
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
        """Return the current values of the gauges: the number of jobs in each state."""
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
