"""Hostile archives."""

from __future__ import annotations

import io
import random
import stat
import struct
import warnings
import zipfile

from tests.serve.hostile.requests import JOBS, Case, form, part, upload


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a ZIP."""
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", how) as archive:
        warnings.simplefilter("ignore")  # two members have the same name on purpose
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def member(name: str, mode: int = 0) -> zipfile.ZipInfo:
    """Return a member with a file type as in `stat`, such as S_IFLNK."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (mode | 0o777) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def climbing(rng: random.Random) -> Case:
    """A name that leads out of the folder or is invalid, in a ZIP or in the form."""
    name = rng.choice([
        "../a.jpg", "..\\..\\a.jpg", "/etc/cron.d/a.jpg", "C:\\a.jpg", "c:a.jpg", "x/../../a.jpg", "x/..\\../a.jpg",
        "//server/share/a.jpg", "\\\\server\\share\\a.jpg", "a" * 250 + ".jpg", "d/" * 40 + "a.jpg", "a\x1b[2J.jpg",
        "a\u202egpj.exe.jpg", "a\x7f.jpg", "é" * 120 + ".jpg", "../" * rng.randint(1, 15) + "a.jpg", "..", "x/..",
        "./../a.jpg", "a\tb.jpg",
    ])  # fmt: skip
    if rng.random() < 0.5 and ":\\" not in name and not name.startswith("\\"):  # forms lose the folders of these
        return Case(f"form: {name!r:.40}", upload(b"x", name))
    return Case(f"zip: {name!r:.40}", upload(zipped((name, b"x"), ("b.jpg", b"y"))))


def many_members(rng: random.Random) -> Case:
    """Ten thousand members, or a directory with a wrong number of members."""
    data = bytearray(zipped(*((f"{k}.jpg", b"") for k in range(rng.choice([51, 1000, 10_000])))))
    if rng.random() < 0.5:
        at = data.rindex(b"PK\x05\x06")
        data[at + 8 : at + 12] = struct.pack("<HH", *[rng.choice([0, 1, 7])] * 2)
    return Case("many members", upload(bytes(data)))


def second_end(rng: random.Random) -> Case:
    """A large directory in a ZIP64 end record, beside an ordinary end record that announces a small one."""
    raw = zipped(*((f"{k}.jpg", b"") for k in range(rng.choice([60, 3000]))))
    at = raw.rindex(b"PK\x05\x06")
    count, size, offset = struct.unpack_from("<HII", raw, at + 10)
    far = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)
    near = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, 46, offset, 0)
    return Case("a second end", upload(raw[:at] + far + locator + near))


def bomb(rng: random.Random) -> Case:
    """Members that are much larger when unpacked, announced or not, in one archive or in several."""
    large = rng.choice([11_000_000, 60_000_000])
    kind = rng.randrange(4)
    if kind == 0:
        return Case("a bomb", upload(zipped(("a.jpg", bytes(large)))))
    if kind == 1:
        return Case("a bomb of parts", upload(zipped(*((f"{k}.jpg", bytes(large // 8)) for k in range(8)))))
    if kind == 2:
        half = zipped(("a.jpg", bytes(6_000_000)))
        return Case("a bomb of archives", form(JOBS, *(part("file", f"{k}.zip", half) for k in range(2))))
    raw = bytearray(zipped(("a.jpg", bytes(large))))
    at = raw.rindex(b"PK\x01\x02")
    raw[at + 24 : at + 28] = (1).to_bytes(4, "little")
    return Case("a bomb that says it is small", upload(bytes(raw)))


def overlapping(rng: random.Random) -> Case:
    """Many members that share the same bytes."""
    raw = zipped(("0.jpg", bytes(900_000)))
    at, end = raw.rindex(b"PK\x01\x02"), raw.rindex(b"PK\x05\x06")
    entry, count = raw[at:end], rng.randint(12, 40)
    entries = b"".join(entry.replace(b"0.jpg", b"%c.jpg" % (65 + k)) for k in range(count))
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(entries), at, 0)
    return Case("members that share their bytes", upload(raw[:at] + entries + tail))


def nested(rng: random.Random) -> Case:
    """An archive in an archive."""
    inner = zipped(("a.jpg", bytes(5_000_000)))
    for _ in range(rng.randint(0, 4)):
        inner = zipped(*((f"{k}.zip", inner) for k in range(rng.randint(1, 5))))
    name = rng.choice(["b.zip", "x/b.ZIP", "b.tar", "b.tar.gz", "b.7z", "b.rar", "b.jpg.zst"])
    return Case("a nested bomb", upload(zipped((name, inner))))


def no_plain_file(rng: random.Random) -> Case:
    """A link, a device, a pipe or a socket."""
    kind = rng.choice([stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
    return Case("no plain file", upload(zipped((member("a.jpg", kind), b"/etc/passwd"), ("b.jpg", b"x"))))


def encrypted(rng: random.Random) -> Case:
    """The encryption flag, or an unknown compression method."""
    raw = bytearray(zipped(("a.jpg", rng.randbytes(200))))
    at = raw.rindex(b"PK\x01\x02")
    if rng.random() < 0.5:
        flag = rng.choice([0x01, 0x41])
        raw[6] |= flag
        raw[at + 8] |= flag
    else:
        method = rng.choice([99, 1, 6, 9, 93, 97]).to_bytes(2, "little")
        raw[8:10] = raw[at + 10 : at + 12] = method
    return Case("encrypted or packed unknown", upload(bytes(raw)))


def damaged(rng: random.Random) -> Case:
    """An archive that is truncated, altered, empty or of another format."""
    raw = bytearray(zipped(("a.jpg", rng.randbytes(3000)), ("b/c.jpg", rng.randbytes(3000))))
    kind = rng.randrange(4)
    if kind == 0:
        raw = raw[: rng.randrange(len(raw) - 22)]
    elif kind == 1:
        for _ in range(rng.randint(1, 4)):
            raw[rng.randrange(200, 2000)] ^= rng.randint(1, 255)
    elif kind == 2:
        raw = bytearray(
            rng.choice([b"", b"hello", b"PK", b"PK\x05\x06", b"Rar!\x1a\x07\x01\x00", b"7z\xbc\xaf\x27\x1c"])
        )
    else:
        raw = bytearray(zipped(("folder/", b""), ("notes.txt", b"x")))
    return Case("a damaged archive", upload(bytes(raw)))


def one_name(rng: random.Random) -> Case:
    """Two members with the same name, or a file with the name of a folder."""
    names = rng.choice([("a.jpg", "a.jpg"), ("a.jpg", "./a.jpg"), ("a.jpg", "a.jpg/b.jpg"), ("a.jpg/b.jpg", "a.jpg")])
    return Case("one name twice", upload(zipped(*((name, b"x") for name in names))))
