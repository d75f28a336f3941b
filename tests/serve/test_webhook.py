"""The webhook: content and signature of notices, repeated attempts, and configuration."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from styleid.errors import OptionError
from styleid.serve import webhook
from styleid.serve.folder import open_folder, open_store
from styleid.serve.options import ServeOptions
from styleid.serve.store import Job
from styleid.serve.webhook import SECRET_VARIABLE, Webhook
from tests.serve.conftest import ROOT
from tests.serve.test_jobs import start

pytestmark = pytest.mark.versions
SECRET = "correct horse battery staple"
PLAIN = {"method": "none", "seed": 7}


class Receiver:
    """A server that stores requests, and responds with the given statuses in order, then with 204."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                self.send_header("location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?team=a"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait(self, count: int) -> None:
        until = time.monotonic() + 60
        while len(self.got) < count:
            assert time.monotonic() < until, "nothing was sent"
            time.sleep(0.02)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(webhook, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(webhook, "IDLE_S", 0.01)
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)


def example() -> Callable[[str, bytes, str], bool]:
    """Return the function of docs/serve.md that checks a signature."""
    text = (ROOT / "docs/serve.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "def is_genuine" in block]
    names: dict[str, Any] = {}
    exec(code, names)
    return names["is_genuine"]


def test_a_notice_is_signed_and_has_no_names(client_of, receiver, jpeg) -> None:
    client = client_of(ServeOptions(webhook=receiver.url))
    job = start(client, [("anna.jpg", jpeg), ("empty.jpg", b"")], PLAIN)
    receiver.wait(1)
    path, headers, body = receiver.got[0]
    told = json.loads(body)
    assert path == "/hook?team=a"
    is_genuine, header = example(), headers["styleid-signature"]
    assert is_genuine(header, body, SECRET)
    assert not is_genuine(header, body + b" ", SECRET)
    assert not is_genuine(header, body, "another secret of some length")
    old = webhook.signature(SECRET.encode(), int(time.time()) - 1000, body)
    assert not is_genuine(old, body, SECRET)
    assert b"anna" not in body
    assert b"empty" not in body
    assert told.pop("at")
    assert told == {
        "event": "job.done", "job": job, "state": "done", "needs_review": True, "files": 2, "written": 1,
        "withheld": 1, "faces": {"obscured": 1}, "obscured_against_method": 0,
    }  # fmt: skip
    assert client.post(f"/v1/jobs/{job}/approve").status_code == 200
    receiver.wait(2)
    assert json.loads(receiver.got[1][2])["needs_review"] is False
    client.delete(f"/v1/jobs/{job}")


@pytest.mark.parametrize("status", [500, 302, 404])
def test_a_notice_is_repeated_until_accepted_without_redirects(client_of, receiver, jpeg, status) -> None:
    receiver.statuses = [status, status]
    client = client_of(ServeOptions(webhook=receiver.url))
    start(client, [("a.jpg", jpeg)], PLAIN)
    receiver.wait(3)
    until = time.monotonic() + 30
    while client.service.store.due_notices(time.time() + 1e6):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert {path for path, _, _ in receiver.got} == {"/hook?team=a"}
    assert len({headers["styleid-delivery"] for _, headers, _ in receiver.got}) == 1
    assert len(receiver.got) == 3


def test_the_next_service_sends_pending_notices(client_of, receiver, tmp_path) -> None:
    store = open_store(open_folder(tmp_path / "data"))
    store.note_ends(True)
    store.add_job(Job("a" * 16, "local", "running", time.time(), time.time() + 60, {}))
    store.move("a" * 16, "failed", among=("running",), error="no room")
    store.close()
    client_of(ServeOptions(data=tmp_path / "data", webhook=receiver.url))
    receiver.wait(1)
    told = json.loads(receiver.got[0][2])
    assert (told["event"], told["job"], told["files"]) == ("job.failed", "a" * 16, 0)


def test_a_notice_is_dropped_after_the_last_attempt(client_of, receiver, jpeg, monkeypatch, caplog) -> None:
    monkeypatch.setattr(webhook, "MOST_TRIES", 2)
    receiver.statuses = [500] * 9
    client = client_of(ServeOptions(webhook=receiver.url))
    start(client, [("a.jpg", jpeg)], PLAIN)
    receiver.wait(2)
    until = time.monotonic() + 30
    while client.service.store.due_notices(time.time() + 1e6):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert len(receiver.got) == 2
    assert "could not be delivered" in caplog.text


def test_without_a_webhook_no_notice_is_stored(client, jpeg) -> None:
    client.ended(start(client, [("a.jpg", jpeg)], PLAIN))
    assert client.service.store.due_notices(time.time() + 1e6) == []


@pytest.mark.parametrize(
    ("url", "hosts", "secret", "what"),
    [
        ("ftp://example.org/", (), SECRET, "is not a URL such as"),
        ("https://", (), SECRET, "is not a URL such as"),
        ("https://a:b@example.org/", (), SECRET, "is not a URL such as"),
        ("https://example.org:x/", (), SECRET, "is not a valid URL"),
        ("http://example.org/", (), SECRET, "without encryption"),
        ("https://example.org/", ("example.com",), SECRET, "not among the hosts"),
        ("https://example.org/", (), "short", "at least 16"),
    ],
)
def test_invalid_webhooks_are_refused(url, hosts, secret, what) -> None:
    with pytest.raises(OptionError, match=what):
        Webhook.read(url, None, hosts, secret, allow_insecure=False)


def test_the_secret_comes_from_a_file(tmp_path) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    hook = Webhook.read("https://Example.org/h", path, ("example.org",), allow_insecure=False)
    assert hook.secret == SECRET.encode()
    with pytest.raises(OptionError, match="cannot be read"):
        Webhook.read("https://example.org/h", tmp_path / "none", (), allow_insecure=False)
