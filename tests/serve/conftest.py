"""Fixtures for tests of the service: a service in this process, and a client that calls it without a socket."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio.from_thread
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the service needs the extra web: pip install 'styleid[web]'")
httpx = pytest.importorskip("httpx", reason="the service's tests need httpx, of the extra dev")

from styleid.serve.app import make_app  # noqa: E402
from styleid.serve.options import ServeOptions  # noqa: E402
from styleid.serve.service import Service  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 8
"""Of the clip."""


class Client:
    """A client of an ASGI application, with the methods of httpx.AsyncClient without await."""

    service: Service

    def __init__(self, portal: anyio.from_thread.BlockingPortal, app: Any, **options: Any) -> None:
        self._portal = portal
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://localhost", **options)

    async def ask(self, method: str, url: str, **options: Any) -> Any:
        return await self._client.request(method, url, **options)

    def request(self, method: str, url: str, **options: Any) -> Any:
        return self._portal.call(lambda: self.ask(method, url, **options))

    def get(self, url: str, **options: Any) -> Any:
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> Any:
        return self.request("POST", url, **options)

    def delete(self, url: str, **options: Any) -> Any:
        return self.request("DELETE", url, **options)

    def ended(self, job: str, within_s: float = 120.0, **options: Any) -> dict[str, Any]:
        """Wait until a job is done, failed or cancelled, and return it."""
        until = time.monotonic() + within_s
        while (body := self.get(f"/v1/jobs/{job}", **options).json())["state"] not in ("done", "failed", "cancelled"):
            assert time.monotonic() < until, body
            time.sleep(0.05)
        return body


@pytest.fixture(scope="session")
def portal() -> Iterator[anyio.from_thread.BlockingPortal]:
    """Return a portal to the event loop in which applications run."""
    with anyio.from_thread.start_blocking_portal() as one:
        yield one


@pytest.fixture(scope="session")
def client_of(portal, tmp_path_factory) -> Iterator[Callable[..., Client]]:
    """Return a function that starts a service, by default in a new folder, and returns a client of it."""
    services: list[Service] = []

    def of(options: ServeOptions | None = None, **more: Any) -> Client:
        options = options or ServeOptions()
        if options.data is None:
            options = replace(options, data=tmp_path_factory.mktemp("desk") / "data")
        service = Service(options)
        services.append(service)
        service.start()
        client = Client(portal, make_app(service), **more)
        client.service = service
        return client

    yield of
    for service in services:
        service.close()


@pytest.fixture(scope="session")
def client(client_of) -> Client:
    """Return a client of a service with default options."""
    return client_of()


@pytest.fixture(scope="session")
def jpeg(astronaut) -> bytes:
    """Return a small photo of one face."""
    import cv2

    return cv2.imencode(".jpg", np.ascontiguousarray(astronaut[:256, 96:352, ::-1]))[1].tobytes()


@pytest.fixture(scope="session")
def clip(astronaut, tmp_path_factory) -> Path:
    """Return a video of two heads that do not overlap."""
    from skimage import data

    from tests.video.scenes import HEAD, RATE, Actor, Scene, background

    av = pytest.importorskip("av", reason="videos need PyAV: pip install 'styleid[video]'")
    x0, y0, x1, y1 = HEAD
    head, coffee = astronaut[y0:y1, x0:x1], background(data.coffee())
    left = Actor(head, lambda i: (80 + 2 * i, 110, 64))
    right = Actor(head[:, ::-1], lambda i: (240 - 2 * i, 120, 60))
    scene = Scene([left, right], FRAMES, lambda i: coffee)
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = *scene.size, "yuv420p"
        for index in range(FRAMES):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(scene.image(index)), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path
