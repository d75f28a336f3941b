"""Open ONNX Runtime sessions, the one way for every network."""

from __future__ import annotations

import importlib.metadata
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from styleid.errors import MissingDependencyError, OptionError
from styleid.onnx_file import without_idle_transposes

Device = Literal["cpu", "cuda", "tensorrt", "coreml"]
DEVICES: tuple[Device, ...] = get_args(Device)

_PROVIDERS: dict[Device, tuple[str, str]] = {
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "tensorrt": ("TensorrtExecutionProvider", "onnxruntime-gpu"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime"),
}
"""By device, ONNX Runtime's provider and the package whose build has it; CoreML's is in the one for macOS only."""
_BEFORE_CPU: dict[Device, tuple[str, ...]] = {"tensorrt": ("CUDAExecutionProvider",)}
"""What runs the nodes that the provider does not, before the CPU does."""
_ERRORS_ONLY = 3
_LARGE_BYTES = 1 << 25
"""From this size on memory counts more than the last tenth of speed: weights are not copied into the layout that is
fastest, and what a run took is given back."""
_DENORMAL = 1e-20


def available_devices() -> list[Device]:
    """List the devices whose provider is installed."""
    import onnxruntime

    installed = onnxruntime.get_available_providers()
    return [device for device, (provider, _) in _PROVIDERS.items() if provider in installed]


def shadowed_runtime() -> dict[Device, str]:
    """Say for which devices ONNX Runtime's build is installed but not used, and what to type.

    All builds install the same Python package, so where there are several, one hides the others.
    """
    missing: list[Device] = [device for device in DEVICES if device not in available_devices()]
    packages = {device: _PROVIDERS[device][1] for device in missing}
    return {device: _says_shadowed(package) for device, package in packages.items() if _is_hidden(package)}


def _is_hidden(package: str) -> bool:
    """Say whether a build that has a missing provider is installed; the plain one hides none."""
    try:
        return package != "onnxruntime" and bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def _says_shadowed(package: str) -> str:
    return (
        f"{package} is installed beside another build of ONNX Runtime, which is used instead. "
        f"Type: pip uninstall -y onnxruntime {package} && pip install --no-deps {package}"
    )


_most_threads = 0


def cpu_threads() -> int:
    """Return how many threads one session should use: the cores that this process may run on, or its share of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return min(cores, _most_threads) if _most_threads else cores


def limit_threads(most: int) -> None:
    """Let the sessions that this process opens from now on use at most so many threads; 0 takes the limit away."""
    global _most_threads  # noqa: PLW0603
    _most_threads = most


def end_with_parent() -> None:
    """Let this process, which another one started by multiprocessing, end at once when that one is gone.

    Whoever comes next may do its work already.
    """
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def limited_threads(most: int) -> Iterator[None]:
    """Limit threads as `limit_threads` does, for a while, unless fewer are allowed already."""
    before = _most_threads
    limit_threads(min(most, cpu_threads()))
    try:
        yield
    finally:
        limit_threads(before)


def open_session(model: Path | bytes, device: Device = "cpu", *, plain: bool = False) -> Any:
    """Open a session that runs on the device, and says so rather than fall back in silence.

    model: a file, or the bytes of one; Transpose nodes of it that change nothing are left out, since versions of ONNX
    Runtime up to 1.29 compute wrongly with them. plain: run the file as it is, without ONNX Runtime's optimisations,
    to compare with. Raises MissingDependencyError where the device's provider is not installed, and
    OptionError where another build of ONNX Runtime hides it.
    """
    import onnxruntime

    if device not in _PROVIDERS:
        raise OptionError("device", f"'{device}' is unknown; choose one of {', '.join(DEVICES)}.")
    provider, package = _PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        if _is_hidden(package):
            raise OptionError("device", _says_shadowed(package))
        if device == "coreml":
            raise OptionError("device", "CoreML is in ONNX Runtime's package for macOS only. Use `device=cpu`.")
        raise MissingDependencyError(f"the ONNX Runtime provider for '{device}'", package)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False  # batches and photos differ in size, so each would leave a pattern of its own
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_cpu_mem_arena = False
    elif isinstance(model, Path) and model.stat().st_size > _LARGE_BYTES:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.enable_cpu_mem_arena = False
    elif _share_arena():
        options.add_session_config_entry("session.use_env_allocators", "1")
    providers = [provider, *(() if device == "cpu" else (*_BEFORE_CPU.get(device, ()), "CPUExecutionProvider"))]
    if not plain:
        model = without_idle_transposes(model)
    source = model if isinstance(model, bytes) else str(model)
    session = onnxruntime.InferenceSession(source, options, providers=providers)
    if session.get_providers()[0] != provider:  # ONNX Runtime goes on with the next one and says so on its log only
        raise OptionError("device", f"{provider} cannot start: its driver or libraries are missing or too old. "
                          "Use `device=cpu`.")  # fmt: skip
    return session


@cache
def _share_arena() -> bool:
    """Make the one arena that all sessions of the process draw from, and say whether there is one.

    With an arena each, every network keeps what its largest batch took, although they run one after the other.
    """
    import onnxruntime

    kind, memory = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    where = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, memory)
    try:
        onnxruntime.create_and_register_allocator(where, onnxruntime.OrtArenaCfg({}))
    except (RuntimeError, AttributeError, ValueError):  # a build without arenas, or somebody else's allocator
        return False
    return True


def run_batched(session: Any, inputs: dict[str, np.ndarray], batch: int = 16) -> list[np.ndarray]:
    """Run a session over the first axis in slices of at most `batch` and join the outputs."""
    n = len(next(iter(inputs.values())))
    slices = [slice(i, i + batch) for i in range(0, n, batch)] or [slice(0, 0)]
    parts = [session.run(None, {name: value[part] for name, value in inputs.items()}) for part in slices]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def tidy_model(path: Path, *, free_dimensions: bool = False) -> bytes:
    """Return a model that somebody else exported so that ONNX Runtime is at its best with it.

    Weights that are listed as inputs forbid constant folding, so they are taken off that list, and so are inputs that
    no node uses, for which ONNX Runtime asks nonetheless; weights that are stored as integers would be turned into
    numbers in every run, so they are turned here; weights below 1e-20 are denormal, which made one network twenty times
    slower, and become zero. free_dimensions: let the first, third and fourth axis of inputs and outputs take any
    length, where the file fixes them.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    _unpack_weights(model.graph)
    weights = {tensor.name for tensor in model.graph.initializer}
    used = set(_used_names(model.graph))
    inputs = [value for value in model.graph.input if value.name not in weights and value.name in used]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and (tiny := (value != 0) & (np.abs(value) < _DENORMAL)).any():
            tensor.CopyFrom(numpy_helper.from_array(np.where(tiny, np.float32(0), value), tensor.name))
    if free_dimensions:
        for value in [*model.graph.input, *model.graph.output]:
            for axis, name in ((0, "batch"), (2, f"{value.name}_height"), (3, f"{value.name}_width")):
                value.type.tensor_type.shape.dim[axis].dim_param = name
    return model.SerializeToString()


def _used_names(graph: Any) -> Iterator[str]:
    """Yield the names that the nodes of a graph, and of the graphs inside it, read or that it gives out."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _used_names(inner)


def _unpack_weights(graph: Any) -> None:
    """Put plain weights in the place of DequantizeLinear nodes that read nothing but weights."""
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "DequantizeLinear" and weights.keys() >= set(node.input)]
    for node in nodes:
        parts = [numpy_helper.to_array(weights[name]) for name in node.input]
        numbers = {attribute.name: attribute.i for attribute in node.attribute}
        value = dequantized(*parts, axis=numbers.get("axis", 1), block=numbers.get("block_size", 0))
        graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        graph.node.remove(node)
    still_read = set(_used_names(graph))
    kept = [tensor for tensor in graph.initializer if tensor.name in still_read]
    if nodes:
        del graph.initializer[:]
        graph.initializer.extend(kept)


def dequantized(
    values: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, *, axis: int = 1, block: int = 0
) -> np.ndarray:
    """Return what ONNX's DequantizeLinear makes of integers: (values - zero) * scale, of the scale's type.

    scale, zero: one number, one for each place along the axis, or one for each block of so many places.
    """

    def spread(part: np.ndarray) -> np.ndarray:
        if part.ndim == values.ndim and block:
            return np.repeat(part, block, axis)[tuple(slice(length) for length in values.shape)]
        if part.ndim == 1 and values.ndim > 1:
            return part.reshape([-1 if place == axis % values.ndim else 1 for place in range(values.ndim)])
        return part

    shifted = values.astype(np.float32) - (0.0 if zero is None else spread(zero).astype(np.float32))
    return (shifted * spread(scale).astype(np.float32)).astype(scale.dtype)
