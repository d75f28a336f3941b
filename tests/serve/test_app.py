"""Access, headers and errors of all addresses, the OpenAPI document and the command `styleid serve`."""

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator

import pytest

from styleid.serve.guard import HEADERS, MOST_BODY
from styleid.serve.problems import problem
from styleid.serve.service import Service
from tests.serve.conftest import ROOT

pytestmark = pytest.mark.versions


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/healthz", {}, 200),
        ("/healthz", {"host": "localhost:8765"}, 200),
        ("/healthz", {"host": "127.0.0.1:8765"}, 200),
        ("/healthz", {"host": "[::1]:8765"}, 200),
        ("/healthz", {"host": "LOCALHOST"}, 200),
        ("/healthz", {"host": "example.org"}, 421),
        ("/healthz", {"host": "localhost.example.org"}, 421),
        ("/healthz", {"host": "127.0.0.2"}, 421),
        ("/healthz", {"host": ""}, 421),
        ("/healthz", {"host": "["}, 421),
        ("/healthz", {"origin": "http://localhost"}, 200),
        ("/healthz", {"origin": "http://localhost:81"}, 403),
        ("/healthz", {"origin": "http://example.org"}, 403),
        ("/healthz", {"origin": "null"}, 403),
        ("/healthz", {"sec-fetch-site": "same-origin"}, 200),
        ("/healthz", {"sec-fetch-site": "none"}, 200),
        ("/healthz", {"sec-fetch-site": "same-site"}, 403),
        ("/healthz", {"sec-fetch-site": "cross-site"}, 403),
        ("/v1/nothing", {}, 404),
        ("/docs", {}, 404),
        ("/redoc", {}, 404),
        ("/v1/anonymize", {}, 405),
    ],
)
def test_access_and_headers(client, path, headers, status) -> None:
    answer = client.get(path, headers=headers)
    assert answer.status_code == status
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert answer.headers["cache-control"] == "no-store"
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/v1/jobs", "GET, POST"), ("/v1/jobs/x", "DELETE, GET"), ("/v1/session", "DELETE, GET, POST"),
     ("/v1/anonymize", "POST"), ("/healthz", "GET")],
)  # fmt: skip
def test_a_wrong_method_lists_the_allowed_ones(client, path, methods) -> None:
    answer = client.request("OPTIONS", path)
    assert (answer.status_code, answer.headers["allow"]) == (405, methods)


@pytest.mark.parametrize("path", ["/v1/session", "/v1/jobs/x/photos/1"])
def test_large_bodies_are_refused(client, path) -> None:
    method = "POST" if path == "/v1/session" else "PATCH"
    large = b'{"token": "' + bytes(MOST_BODY) + b'"}'

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(large), 100_000):
            yield large[at : at + 100_000]

    for content in (large, chunks()):
        answer = client.request(method, path, content=content, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


def test_details_are_shortened_and_encodable() -> None:
    body = problem(422, "\ud800" + "x" * 5000).body
    assert len(json.loads(body)["detail"]) == 1000


def test_an_internal_error_reveals_nothing(client_of, jpeg, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(f"the file {__file__} is secret")

    monkeypatch.setattr(Service, "count", fail)
    answer = client_of().post("/v1/anonymize", files={"file": ("a.jpg", jpeg)})
    assert answer.status_code == 500
    assert answer.json()["title"] == "Internal Server Error"
    assert "secret" not in answer.text
    assert ".py" not in answer.text
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_the_document_describes_every_path_with_examples(client) -> None:
    document = client.get("/openapi.json").json()
    assert {"/v1/anonymize", "/v1/detect", "/healthz", "/metrics"} <= set(document["paths"])
    form = document["paths"]["/v1/anonymize"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"file", "seed", "privacy", "method"} <= set(form["properties"])
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    assert "ProblemBody" in document["components"]["schemas"]
    assert document["components"]["schemas"]["ProblemBody"]["properties"]["detail"]["examples"]
    assert document["components"]["schemas"]["DetectedFace"]["properties"]["box"]["examples"]
    assert "http://" not in text
    assert "https://" not in text


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def test_the_command_serves_until_it_is_interrupted(free_port, tmp_path) -> None:
    command = [sys.executable, "-m", "styleid", "serve", "--port", str(free_port), "--data", str(tmp_path / "data")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{free_port}" in process.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/healthz", timeout=30) as answer:
            assert json.load(answer)["status"] == "ok"
            assert "server" not in answer.headers
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors


def test_a_port_in_use_is_a_usage_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "styleid", "serve", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)
    assert (done.returncode, "cannot listen on" in done.stderr) == (2, True)
