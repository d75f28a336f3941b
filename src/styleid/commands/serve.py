"""styleid serve: the review desk, a service and a page on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

from styleid.serve import running
from styleid.serve.folder import temporary_folder
from styleid.serve.memory import share_one_heap
from styleid.serve.options import ServeOptions


def serve(options: ServeOptions) -> int:
    """Serve until interrupted; return the exit status."""
    share_one_heap()
    tempfile.tempdir = str(temporary_folder(options.data_folder))  # a killed service leaves files about people there
    running.run_service(options, lambda address: print(f"styleid serves on {address} (Ctrl-C ends it)", flush=True))
    return 0


def add_token(owner: str, data: Path | None) -> int:
    """Make a token and print it; return the exit status."""
    token = running.add_token(owner, data)
    print(f"{token}\nThis is the token of {owner}. It is shown only once; whoever has it acts as {owner}.")
    return 0


def list_tokens(data: Path | None) -> int:
    """Print the owners of tokens; return the exit status."""
    for owner, made in running.list_tokens(data).items():
        print(f"{owner}  made {made.astimezone():%Y-%m-%d %H:%M}")
    return 0


def remove_token(owner: str, data: Path | None) -> int:
    """Remove a person's token and sign the person out; return the exit status."""
    running.remove_token(owner, data)
    print(f"The token of {owner} is removed.")
    return 0
