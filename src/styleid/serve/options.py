"""What `styleid serve` may be asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from styleid.bundles.registry import DEFAULT
from styleid.errors import OptionError
from styleid.runtime import Device

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Choose how much the service takes from its clients.

    max_photo_mb: the largest photo, in MB.
    max_megapixels: the most pixels of a photo, in millions.
    max_waiting: requests for single photos that may wait while others are worked on; more are told to come back.
    """

    max_photo_mb: int = 64
    max_megapixels: int = 100
    max_waiting: int = 64

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise OptionError("--" + name.replace("_", "-"), f"{value} is less than 1.")

    @property
    def photo_bytes(self) -> int:
        """The largest photo, in bytes."""
        return self.max_photo_mb * MEGABYTE

    @property
    def pixels(self) -> int:
        """The most pixels of a photo."""
        return self.max_megapixels * 1_000_000


@dataclass(frozen=True)
class ServeOptions:
    """Choose where the service listens and what it works with.

    port: the port on this machine; 0 takes any that is free.
    bundle: a built-in bundle's name, or a folder with a bundle.json.
    device: where networks run: cpu, cuda or openvino.
    """

    port: int = 8765
    bundle: str = DEFAULT
    device: Device = "cpu"
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise OptionError("--port", f"{self.port} is no port; take one from 0 to 65535.")
