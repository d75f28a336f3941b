"""Remove Transpose nodes that change nothing from an ONNX file before it is opened.

Up to version 1.29, ONNX Runtime merges a Transpose of two axes into the Gemm that follows, without checking the
permutation (`findings/onnxruntime_idle_transpose.sh`). If the permutation keeps the axes in order, the matrix is
transposed by mistake: most batches are refused, and a batch with as many rows as columns silently gives wrong numbers.
This module turns such nodes into Identity nodes, which every version of ONNX Runtime removes.

Convention
----------
An ONNX file is a protocol buffer: a sequence of fields, each a tag (field number * 8 + wire type) and a value. Only the
fields that lead to a Transpose are read; weights are neither copied nor parsed.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

_GRAPH, _NODE = 7, 1
_INPUT, _OUTPUT, _NAME, _OP_TYPE, _ATTRIBUTE = 1, 2, 3, 4, 5
_ATTRIBUTE_NAME, _INTS = 1, 8
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_FIXED = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_TRANSPOSE = bytes((_OP_TYPE * 8 + _LENGTH, 9)) + b"Transpose"

Field = tuple[int, memoryview, int, int]
"""Field number, value (the bytes of a varint), and the offsets where the field with its tag begins and ends."""


def without_idle_transposes(model: Path | bytes) -> Path | bytes:
    """Return a model in which each Transpose that keeps the order of all axes is an Identity.

    Args:
        model: An ONNX file, or its content.

    Returns:
        The content of the changed file. `model` itself if its main graph has no such node, or if it is not an ONNX
        file; ONNX Runtime then reports that.
    """
    if isinstance(model, bytes):
        return _replaced(model) or model
    if not model.stat().st_size:
        return model
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _replaced(content) or model


class _MalformedError(ValueError):
    """The bytes are not a valid protocol buffer."""


def _replaced(content: bytes | mmap.mmap) -> bytes | None:
    """Return the content of the changed file, or None if nothing has to be changed."""
    if content.find(_TRANSPOSE) < 0:
        return None
    with memoryview(content) as view:
        try:
            return _changed(view)
        except _MalformedError:
            return None


def _changed(model: memoryview) -> bytes | None:
    graphs = [field for field in _fields(model) if field[0] == _GRAPH]
    if len(graphs) != 1:
        return None
    _, graph, begin, end = graphs[0]
    parts, done = [], 0
    for number, node, start, stop in _fields(graph):
        if number == _NODE and _is_idle(node):
            parts += [graph[done:start], _field(_NODE, _identity(node))]
            done = stop
    if not parts:
        return None
    return b"".join((model[:begin], _field(_GRAPH, b"".join((*parts, graph[done:]))), model[end:]))


def _is_idle(node: memoryview) -> bool:
    if _TRANSPOSE not in bytes(node):
        return False
    fields = list(_fields(node))
    if not any(number == _OP_TYPE and value == b"Transpose" for number, value, *_ in fields):
        return False
    orders = [_integers(value) for number, value, *_ in fields if number == _ATTRIBUTE]
    return len(orders) == 1 and bool(orders[0]) and orders[0] == sorted(orders[0])


def _identity(node: memoryview) -> bytes:
    kept = [_field(number, value) for number, value, *_ in _fields(node) if number in {_INPUT, _OUTPUT, _NAME}]
    return b"".join((*kept, _field(_OP_TYPE, b"Identity")))


def _integers(attribute: memoryview) -> list[int]:
    """Return the integers of a node's attribute `perm`; an empty list for other attributes.

    The file may store them as one field each or packed into one field.
    """
    numbers: list[int] = []
    for number, value, *_ in _fields(attribute):
        if number == _ATTRIBUTE_NAME and value != b"perm":
            return []
        position = 0
        while number == _INTS and position < len(value):
            one, position = _varint(value, position)
            numbers.append(one)
    return numbers


def _fields(message: memoryview) -> Iterator[Field]:
    position = 0
    while position < len(message):
        begin = position
        tag, position = _varint(message, position)
        kind, first = tag & 7, position
        if kind == _VARINT:
            _, position = _varint(message, position)
        elif kind == _LENGTH:
            length, first = _varint(message, position)
            position = first + length
        elif kind in _FIXED:
            position += _FIXED[kind]
        else:
            raise _MalformedError
        if position > len(message):
            raise _MalformedError
        yield tag >> 3, message[first:position], begin, position


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return a variable-length integer (seven bits per byte, lowest first) and the offset after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise _MalformedError
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _MalformedError


def _field(number: int, value: bytes | memoryview) -> bytes:
    return b"".join((_encoded(number * 8 + _LENGTH), _encoded(len(value)), value))


def _encoded(number: int) -> bytes:
    content = bytearray()
    while number > 0x7F:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*content, number))
