"""ASGI middleware that refuses requests from other sites, limits bodies and adds security headers.

Browsers use the service, so pages of other sites must neither send requests to it nor read its responses. The Host
header must name this service, which prevents DNS rebinding, and requests from pages of another origin are refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from styleid.serve.forms import announced_bytes
from styleid.serve.problems import problem

FORMS = frozenset({("POST", "/v1/anonymize"), ("POST", "/v1/detect"), ("POST", "/v1/jobs")})
"""Requests with limits of their own for the size of files."""
MOST_BODY = 1_000_000
"""Largest body of other requests, in bytes."""
_TOO_LARGE = f"At most {MOST_BODY / 1e6:g} MB are read at this address."

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'"
)
"""Content-Security-Policy: nothing is loaded from elsewhere, and no inline script runs."""

HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """Middleware that refuses requests from other sites and adds security headers to every response.

    Args:
        app: The ASGI application.
        names: Host names of the service, in lower case, without a port.
        any_address: Whether to accept every IP address as Host, too. DNS rebinding needs a name, so this is safe.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] = LOCAL_NAMES, *, any_address: bool = False) -> None:
        self._app, self._names, self._any_address = app, frozenset(names), any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        if refusal := self._refusal(Headers(scope=scope), str(scope["path"])) or _too_large(scope):
            await problem(*refusal)(scope, receive, send_guarded)
            return
        await self._app(scope, receive if _is_form(scope) else _limited(receive), send_guarded)

    def _refusal(self, headers: Headers, path: str) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._is_own(host):
            return 421, "This service does not answer under the name in the Host header."
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "Pages of another origin may not send requests to this service."
        foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if foreign and not (path == "/" and headers.get("sec-fetch-mode") == "navigate"):
            return 403, "Pages of another site may not send requests to this service."
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        return name in self._names or (self._any_address and _is_address(name))


def _is_form(scope: Scope) -> bool:
    return (scope["method"], scope["path"]) in FORMS


def _too_large(scope: Scope) -> tuple[int, str] | None:
    """Refuse a body by its announced length."""
    large = announced_bytes(Headers(scope=scope)) > MOST_BODY and not _is_form(scope)
    return (413, _TOO_LARGE) if large else None


def _limited(receive: Receive) -> Receive:
    """Receive a body without an announced length, up to the limit."""
    left = MOST_BODY

    async def receive_limited() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, _TOO_LARGE)
        return message

    return receive_limited


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
