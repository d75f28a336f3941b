"""Open the engine that a run asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from styleid.core.pipeline import Anonymizer
from styleid.runtime import cpu_threads, limited_threads
from styleid.video.ahead import FramePool, frames_at_once
from styleid.video.options import EngineOptions
from styleid.video.segments import Engine, LocalEngine


@contextlib.contextmanager
def open_engine(anonymizer: Anonymizer, where: EngineOptions | None = None) -> Iterator[Engine]:
    """Yield an engine.

    In this process it works on several frames at once, with few threads per network: a second frame gains more than a
    second thread in each network.

    Args:
        anonymizer: Measures, draws and judges faces.
        where: Which engine; None for this process.

    Raises:
        OptionError: The anonymiser cannot be made again in another process.
        MissingDependencyError: Ray is asked for and not installed.
    """
    at_once = frames_at_once()
    with limited_threads(max(1, cpu_threads() // at_once)), FramePool(at_once) as pool:
        if where is None or where.engine == "local":
            yield LocalEngine(anonymizer, pool)
            return
        from styleid.video.cluster import RayEngine

        with RayEngine(anonymizer, where.workers, pool) as engine:
            yield engine
