"""The service matches its OpenAPI document: schemathesis tests every address without a finding."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serve.conftest import ROOT

pytest.importorskip("schemathesis", reason="the service's document is tried with schemathesis, of the extra dev")
pytestmark = pytest.mark.slow

CONFIG = Path(__file__).with_name("schemathesis.toml")
SEED, EXAMPLES = 31, 8


@pytest.fixture
def desk(tmp_path, jpeg) -> Iterator[tuple[str, str]]:
    """Start a service with one job that is done; return its address and the job."""
    command = [sys.executable, "-m", "styleid", "serve", "--port", "0", "--max-jobs", "2000"]
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [*command, "--data", str(tmp_path / "data")], stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    address = process.stdout.readline().split(" on ")[1].split()[0]
    with httpx.Client(base_url=address, timeout=60) as client:
        job = client.post("/v1/jobs", files={"file": ("a.jpg", jpeg)}, data={"settings": '{"seed": 7}'}).json()["id"]
        while client.get(f"/v1/jobs/{job}").json()["state"] != "done":
            pass
    yield address, job
    process.terminate()
    process.communicate(timeout=60)
    log.close()
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_the_service_matches_its_document(desk, tmp_path) -> None:
    address, job = desk
    (tmp_path / "schemathesis.toml").write_text(CONFIG.read_text().replace("A-JOB", job))
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program is not None
    arguments = ["--seed", str(SEED), "--max-examples", str(EXAMPLES), "--continue-on-failure", "--no-color"]
    done = subprocess.run(
        [program, "--config-file", str(tmp_path / "schemathesis.toml"), "run", f"{address}/openapi.json", *arguments],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
