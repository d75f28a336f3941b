"""Read C2PA manifest stores, and find everything in them except the mark of generated content.

A store is a tree of JUMBF boxes (ISO/IEC 19566-5) with values in CBOR (RFC 8949). Both are parsed as far as needed for
the manifests that `styleid.media.signing` writes: an action, the hash of the file, a claim and its signature.
Thumbnails, ingredients, further manifests and all other assertions are leftovers.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from styleid.media.containers.errors import BadFileError
from styleid.media.containers.iso import iso_boxes
from styleid.media.provenance import SOURCE_TYPE

ISO_MANIFEST = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
"""Identifier of a uuid box with a manifest store."""
GIF_MANIFEST = b"!\xff\x0bC2PA_GIF\x01\x00\x00"
TIFF_MANIFEST = 52545

_ACTIONS = {"actions": [{"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}]}
_HASHES = ("c2pa.hash.data", "c2pa.hash.bmff.v3")
_HASH_KEYS = {"exclusions", "name", "alg", "hash", "pad"}
_CLAIM_KEYS = {"instanceID", "claim_generator_info", "signature", "created_assertions", "gathered_assertions", "alg"}
_GENERATOR_KEYS = {"name", "version", "org.contentauth.c2pa_rs"}
_XPATHS = {"/uuid", "/ftyp", "/mfra", "/free", "/skip"}
_LABEL = re.compile(r"urn:c2pa:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INSTANCE = re.compile(r"xmp[.:]iid[:][0-9a-f-]{36}")
_VERSION = re.compile(r"[\w.+-]{1,40}")
_PROTECTED_KEYS, _UNPROTECTED_KEYS = {1, 33}, {"pad", "pad2", "sigTst", "sigTst2"}
_MOST_DEPTH = 16


@dataclass(frozen=True)
class _Node:
    """A JUMBF superbox: its private boxes, content boxes, both as (kind, body), and inner superboxes."""

    kind: bytes
    label: str
    private: tuple[tuple[bytes, bytes], ...]
    contents: tuple[tuple[bytes, bytes], ...]
    nodes: tuple[_Node, ...]


def manifest_leftovers(store: bytes) -> list[str]:
    """List everything in a manifest store except the mark of generated content, one line each."""
    try:
        return [f"C2PA: {line}" for line in _store_leftovers(store)]
    except (BadFileError, struct.error, ValueError, IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
        return [f"C2PA: a manifest that cannot be read ({error})"]


def jpeg_store(payloads: Sequence[bytes]) -> bytes | None:
    """Join the payloads of a JPEG's APP11 segments to a manifest store; return None if they contain something else."""
    pieces = {struct.unpack_from(">I", p, 4)[0]: p for p in payloads if len(p) >= 16 and p[:2] == b"JP"}
    if len(pieces) != len(payloads) or sorted(pieces) != list(range(1, len(pieces) + 1)):
        return None
    return pieces[1][8:] + b"".join(pieces[number][16:] for number in sorted(pieces)[1:])


def gif_store(block: bytes) -> bytes:
    """Return the manifest store in a GIF's application extension."""
    parts: list[bytes] = []
    at = len(GIF_MANIFEST)
    while at < len(block) and block[at]:
        parts.append(block[at + 1 : at + 1 + block[at]])
        at += 1 + block[at]
    return b"".join(parts)


def iso_store(body: bytes) -> bytes:
    """Return the manifest store in the body of a uuid box.

    It follows the identifier, a version, the purpose and an offset of zero; any other header gives b"".
    """
    head = ISO_MANIFEST + bytes(4) + b"manifest\0" + bytes(8)
    return body.removeprefix(head) if body.startswith(head) else b""


def _store_leftovers(store: bytes) -> list[str]:
    root = _node(store, 0, len(store))
    if (root.kind, root.label) != (b"c2pa", "c2pa") or root.contents or root.private:
        return ["a manifest store of an unknown kind"]
    if len(root.nodes) != 1:
        return [f"{len(root.nodes)} manifests"]
    manifest = root.nodes[0]
    found = _Checks()
    named = manifest.kind == b"c2ma" and _LABEL.fullmatch(manifest.label)
    found.need(named, f"a manifest named {manifest.label[:60]!r}")
    found.need(not manifest.contents and not manifest.private, "content besides the parts of the manifest")
    parts = {node.label: node for node in manifest.nodes}
    wanted = {"c2pa.assertions", "c2pa.claim.v2", "c2pa.signature"}
    found.need(len(parts) == len(manifest.nodes) and set(parts) <= wanted,
               f"parts beyond the claim: {', '.join(sorted(set(parts) - wanted))[:100]}")  # fmt: skip
    _check_assertions(parts["c2pa.assertions"], found)
    _check_claim(_cbor_of(parts["c2pa.claim.v2"]), manifest.label, found)
    _check_signature(_cbor_of(parts["c2pa.signature"]), found)
    return found.lines


class _Checks:
    """Collects the lines of checks that fail."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def need(self, holds: object, line: str) -> None:
        if not holds:
            self.lines.append(line)

    def keys(self, found: Mapping[Any, Any], allowed: set[Any], where: str) -> None:
        self.need(set(found) <= allowed, f"{where}: {', '.join(map(str, set(found) - allowed))[:100]}")


def _check_assertions(store: _Node, found: _Checks) -> None:
    for node in store.nodes:
        found.need(all(kind == b"c2sh" and len(body) <= 32 for kind, body in node.private), "data besides a label")
        if node.label == "c2pa.actions.v2":
            found.need(_cbor_of(node) == _ACTIONS, "actions other than the mark")
        elif node.label in _HASHES:
            _check_hash(_cbor_of(node), found)
        else:
            found.lines.append(f"assertion {node.label[:60]!r}")
    found.need(len(store.nodes) == len({node.label for node in store.nodes}), "an assertion twice")
    found.need(not store.contents and not store.private, "content besides assertions")


def _check_hash(assertion: Any, found: _Checks) -> None:
    found.keys(assertion, _HASH_KEYS, "further keys of the hash")
    found.need(assertion["alg"] == "sha256" and len(assertion["hash"]) == 32, "a hash other than SHA-256")
    found.need(assertion.get("name") == "jumbf manifest", "another name of the hash")
    found.need(not assertion.get("pad", b"").strip(b"\0"), "data in the padding of the hash")
    for part in assertion.get("exclusions", []):
        if "xpath" in part:
            found.keys(part, {"xpath", "data"}, "exclusion")
            found.need(part["xpath"] in _XPATHS, "exclusion of another box")
            known = ({"offset": 8, "value": ISO_MANIFEST},)
            found.need(all(one in known for one in part.get("data") or ()), "exclusion with data")
        else:
            found.need(set(part) == {"start", "length"} and all(type(v) is int for v in part.values()), "exclusion")


def _check_claim(claim: Any, label: str, found: _Checks) -> None:
    found.keys(claim, _CLAIM_KEYS, "claim")
    generator = claim["claim_generator_info"]
    found.keys(generator, _GENERATOR_KEYS, "claim's generator")
    found.need(generator.get("name") == "styleid", f"claim of {str(generator.get('name'))[:40]!r}")
    found.need(all(_VERSION.fullmatch(v) for k, v in generator.items() if k != "name"), "claim's versions")
    found.need(claim["alg"] == "sha256" and _INSTANCE.fullmatch(claim["instanceID"]), "claim's identifier")
    found.need(claim["signature"] == f"self#jumbf=/c2pa/{label}/c2pa.signature", "claim with another signature")
    for one in [*claim.get("created_assertions", []), *claim.get("gathered_assertions", [])]:
        name = one["url"].removeprefix("self#jumbf=c2pa.assertions/")
        found.need(set(one) == {"url", "hash"} and len(one["hash"]) == 32, "claim's reference")
        found.need(name in ("c2pa.actions.v2", *_HASHES), f"claim refers to {name[:60]!r}")


def _check_signature(signed: Any, found: _Checks) -> None:
    protected, unprotected, payload, _ = signed
    found.keys(_cbor(protected), _PROTECTED_KEYS, "signature")
    found.keys(unprotected, _UNPROTECTED_KEYS, "signature")
    fillers = [unprotected.get(name, b"") for name in ("pad", "pad2")]
    found.need(payload is None and not any(filler.strip(b"\0") for filler in fillers), "data in the signature")


def _node(data: bytes, start: int, end: int, depth: int = 0) -> _Node:
    """Parse the superbox between two offsets."""
    (outer,) = iso_boxes(data, start, end)
    inner = iso_boxes(data, outer.start, outer.end)
    if outer.kind != b"jumb" or depth > _MOST_DEPTH or not inner or inner[0].kind != b"jumd":
        raise BadFileError("it is no JUMBF box")
    described = data[inner[0].start : inner[0].end]
    toggles = described[16]
    label, _, rest = described[17:].partition(b"\0")
    if toggles & ~0b10011 or not toggles & 2 or (rest and not toggles & 16):
        raise BadFileError("a box is described in an unknown way")
    private = tuple((box.kind, rest[box.start : box.end]) for box in iso_boxes(rest))
    contents = tuple((box.kind, data[box.start : box.end]) for box in inner[1:] if box.kind != b"jumb")
    nodes = tuple(_node(data, box.at, box.end, depth + 1) for box in inner[1:] if box.kind == b"jumb")
    return _Node(described[:4], label.decode(), private, contents, nodes)


def _cbor_of(node: _Node) -> Any:
    ((kind, body),) = node.contents
    if kind != b"cbor" or node.nodes:
        raise BadFileError(f"{node.label[:60]} is no CBOR")
    return _cbor(body)


def _cbor(body: bytes) -> Any:
    """Decode a CBOR value that takes all bytes; tags are skipped."""
    value, end = _cbor_at(body, 0)
    if end != len(body):
        raise BadFileError("there are bytes after a value")
    return value


def _cbor_at(data: bytes, at: int, depth: int = 0) -> tuple[Any, int]:
    kind, short = data[at] >> 5, data[at] & 31
    if depth > _MOST_DEPTH or short >= 28:
        raise BadFileError("CBOR of an unknown form")
    width = 1 << short - 24 if short >= 24 else 0
    number = int.from_bytes(data[at + 1 : at + 1 + width], "big") if width else short
    at += 1 + width
    if kind in (0, 1):
        return (number if kind == 0 else -1 - number), at
    if kind in (2, 3):
        if at + number > len(data):
            raise BadFileError("truncated CBOR")
        part = data[at : at + number]
        return (part if kind == 2 else part.decode()), at + number
    if kind == 6:
        return _cbor_at(data, at, depth + 1)
    if kind == 7:
        return {20: False, 21: True, 22: None}[short], at
    items: list[Any] = []
    for _ in range(number * (kind - 3)):
        item, at = _cbor_at(data, at, depth + 1)
        items.append(item)
    return (items if kind == 4 else dict(zip(items[::2], items[1::2], strict=True))), at
