"""Errors as `application/problem+json` (RFC 9457). They contain no paths of the server and no stack traces."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from styleid.errors import ImageError, OptionError, StyleIDError

MEDIA_TYPE = "application/problem+json"
_MOST_DETAIL = 1000


class ProblemBody(BaseModel):
    """An error of a request."""

    type: str = Field("about:blank", description="Always about:blank: the status says what kind of problem it is.")
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["the file is empty (0 bytes). Fetch or copy it again"])


class ProblemError(Exception):
    """Raised to end a request with an error.

    Attributes:
        status: HTTP status.
        detail: Reason for the client.
        headers: Further headers of the response.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.detail, self.headers = status, detail, dict(headers or {})
        super().__init__(detail)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a problem as a response."""
    body = ProblemBody(type="about:blank", title=_title(status), status=status, detail=_short_text(detail))
    return JSONResponse(body.model_dump(), status, dict(headers or {}), MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of these statuses of a path."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    return {status: {"description": _title(status), "content": content} for status in statuses}


def add_handlers(app: FastAPI) -> None:
    """Make an app respond to every error with a problem."""
    app.add_exception_handler(ProblemError, _own)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(StyleIDError, _of_styleid)
    app.add_exception_handler(Exception, _unexpected)


def _title(status: int) -> str:
    return "Content Too Large" if status == 413 else HTTPStatus(status).phrase


def _short_text(detail: str) -> str:
    """Shorten a reason, and replace characters that UTF-8 cannot encode; it may quote the client."""
    return detail[:_MOST_DETAIL].encode(errors="replace").decode()


def _own(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    return problem(error.status, error.detail, error.headers)


def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    details = {404: "There is nothing at this address.", 405: "This address does not take this method."}
    headers = {"allow": ", ".join(_methods_of(request))} if error.status_code == 405 else error.headers
    return problem(error.status_code, details.get(error.status_code, str(error.detail)), headers)


def _methods_of(request: Request) -> list[str]:
    """Return all methods of an address; each has a route of its own."""
    document: dict[str, Any] = request.app.openapi()
    parts = request.url.path.split("/")
    found: set[str] = set()
    for path, operations in document["paths"].items():
        pattern = path.split("/")
        if len(pattern) == len(parts) and all(a == b or a.startswith("{") for a, b in zip(pattern, parts, strict=True)):
            found |= {method.upper() for method in operations}
    return sorted(found) or ["GET"]


def _of_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()[:5]]
    return problem(422, "; ".join(problems))


def _of_styleid(request: Request, error: Exception) -> JSONResponse:
    """Return a problem without the path at the beginning of the message."""
    if isinstance(error, ImageError):
        return problem(422, error.reason)
    if isinstance(error, OptionError):
        return problem(422, f"{error.option}: {error.reason}")
    return _unexpected(request, error)


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    return problem(500, "The service failed at this request. Its log on the server says why.")
