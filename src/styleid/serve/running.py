"""Run the service, and manage the tokens with which people sign in."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from styleid.errors import MissingDependencyError, OptionError
from styleid.serve.folder import open_folder, open_store
from styleid.serve.options import ServeOptions, default_data
from styleid.serve.store import Store

if TYPE_CHECKING:
    from styleid.serve.service import Service

_GRACE_S = 5


def run_service(options: ServeOptions, ready: Callable[[str], None] | None = None) -> None:
    """Run the review desk's service until it is interrupted, as `styleid serve` does.

    Args:
        options: Address, bundle, data folder and limits of the service.
        ready: Called with the service's URL when its networks are loaded and its port is open.

    Raises:
        MissingDependencyError: A package of the extra `web` is not installed.
        OptionError: The address, a folder, the device or the webhook cannot be used, or no token exists although other
            machines can connect.
        BundleError: The bundle cannot be used.
    """
    with _needs_web():
        import uvicorn

        from styleid.serve.app import make_app
    with _listen(options.host, options.port) as listening:
        service = _loaded_service(options)
        if ready is not None:
            ready(_address(options, listening))
        tls: dict[str, Any] = {}
        if options.is_secure:
            tls = {"ssl_certfile": options.tls_certificate, "ssl_keyfile": options.tls_key}
        config = uvicorn.Config(
            make_app(service),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            timeout_graceful_shutdown=_GRACE_S,  # event streams of jobs may stay open
            **tls,
        )
        _server(config, service).run([listening])


def _loaded_service(options: ServeOptions) -> Service:
    from styleid.serve.service import Service

    service = Service(options)
    try:
        service.networks.warm_up()
    except BaseException:
        service.close()
        raise
    return service


def add_token(owner: str, data: Path | None = None) -> str:
    """Make a token for a person, as `styleid serve token add` does.

    Args:
        owner: Name of the person, of 1 to 64 printable characters.
        data: The service's folder; by default that of `ServeOptions`.

    Returns:
        The token. Only its hash is kept.

    Raises:
        OptionError: The name is taken or invalid, or the folder cannot be used.
        MissingDependencyError: A package of the extra `web` is not installed.

    Examples:
        >>> from pathlib import Path
        >>> from styleid import add_token, list_tokens, remove_token
        >>> token = add_token("ann", Path("desk"))
        >>> list(list_tokens(Path("desk")))
        ['ann']
        >>> remove_token("ann", Path("desk"))
    """
    with _needs_web():
        from styleid.serve.tokens import new_token
    with _store(data) as store:
        return new_token(store, owner)


def list_tokens(data: Path | None = None) -> dict[str, datetime]:
    """Return the owners of tokens and when each token was made, as `styleid serve token list` does.

    Args:
        data: The service's folder; by default that of `ServeOptions`.

    Returns:
        The time at which each token was made, by its owner.

    Raises:
        OptionError: The folder cannot be used.
    """
    with _store(data) as store:
        return {owner: datetime.fromtimestamp(made, UTC) for owner, made in store.tokens().items()}


def remove_token(owner: str, data: Path | None = None) -> None:
    """Remove a person's token, as `styleid serve token remove` does. Browsers signed in with it are signed out.

    Args:
        owner: Name of the person.
        data: The service's folder; by default that of `ServeOptions`.

    Raises:
        OptionError: There is no such token, or the folder cannot be used.
    """
    with _store(data) as store:
        if not store.remove_token(owner):
            raise OptionError("owner", f"there is no token named '{owner}'.")


@contextmanager
def _store(data: Path | None) -> Iterator[Store]:
    with closing(open_store(open_folder(data or default_data()))) as store:
        yield store


def _server(config: Any, service: Any) -> Any:
    """Return a server that ends the event streams of jobs before it waits for all requests to end."""
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            service.worker.end_soon()
            super().handle_exit(sig, frame)

    return Server(config)


@contextmanager
def _needs_web() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "styleid":
            raise
        raise MissingDependencyError(f"{error.name}, which the service needs,", "'styleid[web]'") from error


def _address(options: ServeOptions, listening: socket.socket) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"http{'s' if options.is_secure else ''}://{host}:{listening.getsockname()[1]}"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OptionError("port", f"the service cannot listen on {host}:{port} ({error.strerror}).") from error
