"""The ASGI application: routes, errors and the OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import Depends, FastAPI, Response
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from styleid.serve import faces, jobs, metrics, problems, sessions, single, videos
from styleid.serve.guard import LOCAL_NAMES, Guard
from styleid.serve.page import add_page
from styleid.serve.problems import ProblemBody
from styleid.serve.service import Service, the_service
from styleid.serve.tokens import the_user
from styleid.version import __version__

_ABOUT = (
    """Anonymise the faces of photos and videos on your own machine. Errors are answered as application/problem+json."""
)


def make_app(service: Service) -> ASGIApp:
    """Return the ASGI application of a service, which starts and closes the service."""
    options = service.options
    names = LOCAL_NAMES | {name.lower() for name in options.name}
    return Guard(_Counted(make_api(service), service), names, any_address=not options.is_local)


def make_api(service: Service) -> FastAPI:
    """Return the routes of a service, without the guard."""
    app = FastAPI(
        title="styleid",
        version=__version__,
        description=_ABOUT,
        docs_url=None,  # FastAPI's pages load their scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.service = service
    problems.add_handlers(app)
    known = [Depends(the_user)]
    app.include_router(single.router, dependencies=known)
    app.include_router(jobs.router)
    app.include_router(jobs.folders_router)
    app.include_router(faces.router)
    app.include_router(videos.router)
    app.include_router(sessions.router)
    add_page(app)
    app.add_api_route("/healthz", _health, tags=["operation"], summary="Say that the service answers")
    app.add_api_route(
        "/metrics",
        _metrics,
        tags=["operation"],
        summary="Figures for Prometheus",
        dependencies=known,
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.start()
    yield
    await run_sync(service.close)


async def _health() -> dict[str, str]:
    """Return that the service runs, and its version."""
    return {"status": "ok", "version": __version__}


async def _metrics(service: Annotated[Service, Depends(the_service)]) -> Response:
    """Return metrics in the text format of Prometheus."""
    return Response(service.metrics.text(service.gauges()), media_type=metrics.MEDIA_TYPE)


def _document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with problems in place of FastAPI's own errors."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["ProblemBody"] = ProblemBody.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for path in document["paths"].values():
            for operation in path.values():
                if "422" in operation["responses"]:
                    operation["responses"]["422"] = problems.documented(422)[422]
        app.openapi_schema = document
    return app.openapi_schema


class _Counted:
    """Counts responses by method and status."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._metrics = app, service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = scope["method"] if scope["method"] in _METHODS else "other"
                self._metrics.add("styleid_requests_total", method=known, status=message["status"])
            await send(message)

        await self._app(scope, receive, send_counted if scope["type"] == "http" else send)


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
