"""Options of `styleid serve`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from styleid.bundles.registry import DEFAULT
from styleid.errors import OptionError
from styleid.runtime import Device

MEGABYTE = 1_000_000
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Limits:
    """Limits of what the service accepts from its clients.

    max_photo_mb: largest single photo, in MB.
    max_megapixels: largest number of pixels of a photo, in millions.
    max_waiting: number of requests for single photos that may wait while others are processed; more are refused with
        status 429.
    max_upload_mb: largest upload of a job, in MB, also after it is unpacked.
    max_files: largest number of files of a job.
    max_jobs: largest number of jobs that one person may have at a time.
    min_free_mb: space of the disk that uploads must leave free, in MB.
    """

    max_photo_mb: int = 64
    max_megapixels: int = 100
    max_waiting: int = 64
    max_upload_mb: int = 2000
    max_files: int = 2000
    max_jobs: int = 20
    min_free_mb: int = 500

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise OptionError(name, f"{value} must be 1 or more.")

    @property
    def photo_bytes(self) -> int:
        """The largest single photo, in bytes."""
        return self.max_photo_mb * MEGABYTE

    @property
    def pixels(self) -> int:
        """The most pixels of a photo."""
        return self.max_megapixels * 1_000_000

    @property
    def upload_bytes(self) -> int:
        """The largest upload of a job, in bytes."""
        return self.max_upload_mb * MEGABYTE

    @property
    def free_bytes(self) -> int:
        """How much of the disk uploads must leave free, in bytes."""
        return self.min_free_mb * MEGABYTE


def default_data() -> Path:
    """Return where jobs and tokens are kept unless asked otherwise."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state else Path.home() / ".local" / "state") / "styleid"


@dataclass(frozen=True)
class ServeOptions:
    """Choose where the service listens, which networks it uses, and how long it keeps jobs.

    host: address to listen on. An address that other machines can reach needs tokens, and TLS or `allow_insecure`.
    port: port to listen on, 0 to 65535; 0 takes a free one.
    name: host names under which browsers reach the service, such as desk.example.org. Names of this machine need not be
        given, nor addresses if `host` is given.
    data: folder for jobs and tokens, which only its owner may read; made if it is missing. By default
        ~/.local/state/styleid.
    expire_hours: hours that a job is kept with all its files.
    folder: folders of originals on this machine that jobs may read, each as NAME=DIR; nothing is written into them.
    out_folder: folders on this machine that results may be saved into, each as NAME=DIR.
    no_token: ask for no token, even if there are some; only for connections from this machine.
    tls_certificate: PEM file with a certificate; turns TLS on.
    tls_key: PEM file with the certificate's private key.
    allow_insecure: allow other machines to connect without TLS, for a proxy that provides TLS.
    webhook: URL that is notified when a job ends (docs/serve.md). By default there is none.
    webhook_secret: file with the secret that signs notices. By default the environment variable
        STYLEID_WEBHOOK_SECRET has the secret.
    webhook_host: host names that `webhook` may have. By default any.
    bundle: name of a built-in bundle, or a folder with a bundle.json.
    device: where networks run: cpu, cuda, tensorrt or coreml.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    name: tuple[str, ...] = ()
    data: Path | None = None
    expire_hours: float = 24.0
    folder: tuple[str, ...] = ()
    out_folder: tuple[str, ...] = ()
    no_token: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    allow_insecure: bool = False
    webhook: str = ""
    webhook_secret: Path | None = None
    webhook_host: tuple[str, ...] = ()
    bundle: str = DEFAULT
    device: Device = "cpu"
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise OptionError("port", f"{self.port} must lie between 0 and 65535.")
        if not self.expire_hours > 0:
            raise OptionError("expire_hours", f"{self.expire_hours} must be more than 0.")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise OptionError("tls_certificate", "give it together with `tls_key`.")
        if self.is_local:
            return
        if self.no_token:
            raise OptionError("no_token", f"`host={self.host}` lets other machines connect, which need tokens.")
        if not self.is_secure and not self.allow_insecure:
            raise OptionError(
                "host",
                f"photos and tokens would be sent to {self.host} without encryption. Give `tls_certificate` and "
                "`tls_key`, or put a proxy with TLS before the service and add `allow_insecure`.",
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service."""
        return self.host in LOCAL_HOSTS

    @property
    def is_secure(self) -> bool:
        """Whether the service itself speaks TLS."""
        return self.tls_certificate is not None

    @property
    def data_folder(self) -> Path:
        """Where jobs and tokens are kept."""
        return self.data if self.data is not None else default_data()
