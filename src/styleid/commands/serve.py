"""styleid serve: the review desk, a service and a page on this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

from styleid.errors import MissingDependencyError, OptionError
from styleid.serve.options import ServeOptions, default_data

_GRACE_S = 5


def serve(options: ServeOptions) -> int:
    """Serve until interrupted; return the exit status."""
    with _needs_web():
        import uvicorn

        from styleid.serve.app import make_app
        from styleid.serve.service import Service
    with _listen(options.host, options.port) as listening:
        service = Service(options)
        print(f"styleid serves on {_address(options, listening)} (Ctrl-C ends it)", flush=True)
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
            timeout_graceful_shutdown=_GRACE_S,  # whoever follows a job's events would never leave
            **tls,
        )
        _server(config, service).run([listening])
    return 0


def _server(config: Any, service: Any) -> Any:
    """Return a server that lets go of those who follow a job before it waits for all requests to end."""
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            service.worker.end_soon()
            super().handle_exit(sig, frame)

    return Server(config)


def add_token(name: str, data: Path | None) -> int:
    """Make a token and show it, this once."""
    from styleid.serve.folder import open_folder, open_store

    with _needs_web():
        from styleid.serve.tokens import new_token
    store = open_store(open_folder(data or default_data()))
    token = new_token(store, name)
    store.close()
    print(f"{token}\nThis is the token of {name}. It is shown this once; whoever has it acts as {name}.")
    return 0


def list_tokens(data: Path | None) -> int:
    """Show whose tokens there are."""
    from styleid.serve.folder import open_folder, open_store

    store = open_store(open_folder(data or default_data()))
    for name, created in store.tokens().items():
        print(f"{name}  made {datetime.fromtimestamp(created):%Y-%m-%d %H:%M}")
    store.close()
    return 0


def remove_token(name: str, data: Path | None) -> int:
    """Remove a token; whoever signed in with it is signed out."""
    from styleid.serve.folder import open_folder, open_store

    store = open_store(open_folder(data or default_data()))
    removed = store.remove_token(name)
    store.close()
    if not removed:
        raise OptionError("NAME", f"there is no token named '{name}'.")
    print(f"The token of {name} is removed.")
    return 0


@contextmanager
def _needs_web() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "styleid":
            raise
        raise MissingDependencyError(f"{error.name}, which styleid serve needs,", "'styleid[web]'") from error


def _address(options: ServeOptions, listening: socket.socket) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"http{'s' if options.is_secure else ''}://{host}:{listening.getsockname()[1]}"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OptionError("--port", f"{host}:{port} cannot be listened on ({error.strerror}).") from error
