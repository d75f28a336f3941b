"""Access: tokens, sessions, and jobs of other people."""

import json
import re
import stat
import threading
from collections.abc import Iterator

import pytest

from styleid.cli import main
from styleid.errors import OptionError
from styleid.serve.options import ServeOptions
from styleid.serve.tokens import COOKIE, new_token

pytestmark = pytest.mark.versions


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def people(client_of):
    """Return a service for which Anna and Ben have tokens."""
    client = client_of()
    tokens = {name: new_token(client.service.store, name) for name in ("anna", "ben")}
    return client, tokens


def test_once_a_token_exists_every_request_needs_one(client_of, jpeg) -> None:
    client = client_of()
    assert client.get("/v1/jobs").status_code == 200
    assert client.get("/v1/session").json() == {"name": "local", "needs_token": False}
    token = new_token(client.service.store, "anna")
    for path in ("/v1/jobs", "/metrics", "/v1/jobs/x"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert client.get(path, headers=bearer("styleid_wrong")).status_code == 401
        assert client.get(path, headers=bearer(token)).status_code in (200, 404)
    for path in ("/v1/anonymize", "/v1/detect", "/v1/jobs"):
        assert client.post(path, files={"file": ("a.jpg", jpeg)}).status_code == 401
    assert client.get("/healthz").status_code == 200
    assert client.get("/v1/session").json() == {"name": None, "needs_token": True}


def test_nobody_sees_the_jobs_of_others(people, jpeg) -> None:
    client, tokens = people
    files = {"file": ("a.jpg", jpeg)}
    settings = {"settings": '{"method": "none"}'}
    job = client.post("/v1/jobs", files=files, data=settings, headers=bearer(tokens["anna"])).json()["id"]
    assert [one["id"] for one in client.get("/v1/jobs", headers=bearer(tokens["anna"])).json()] == [job]
    ben, anna = bearer(tokens["ben"]), bearer(tokens["anna"])
    client.ended(job, headers=anna)
    assert client.get("/v1/jobs", headers=ben).json() == []
    tried = 0
    for method, path, body in every_address(client):
        if "{job}" in path:
            filled = re.sub(r"{\w+}", "1", path.replace("{job}", job).replace("{side}", "before"))
            told = {"headers": ben} if body is None else {"headers": ben, "json": body}
            assert client.request(method, filled, **told).status_code == 404, (method, path)
            tried += 1
    assert tried >= 13
    assert client.get(f"/v1/jobs/{job}", headers=anna).json()["state"] == "done"
    assert client.get(f"/v1/jobs/{job}/faces", headers=anna).json()["can_undo"] is False


def test_removing_a_token_ends_event_streams(people, jpeg) -> None:
    client, tokens = people
    anna = bearer(tokens["anna"])
    files = [("file", (f"{k}.jpg", jpeg)) for k in range(30)]
    job = client.post("/v1/jobs", files=files, data={"settings": '{"seed": 7}'}, headers=anna).json()["id"]
    threading.Timer(0.5, client.service.store.remove_token, ("anna",)).start()
    answer = client.get(f"/v1/jobs/{job}/events", headers=anna)
    assert '"state":"done"' not in answer.text.replace(" ", "")
    assert client.get("/v1/jobs", headers=anna).status_code == 401
    client.service.worker.delete(job)


def every_address(client) -> Iterator[tuple[str, str, object]]:
    """Yield the method and path of each operation in the OpenAPI document, with a valid body if it takes one."""
    bodies = {"people": {"do": "keep"}, "session": {"token": "x"}}
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method, operation in operations.items():
            kinds = operation.get("requestBody", {}).get("content", {})
            found = next((body for name, body in bodies.items() if name in path), {})
            yield method.upper(), path, found if "application/json" in kinds else None


def test_every_address_needs_a_token(people) -> None:
    client, _ = people
    for method, path, body in every_address(client):
        if path in ("/healthz", "/v1/session"):  # they contain no data of users
            continue
        answer = client.request(method, re.sub(r"{\w+}", "1", path), **({} if body is None else {"json": body}))
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_browser_signs_in_and_out(people) -> None:
    client, tokens = people
    assert client.post("/v1/session", json={"token": "wrong"}).status_code == 401
    answer = client.post("/v1/session", json={"token": tokens["anna"]})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert tokens["anna"] not in cookie
    value = answer.cookies[COOKIE]
    with_cookie = {"cookie": f"{COOKIE}={value}"}
    assert client.get("/v1/session", headers=with_cookie).json()["name"] == "anna"
    assert client.get("/v1/jobs", headers=with_cookie).status_code == 200
    foreign = with_cookie | {"origin": "http://example.org"}
    assert client.post("/v1/jobs", files={"file": ("a.jpg", b"")}, headers=foreign).status_code == 403
    assert client.delete("/v1/session", headers=with_cookie).status_code == 204
    assert client.get("/v1/jobs", headers=with_cookie).status_code == 401


def test_tokens_are_kept_as_hashes_and_removing_one_signs_out(people) -> None:
    client, tokens = people
    cookie = client.post("/v1/session", json={"token": tokens["ben"]}).cookies[COOKIE]
    folder = client.service.options.data_folder
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert tokens["ben"].encode() not in data
            assert cookie.encode() not in data
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or path.name.endswith(("-wal", "-shm"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert client.service.store.remove_token("ben")
    assert client.get("/v1/jobs", headers=bearer(tokens["ben"])).status_code == 401
    assert client.get("/v1/jobs", headers={"cookie": f"{COOKIE}={cookie}"}).status_code == 401


def test_tokens_are_made_listed_and_removed_from_the_terminal(tmp_path, capsys) -> None:
    data = ["--data", str(tmp_path / "data")]
    assert main(["serve", "token", "add", "anna", *data]) == 0
    token = capsys.readouterr().out.split()[0]
    assert token.startswith("styleid_")
    assert main(["serve", "token", "add", "anna", *data]) == 2
    assert main(["serve", "token", "list", *data]) == 0
    assert "anna" in capsys.readouterr().out
    assert main(["serve", "token", "remove", "anna", *data]) == 0
    assert main(["serve", "token", "remove", "anna", *data]) == 2


@pytest.mark.parametrize("name", ["", "local", "x" * 65, "a\nb"])
def test_some_names_are_refused(people, name) -> None:
    with pytest.raises(OptionError, match=r"^owner: "):
        new_token(people[0].service.store, name)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host": "0.0.0.0"}, "without encryption"),
        ({"host": "0.0.0.0", "no_token": True}, "which need tokens"),
        ({"host": "192.0.2.1", "no_token": True, "allow_insecure": True}, "which need tokens"),
        ({"host": "0.0.0.0", "allow_insecure": True}, "styleid serve token add"),
        ({"expire_hours": 0}, "must be more than 0"),
        ({"port": 70000}, "must lie between 0 and 65535"),
    ],
)
def test_unsafe_hosts_are_usage_errors(tmp_path, capsys, options, words) -> None:
    given = [f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}") for name, value in options.items()]
    port = [] if "port" in options else ["--port", "0"]
    assert main(["serve", *given, *port, "--data", str(tmp_path / "data")]) == 2
    assert words in capsys.readouterr().err


def test_a_folder_that_others_can_read_is_refused(tmp_path, client_of) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data").chmod(0o755)
    with pytest.raises(OptionError, match="chmod 700"):
        client_of(ServeOptions(data=tmp_path / "data"))


def test_two_services_do_not_share_a_folder(tmp_path, client_of) -> None:
    client_of(ServeOptions(data=tmp_path / "data"))
    with pytest.raises(OptionError, match="another service"):
        client_of(ServeOptions(data=tmp_path / "data"))


def test_a_public_service_accepts_addresses_and_its_names(client_of, tmp_path) -> None:
    folder = tmp_path / "data"
    assert main(["serve", "token", "add", "anna", "--data", str(folder)]) == 0
    options = ServeOptions(host="0.0.0.0", allow_insecure=True, name=("desk.example.org",), data=folder)
    client = client_of(options)
    for host, status in [("192.0.2.7:8765", 200), ("desk.example.org", 200), ("other.example.org", 421)]:
        assert client.get("/healthz", headers={"host": host}).status_code == status
    assert client.get("/v1/jobs").status_code == 401
    assert json.loads(client.get("/v1/session").text)["needs_token"] is True
