"""Users: their tokens and the sessions of their browsers. Only hashes of both are stored."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from styleid.errors import OptionError
from styleid.serve.problems import ProblemError
from styleid.serve.service import Service, the_service
from styleid.serve.store import Store

COOKIE = "styleid-session"
LOCAL = "local"
"""Name of the user if no token is needed."""
SESSION_S = 12 * 3600
_PREFIX = "styleid_"
_MOST_NAME = 64


def new_token(store: Store, name: str) -> str:
    """Make a token and store its hash.

    Args:
        store: Database of the service.
        name: Name of the user, 1 to 64 printable characters, not `local`.

    Returns:
        The token.

    Raises:
        OptionError: The name is taken or invalid.
    """
    if not name.isprintable() or not 0 < len(name) <= _MOST_NAME or name == LOCAL:
        raise OptionError(
            "owner",
            f"'{name}' cannot be used: a name has 1 to {_MOST_NAME} printable characters, and is not '{LOCAL}'.",
        )
    token = _PREFIX + secrets.token_urlsafe(32)
    if not store.add_token(name, digest_of(token)):
        raise OptionError("owner", f"there is a token named '{name}' already. Remove it first, or take another name.")
    return token


def digest_of(secret: str) -> str:
    """Return the hash of a token. It has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


@dataclass(frozen=True)
class Session:
    """Session of a browser.

    Attributes:
        secret: Value of the browser's cookie.
        name: Name of the user.
    """

    secret: str
    name: str


def sign_in(service: Service, token: str) -> Session:
    """Begin a session; raises ProblemError (401) if the token is unknown."""
    name = service.store.name_of_token(digest_of(token.strip()))
    if name is None:
        raise ProblemError(401, "This token is unknown. Ask the person who runs the service for one.")
    session = Session(secrets.token_urlsafe(32), name)
    service.store.add_session(digest_of(session.secret), name, time.time() + SESSION_S)
    return session


def sign_out(service: Service, request: Request) -> None:
    """End a browser's session."""
    if secret := request.cookies.get(COOKIE):
        service.store.remove_session(digest_of(secret))


def who_is(service: Service, request: Request) -> str | None:
    """Return the user of a request; None if unknown."""
    if not service.needs_token:
        return LOCAL
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return service.store.name_of_token(digest_of(token.strip()))
    secret = request.cookies.get(COOKIE)
    return service.store.name_of_session(digest_of(secret)) if secret else None


def the_user(request: Request, service: Annotated[Service, Depends(the_service)]) -> str:
    """Return the user of a request; raises ProblemError (401) if unknown."""
    name = who_is(service, request)
    if name is None:
        raise ProblemError(401, "Sign in, or send a token: Authorization: Bearer ...", {"www-authenticate": "Bearer"})
    return name


User = Annotated[str, Depends(the_user)]
