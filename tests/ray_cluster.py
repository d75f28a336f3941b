"""A small Ray cluster on this machine for tests, and its actors' processes."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def two_cores() -> Iterator[None]:
    """Run a cluster of two cores, whose actors have the priority of this process."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


def actors(kind: str) -> Iterator[int]:
    """Yield the processes of this cluster's actors of a class that are at work; needs /proc."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(f"ray::{kind}".encode()):
                yield int(path.parent.name)
