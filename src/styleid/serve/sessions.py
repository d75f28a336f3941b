"""Addresses to sign browsers in and out. They use a cookie, since an EventSource cannot send a header."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from styleid.serve.problems import documented
from styleid.serve.service import Service, the_service
from styleid.serve.tokens import COOKIE, SESSION_S, sign_in, sign_out, who_is

router = APIRouter(prefix="/v1/session", tags=["signing in"])
CurrentService = Annotated[Service, Depends(the_service)]


class CurrentUser(BaseModel):
    """The present user."""

    name: str | None = Field(description="null where nobody is signed in", examples=["anna"])
    needs_token: bool = Field(description="whether the service asks for a token at all")


class Credentials(BaseModel):
    """The token to sign in with."""

    token: str = Field(max_length=200, examples=["styleid_..."])


@router.get("", summary="Say who is signed in")
def show(request: Request, service: CurrentService) -> CurrentUser:
    """Return the user of this request."""
    return CurrentUser(name=who_is(service, request), needs_token=service.needs_token)


@router.post("", summary="Sign in with a token", responses=documented(400, 401, 422))
def begin(credentials: Credentials, request: Request, response: Response, service: CurrentService) -> CurrentUser:
    """Set a cookie that replaces the token for twelve hours."""
    session = sign_in(service, credentials.token)
    response.set_cookie(
        COOKIE,
        session.secret,
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=service.options.is_secure,
        path="/",
    )
    return CurrentUser(name=session.name, needs_token=service.needs_token)


@router.delete("", summary="Sign out", status_code=204)
def end(request: Request, service: CurrentService) -> Response:
    """End the session of this browser."""
    sign_out(service, request)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/")
    return response
