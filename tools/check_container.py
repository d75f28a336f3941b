"""Check the Dockerfile's steps and compose.yaml's limits without Docker, in a Debian root made for it.

Usage, as root, on Debian with debootstrap installed: `python tools/check_container.py`. It takes some minutes and
about 2 GB below --work, and needs a Debian mirror and a package index.

The image that the Dockerfile begins with has its own Python; here Debian's takes its place, in a virtual environment.
COPY, RUN and ENTRYPOINT are read from the Dockerfile. Then the service runs as compose.yaml has it: a user without
rights, no capabilities, no new privileges, a read-only root, a temporary /tmp and one volume. It is asked for a token,
does a job, and must leave nothing but its database on the volume.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "examples" / "group.jpg"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_PATH = "/venv/bin:/usr/local/bin:/usr/bin:/bin"
_PORT = 18765
_START_S = 120.0
_NEEDED = ("debootstrap", "chroot", "unshare", "setpriv", "mount")


def main() -> int:
    """Make the image, run it and check it; ends the process with a message if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder for the Debian root, which stays; a temporary one without it")
    parser.add_argument("--release", default="bookworm")
    parser.add_argument("--mirror", default="", help="where Debian's packages come from, if not from debootstrap's own")
    args = parser.parse_args()
    if missing := [name for name in _NEEDED if shutil.which(name) is None]:
        sys.exit(f"{', '.join(missing)} is missing: apt-get install debootstrap util-linux coreutils mount")
    if os.geteuid() != 0:
        sys.exit("Making a Debian root needs root: sudo python tools/check_container.py")
    with _folder(args.work) as work:
        base, image, volume = work / "base", work / "image", work / "volume"
        if not (base / "usr/bin/python3").exists():
            _run("debootstrap", "--variant=minbase", "--include=python3,python3-venv", args.release, base,
                 *([args.mirror] if args.mirror else []))  # fmt: skip
        for old in (image, volume):
            shutil.rmtree(old, ignore_errors=True)
        _run("cp", "--archive", base, image)
        build(image)
        shutil.move(image / "data", volume)
        (image / "data").mkdir()
        use(image, volume)
    print("the container's steps work: no rights, read-only root, one volume")
    return 0


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="styleid-container-") as folder:
        yield Path(folder)


def instructions() -> list[tuple[str, str]]:
    """Return the name and text of each of the Dockerfile's instructions."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


def build(image: Path) -> None:
    """Execute COPY and RUN in the Debian root."""
    (image / "app").mkdir()
    if CERTIFICATES.exists():  # of this machine, which may reach the package index by a proxy with its own
        (image / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
        shutil.copy(CERTIFICATES, image / "etc/ssl/certs")
    shutil.copy("/etc/resolv.conf", image / "etc/resolv.conf")
    _run("chroot", image, "python3", "-m", "venv", "/venv")
    for name, text in instructions():
        if name == "COPY":
            _copy(*text.split(), image / "app")
        elif name == "RUN":
            _run("chroot", image, "sh", "-ec", f"cd /app && {text}", PATH=f"{_PATH}:/usr/sbin:/sbin")


def _copy(*names: str | Path) -> None:
    *sources, _, app = names
    assert isinstance(app, Path)
    for source in (ROOT / str(name) for name in sources):
        if source.is_dir():
            shutil.copytree(source, app / source.name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, app)


def confined(image: Path, volume: Path, *command: str) -> list[str]:
    """Return the command that runs another one with the limits of compose.yaml."""
    rooted, data = shlex.quote(str(image)), shlex.quote(str(volume))
    mounts = (
        f"mount --bind {rooted} {rooted} && mount --bind {data} {rooted}/data && mount -t tmpfs tmpfs {rooted}/tmp"
        f" && mount -t proc proc {rooted}/proc && mount -o remount,ro,bind {rooted}"
    )
    uid = re.search(r"--uid (\d+)", dict(instructions())["RUN"])
    assert uid is not None, "the Dockerfile makes no user"
    run = ["setpriv", f"--reuid={uid[1]}", f"--regid={uid[1]}", "--clear-groups", "--no-new-privs",
           "--bounding-set=-all", "--inh-caps=-all", *command]  # fmt: skip
    inside = f"export PATH={_PATH} HOME=/home/desk; exec {shlex.join(run)}"
    chrooted = shlex.join(["chroot", str(image), "sh", "-ec", inside])
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", f"{mounts} && exec {chrooted}"]


def use(image: Path, volume: Path) -> None:
    """Make a token, start the service, use it, and check its rights and its files."""
    told = dict(instructions())
    made = _run(*confined(image, volume, "styleid", "serve", "token", "add", "anna", "--data", "/data"), capture=True)
    token = made.split()[0]
    command = [*json.loads(told["ENTRYPOINT"]), *json.loads(told["CMD"]), "--name", "localhost", "--port", str(_PORT)]
    process = subprocess.Popen(confined(image, volume, *command), stdout=subprocess.PIPE, text=True)
    try:
        _wait()
        service = _service_of(process.pid)
        _look_at(service)
        _try(token)
        os.kill(int(service.name), signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
    left = {path.name for path in volume.rglob("*") if path.is_file()}
    _require(left == {"desk.sqlite3", "lock"}, f"the volume holds {sorted(left)}")
    _require(not any((image / "data").iterdir()), "the service wrote beside the volume")


def _wait() -> None:
    until = time.monotonic() + _START_S
    while True:
        try:
            with urllib.request.urlopen(f"http://localhost:{_PORT}/healthz", timeout=10):
                return
        except OSError:
            _require(time.monotonic() < until, "the service does not answer")
            time.sleep(0.5)


def _service_of(parent: int) -> Path:
    """Return the folder in /proc of the service's process, the last descendant of a process."""
    found = parent
    while children := Path(f"/proc/{found}/task/{found}/children").read_text().split():
        found = int(children[0])
    return Path(f"/proc/{found}")


def _look_at(process: Path) -> None:
    """Check the rights of the running service."""
    lines = (line.split(":", 1) for line in (process / "status").read_text().splitlines())
    status = {name: rest.split() for name, rest in lines}
    _require("0" not in status["Uid"] + status["Gid"], f"the service runs as {status['Uid']}")
    _require({int(status[name][0], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {0}, "it has rights")
    _require(status["NoNewPrivs"] == ["1"], "it could get more rights")
    mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    options = {line[4]: line[5].split(",") for line in mounts}
    _require("ro" in options["/"], "its root can be written")
    writable = {place for place, given in options.items() if "rw" in given} - {"/proc"}
    _require(writable == {"/data", "/tmp"}, f"it can write below {sorted(writable)}")


def _try(token: str) -> None:
    """Check that requests without a token are refused, and that a job is processed and removed."""
    _require(_ask("GET", "/v1/jobs", "") == 401, "it asks for no token")
    sys.path.insert(0, str(ROOT / "src"))
    from styleid.serve.client import Client

    with Client(f"http://localhost:{_PORT}", token) as desk, tempfile.TemporaryDirectory() as folder:
        _require(desk.anonymize(PHOTO, seed=7).figures["faces"] > 0, "it finds no face")
        job = desk.make_job([PHOTO], seed=7)["id"]
        _require(desk.wait(job)["state"] == "done", "its job is not done")
        _require(desk.download(job, Path(folder) / "results.zip").stat().st_size > 0, "the download is empty")
        desk.delete(job)


def _ask(method: str, path: str, token: str) -> int:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"http://localhost:{_PORT}{path}", method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def _require(holds: bool, problem: str) -> None:
    if not holds:
        sys.exit(f"FAILED: {problem}")


def _run(*command: str | Path, capture: bool = False, **variables: str) -> str:
    """Run a command and return its output, if asked for; ends the process if it fails."""
    arguments = [str(part) for part in command]
    done = subprocess.run(
        arguments, check=False, text=True, stdout=subprocess.PIPE if capture else None, env=os.environ | variables
    )
    if done.returncode:
        sys.exit(f"FAILED: {shlex.join(arguments)[:200]} ends with status {done.returncode}")
    return done.stdout or ""


if __name__ == "__main__":
    sys.exit(main())
