"""styleid serve: the review desk, a service and a page on this machine."""

from __future__ import annotations

import socket

from styleid.errors import MissingDependencyError, OptionError
from styleid.serve.options import ServeOptions

HOST = "127.0.0.1"


def serve(options: ServeOptions) -> int:
    """Serve until interrupted; return the exit status."""
    try:
        import uvicorn

        from styleid.serve.app import make_app
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"{error.name}, which styleid serve needs,", "'styleid[web]'") from error
    app = make_app(options)
    with _listen(HOST, options.port) as listening:
        port = listening.getsockname()[1]
        print(f"styleid serves on http://{HOST}:{port} (Ctrl-C ends it)", flush=True)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, proxy_headers=False, lifespan="on"
        )
        uvicorn.Server(config).run([listening])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OptionError("--port", f"{host}:{port} cannot be listened on ({error.strerror}).") from error
