"""The web page, served from files of this package; it loads nothing from other hosts."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"


def add_page(app: FastAPI) -> None:
    """Let an app serve the page at its root, and the page's files below /static."""
    app.mount("/static", StaticFiles(directory=STATIC), "static")
    app.add_api_route("/", _index, include_in_schema=False)


async def _index() -> FileResponse:
    return FileResponse(STATIC / "index.html", media_type="text/html")
