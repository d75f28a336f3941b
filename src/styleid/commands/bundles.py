"""styleid bundles: list, show, verify, build."""

from __future__ import annotations

import sys
from typing import Any

from styleid.bundles import registry
from styleid.bundles.build_options import BuildOptions
from styleid.bundles.registry import DEFAULT, built_in, find_bundle
from styleid.bundles.spec import BundleSpec, purpose
from styleid.errors import MissingDependencyError

RECIPES = ("ffhq1024",)


def list_bundles() -> int:
    """Print the built-in bundles, with a star at the default; return the exit status."""
    for name, folder in built_in().items():
        spec = BundleSpec.read(folder)
        size = sum(file.bytes for file in spec.networks.values()) / 1e6
        mark = "*" if name == DEFAULT else " "
        print(f"{mark} {name} {spec.version}  {spec.resolution} px, {spec.shape_text}, {size:.1f} MB")
    return 0


def show_bundle(name: str) -> int:
    """Print the contents of a bundle and its measured figures; return the exit status."""
    folder = find_bundle(name)
    spec = BundleSpec.read(folder)
    print(f"{spec.name} {spec.version}\n{spec.provenance}\nLicence: {spec.licence}\nFolder: {folder}\n")
    print(f"{spec.resolution} px, W+ {spec.shape_text}, levels:")
    for level, (first, last) in spec.levels.items():
        print(f"  {level:12} rows {first} to {last}")
    print("similarity of strangers, by false-match rate:")
    for fmr, strangers in spec.thresholds.items():
        print(f"  {fmr:<8g} {strangers.low:+.3f} to {strangers.high:+.3f}")
    print("networks:")
    for role, file in spec.networks.items():
        print(f"  {role:12} {file.bytes / 1e6:5.1f} MB  {file.sha256[:12]}  opset {file.opset}  {purpose(role, spec)}")
    if spec.generators:
        print("generators, by the width of a face in its photo:")
    for one in spec.generators:
        sizes = "any" if one.most_face_px is None else f"up to {one.most_face_px:g} px"
        print(f"  {one.network:12} {sizes}, drawn at {one.side} px")
    if spec.quality:
        print("measured:")
        _print_figures(spec.quality, "  ")
    return 0


def verify_bundle(name: str) -> int:
    """Check every file of a bundle; return 1 if something is wrong, else 0."""
    problems = registry.verify_bundle(name)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"{name}: every file is what bundle.json says")
    return 1 if problems else 0


def build_bundle(options: BuildOptions) -> int:
    """Build a bundle from upstream's files, check it, and print how to use it; return the exit status."""
    try:
        from styleid.lab.upstream.bundle import build_ffhq_bundle
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"{error.name}, which styleid bundles build needs,", "'styleid[lab]'") from error
    folder = build_ffhq_bundle(options)
    status = verify_bundle(str(folder))
    if status == 0:
        print(f"Type: styleid anonymize PHOTOS --out DIR --bundle {folder}")
    return status


def _print_figures(figures: Any, indent: str) -> None:
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{indent}{name}:")
            _print_figures(value, indent + "  ")
        else:
            print(f"{indent}{name}: {value}")
