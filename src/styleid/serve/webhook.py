"""Notify another service when a job ends, with a signed request that contains no names of files or people.

A notice is stored in the same transaction as the job's new state, so that it survives a restart. It is sent again until
the receiver answers 2xx: after one second, then after twice the delay each time.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import logging
import ssl
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from styleid.errors import OptionError
from styleid.serve.options import LOCAL_HOSTS
from styleid.serve.store import Notice, Store

SECRET_VARIABLE = "STYLEID_WEBHOOK_SECRET"
MOST_TRIES = 16
"""Largest number of attempts. After the last one, nine hours after the first, a notice is dropped and logged."""
FIRST_WAIT_S = 1.0
_TIMEOUT_S = 10.0
IDLE_S = 1.0
_LEAST_SECRET = 16
_log = logging.getLogger("styleid.serve")


@dataclass(frozen=True)
class Webhook:
    """Receiver of notices.

    Attributes:
        url: URL that notices are sent to.
        secret: Secret that signs them.
    """

    url: str
    secret: bytes

    @classmethod
    def read(
        cls, url: str, secret_file: Path | None, hosts: Collection[str], secret: str = "", *, allow_insecure: bool
    ) -> Webhook:
        """Check a URL and read its secret.

        Args:
            url: URL that notices are sent to.
            secret_file: File with the secret.
            hosts: Hosts that the URL may name. Empty: any.
            secret: Secret to use if there is no file.
            allow_insecure: Whether the URL may use http to another machine.

        Raises:
            OptionError: The URL is invalid or not allowed, or the secret is missing or too short.
        """
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError as error:
            raise OptionError("webhook", f"{url} is not a valid URL.") from error
        if parts.scheme not in ("http", "https") or not host or parts.username or parts.fragment:
            raise OptionError("webhook", f"{url} is not a URL such as https://example.org/hook.")
        if hosts and host not in {one.lower() for one in hosts}:
            raise OptionError("webhook", f"{host} is not among the hosts of `webhook_host`.")
        if parts.scheme == "http" and host not in LOCAL_HOSTS and not allow_insecure:
            raise OptionError("webhook", f"notices would go to {host} without encryption. Take an address with "
                              "https://, or add `allow_insecure`.")  # fmt: skip
        return cls(url, _secret(secret_file, secret))


def signature(secret: bytes, timestamp: int, body: bytes) -> str:
    """Return the value of the header Styleid-Signature.

    Args:
        secret: Secret of the webhook.
        timestamp: Time of sending, in seconds since 1970.
        body: Body of the request.

    Returns:
        The time, and the hexadecimal HMAC-SHA256 of the time, a dot and the body.
    """
    digest = hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def notice_body(notice: Notice) -> dict[str, Any]:
    """Return the content of a notice: the job, its state and counts, without names."""
    summary = notice.summary
    return {
        "event": f"job.{notice.state}",
        "job": notice.job,
        "state": notice.state,
        "needs_review": notice.state == "done" and notice.version == 0,
        "at": datetime.fromtimestamp(notice.at, UTC).isoformat(timespec="seconds"),
        "files": notice.files,
        "written": summary.get("written", 0),
        "withheld": summary.get("failed", 0),
        "faces": summary.get("faces", {}),
        "obscured_against_method": summary.get("obscured_against_method", 0),
    }


class Sender:
    """A thread that sends notices, the oldest first."""

    def __init__(self, store: Store, hook: Webhook) -> None:
        self._store, self._hook = store, hook
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="styleid-webhook", daemon=True)

    def start(self) -> None:
        """Start to send, including notices that an earlier service left."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current request; the next service sends the rest."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while not self._ending.is_set():
            for notice in self._store.due_notices(time.time()):
                if self._ending.is_set():
                    return
                self._send(notice)
            self._ending.wait(IDLE_S)

    def _send(self, notice: Notice) -> None:
        trouble = send(self._hook, notice)
        if not trouble:
            self._store.remove_notice(notice.number)
        elif notice.tries + 1 >= MOST_TRIES:
            _log.error("a webhook notice could not be delivered in %d attempts (%s)", MOST_TRIES, trouble)
            self._store.remove_notice(notice.number)
        else:
            self._store.put_off_notice(notice.number, time.time() + FIRST_WAIT_S * 2**notice.tries)


def send(hook: Webhook, notice: Notice) -> str:
    """Send one notice, without following redirects.

    Args:
        hook: The receiver.
        notice: The notice.

    Returns:
        Name of the error or status that prevented delivery; empty on success.
    """
    parts = urlsplit(hook.url)
    body = json.dumps(notice_body(notice), sort_keys=True).encode()
    headers = {
        "content-type": "application/json",
        "user-agent": "styleid",
        "styleid-delivery": f"{notice.job}-{notice.number}",
        "styleid-signature": signature(hook.secret, int(time.time()), body),
    }
    host = parts.hostname or ""
    if parts.scheme == "https":
        tls = ssl.create_default_context()
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port, timeout=_TIMEOUT_S, context=tls
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=_TIMEOUT_S)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", path, body, headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()
    return "" if 200 <= status < 300 else f"status {status}"


def _secret(file: Path | None, given: str) -> bytes:
    if file is not None:
        try:
            given = file.read_text().strip()
        except (OSError, ValueError) as error:
            raise OptionError("webhook_secret", f"{file} cannot be read.") from error
    if len(given) < _LEAST_SECRET:
        raise OptionError("webhook_secret", f"notices are signed with a secret of at least {_LEAST_SECRET} letters: "
                          f"name a file that holds it, or set {SECRET_VARIABLE}.")  # fmt: skip
    return given.encode()
