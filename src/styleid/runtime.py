"""Open ONNX Runtime sessions. All networks are opened here, with the same settings."""

from __future__ import annotations

import importlib.metadata
import os
import threading
from collections.abc import Callable, Iterator
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
"""ONNX Runtime's provider and the package that contains it, by device. CoreML's is only in the package for macOS."""
_BEFORE_CPU: dict[Device, tuple[str, ...]] = {"tensorrt": ("CUDAExecutionProvider",)}
"""Providers that run the nodes that a device's provider does not support, before the CPU is used."""
_ERRORS_ONLY = 3
_LARGE_BYTES = 1 << 25
"""File size from which a network is opened so that it takes less memory, although it runs up to a tenth slower: weights
are not copied into the fastest layout, and memory is released after each run."""
_DENORMAL = 1e-20
"""Weights below this magnitude are set to zero."""


def available_devices() -> list[Device]:
    """Return the devices for which the installed ONNX Runtime has a provider."""
    import onnxruntime

    installed = onnxruntime.get_available_providers()
    return [device for device, (provider, _) in _PROVIDERS.items() if provider in installed]


def shadowed_runtime() -> dict[Device, str]:
    """Return the devices whose build of ONNX Runtime is installed but hidden by another build.

    All builds install the same Python package; if several are installed, only one is used.

    Returns:
        For each hidden device, a message with the command that repairs the installation.
    """
    missing: list[Device] = [device for device in DEVICES if device not in available_devices()]
    packages: dict[Device, str] = {device: _PROVIDERS[device][1] for device in missing}
    return {device: _hidden_message(package) for device, package in packages.items() if _is_hidden(package)}


def _is_hidden(package: str) -> bool:
    """Return whether the package of a missing provider is installed but another build of ONNX Runtime is used."""
    try:
        return package != "onnxruntime" and bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def _hidden_message(package: str) -> str:
    return (
        f"{package} is installed, but another build of ONNX Runtime is installed too and is used instead. "
        f"Type: pip uninstall -y onnxruntime {package} && pip install --no-deps {package}"
    )


_most_threads = 0
_limits: list[int] = []
"""Of those who limit threads for a while, which several threads may do at once."""


def cpu_threads() -> int:
    """Return the number of threads of a new session: the cores that this process may use, at most `limit_threads`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return min([cores, *([_most_threads] if _most_threads else []), *_limits])


def limit_threads(most: int) -> None:
    """Limit the threads of each session that this process opens from now on.

    Args:
        most: Largest number of threads; 0 for no limit.
    """
    global _most_threads  # noqa: PLW0603
    _most_threads = most


def end_with_parent() -> None:
    """End this worker process as soon as the process that started it has ended.

    Without this, a worker whose parent was killed could still write files while a new run does the same work. Nothing
    happens in a process that was not started by multiprocessing.
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
    """Limit the threads of the sessions that are opened inside a `with` block; a lower limit that is set stays.

    Args:
        most: Largest number of threads, at least 1.
    """
    _limits.append(most)
    try:
        yield
    finally:
        _limits.remove(most)


def open_session(model: Path | bytes, device: Device = "cpu", *, plain: bool = False) -> Any:
    """Open a session on a device. If the device's provider is missing, raise an error instead of using the CPU.

    Args:
        model: An ONNX file, or its content. Transpose nodes that change nothing are removed, because ONNX Runtime up to
            1.29 computes wrong results with them (`styleid.onnx_file`).
        device: Where to run.
        plain: Open the file unchanged and without ONNX Runtime's optimisations, as a reference to compare with.

    Returns:
        An `onnxruntime.InferenceSession`.

    Raises:
        MissingDependencyError: If the device's provider is not installed.
        OptionError: If the device is unknown, another build of ONNX Runtime hides its provider, or the provider cannot
            start.
    """
    import onnxruntime

    if device not in _PROVIDERS:
        raise OptionError("device", f"'{device}' is unknown; choose one of {', '.join(DEVICES)}.")
    provider, package = _PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        if _is_hidden(package):
            raise OptionError("device", _hidden_message(package))
        if device == "coreml":
            raise OptionError("device", "CoreML is in ONNX Runtime's package for macOS only. Use `device=cpu`.")
        raise MissingDependencyError(f"the ONNX Runtime provider for '{device}'", package)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False  # a pattern is kept for each input size, and photos have many sizes
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
    if session.get_providers()[0] != provider:  # ONNX Runtime continues with the next provider and only logs this
        raise OptionError("device", f"{provider} cannot start: its driver or libraries are missing or too old. "
                          "Use `device=cpu`.")  # fmt: skip
    return session


@cache
def _share_arena() -> bool:
    """Register one memory arena for all sessions of this process; return whether that worked.

    Networks run one after the other. With an arena of its own, each would keep the memory of its largest batch.
    """
    import onnxruntime

    kind, memory = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    where = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, memory)
    try:
        onnxruntime.create_and_register_allocator(where, onnxruntime.OrtArenaCfg({}))
    except (RuntimeError, AttributeError, ValueError):  # a build without arenas, or another library has registered one
        return False
    return True


class LazySession:
    """An ONNX Runtime session that is opened when it is first used, once for all threads."""

    def __init__(self, opening: Callable[[], Any]) -> None:
        """Open nothing yet. `opening` returns the session."""
        self._opening, self._opened, self._lock = opening, None, threading.Lock()

    def get(self) -> Any:
        """Return the session."""
        with self._lock:
            if self._opened is None:
                self._opened = self._opening()
            return self._opened


def run_batched(session: Any, inputs: dict[str, np.ndarray], batch: int = 16) -> list[np.ndarray]:
    """Run a session on batches and join the outputs.

    Args:
        session: An ONNX Runtime session.
        inputs: Arrays by input name, all of the same length n along the first axis.
        batch: Largest number of items per call.

    Returns:
        The session's outputs, each of length n along the first axis.
    """
    n = len(next(iter(inputs.values())))
    slices = [slice(i, i + batch) for i in range(0, n, batch)] or [slice(0, 0)]
    parts = [session.run(None, {name: value[part] for name, value in inputs.items()}) for part in slices]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def tidy_model(path: Path, *, free_dimensions: bool = False) -> bytes:
    """Return an ONNX model from another project, changed so that ONNX Runtime runs it fast.

    - Weights are removed from the list of inputs, where they prevent constant folding.
    - Inputs that no node uses are removed; ONNX Runtime would require them.
    - Quantised weights are converted to floats once, instead of in every run.
    - Weights with a magnitude below 1e-20 become zero; denormal numbers made one network 20 times slower.

    Args:
        path: An ONNX file.
        free_dimensions: Give axes 0, 2 and 3 of all inputs and outputs a variable length.

    Returns:
        The content of the changed file.
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
    """Yield the names of a graph's outputs and of all values that its nodes read, including nested graphs."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _used_names(inner)


def _unpack_weights(graph: Any) -> None:
    """Replace DequantizeLinear nodes that read only weights by the float weights that they compute."""
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
    """Compute ONNX's DequantizeLinear: (values - zero) * scale.

    Args:
        values: Quantised integers, any shape.
        scale: One number, one per position along the axis, or one per block of positions.
        zero: Zero points, shaped like scale; None for 0.
        axis: The axis along which scale and zero vary.
        block: Number of positions per block; 0 without blocks.

    Returns:
        The floats, with the shape of values and the dtype of scale.
    """

    def spread(part: np.ndarray) -> np.ndarray:
        if part.ndim == values.ndim and block:
            return np.repeat(part, block, axis)[tuple(slice(length) for length in values.shape)]
        if part.ndim == 1 and values.ndim > 1:
            return part.reshape([-1 if place == axis % values.ndim else 1 for place in range(values.ndim)])
        return part

    shifted = values.astype(np.float32) - (0.0 if zero is None else spread(zero).astype(np.float32))
    return (shifted * spread(scale).astype(np.float32)).astype(scale.dtype)
