"""YOLO: photos, a text file of labels beside each or in `labels/`, a data.yaml and lists of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from styleid.datasets.classes import Kind, choose_classes
from styleid.datasets.formats.yolo.data_yaml import DataYaml, add_class, read_yaml
from styleid.datasets.formats.yolo.labels import Labels, read_labels, with_faces
from styleid.datasets.hints import Advice
from styleid.datasets.options import FROM_ANNOTATIONS, AnnotationOptions
from styleid.datasets.plan import Changes, FoundFaces, Named, Plan, below, read_or_nothing, split_masks, walk_files
from styleid.errors import DatasetError, OptionError
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.media.storage.files import InputFile

_CLASS_LISTS = ("classes.txt", "obj.names", "_darknet.labels")
_HOME = "upright"


@dataclass
class Yolo:
    """The format of YOLO's data sets (a `Format`)."""

    _root: Path = field(default_factory=Path)
    _options: AnnotationOptions = field(default_factory=AnnotationOptions)
    _yaml: str = ""
    _data: DataYaml | None = None
    _photo_of: dict[str, str] = field(default_factory=dict)
    _lists: tuple[str, ...] = ()
    _face_number: int = 0
    _polygons: bool = False

    def plan(self, root: Path, options: AnnotationOptions) -> Plan:
        """Find photos, labels, lists and the data.yaml."""
        self._root, self._options = root, options
        names = walk_files(root)
        self._yaml, self._data = _find_yaml(root, names, options)
        folders = [folder.as_posix() for folder in options.masks]
        listed = [n for n in names if n.endswith(".png") and any(below(n, folder) for folder in folders)]
        barred, notes = split_masks(root, listed)
        photos = [n for n in names if _is_photo(n) and n not in set(barred)]
        texts = {n for n in names if n.endswith(".txt") and PurePosixPath(n).name not in _CLASS_LISTS}
        label_of = {photo: _label(photo, texts) for photo in photos}
        self._photo_of = {label: photo for photo, label in label_of.items()}
        self._lists = tuple(n for n in sorted(texts - self._photo_of.keys()) if self._is_list(n))
        labels = [n for n in texts if n in self._photo_of or ("labels" in PurePosixPath(n).parts[:-1])]
        annotations = [n for n in names if n in {*labels, *self._lists} or _describes(n)]
        read = self._read(annotations, options)
        chosen = self._classes(names, read)
        default = Advice(frame=options.frame, home=_HOME)
        advice = {p: self._advice(read.get(label_of[p]), label_of[p], chosen) for p in photos} if read else {}
        inputs = tuple(InputFile(root / p, Path(p), advice.get(p, default)) for p in photos)
        absent = [(n, "no photo belongs to these labels") for n in sorted(labels) if n not in self._photo_of]
        absent += [(p, f"{n} names it, but it is not there") for n in self._lists for p in self._unlisted(n, photos)]
        others = tuple(n for n in names if n not in {*photos, *annotations, *barred})
        created = tuple(label for label in self._photo_of if label not in texts)
        notes = [*notes, *self._leading_back()]
        return Plan(inputs, tuple(annotations), tuple(barred), others, created, tuple(dict(absent).items()), (*notes,))

    def rewrite(self, name: str, data: bytes, changes: Changes) -> bytes | None:
        """Add faces to labels and their class to data.yaml; leave out what belongs to photos that are gone."""
        photo = self._photo_of.get(name)
        if photo is not None:
            if photo in changes.gone:
                return None
            found = changes.faces.get(photo)
            return self._with_faces(data, found) if found is not None else data
        if name == self._yaml and self._options.add_faces:
            return add_class(self._root / name, data, self._face_number, self._options.face_class)
        if name in self._lists and changes.gone:
            lines = data.splitlines(keepends=True)
            return b"".join(line for line in lines if self._listed(name, line) not in changes.gone)
        return data

    def created(self, changes: Changes) -> Iterator[tuple[str, bytes]]:
        """Yield labels for photos that had none and in which faces were found."""
        for label, photo in self._photo_of.items():
            found = changes.faces.get(photo)
            if found is not None and len(found.boxes) and not (self._root / label).exists():
                yield label, self._with_faces(b"", found)

    def _with_faces(self, data: bytes, found: FoundFaces) -> bytes:
        boxes, (width, height) = found.in_frame(_HOME)
        return with_faces(data, boxes / [width, height, width, height], self._face_number, polygons=self._polygons)

    def _read(self, annotations: Sequence[str], options: AnnotationOptions) -> dict[str, Labels]:
        if options.boxes != FROM_ANNOTATIONS and not options.add_faces:
            return {}
        keypoints = self._data.keypoints if self._data else 0
        read = {n: read_labels(self._bytes(n), keypoints) for n in annotations if n in self._photo_of}
        if options.add_faces:
            self._choose_number(read)
        return read

    def _bytes(self, name: str) -> bytes:
        try:
            return (self._root / name).read_bytes()
        except OSError as error:
            raise DatasetError(self._root / name, f"it cannot be read ({error.strerror or error})") from error

    def _choose_number(self, read: dict[str, Labels]) -> None:
        data = self._data
        if data is None:
            raise OptionError("--add-faces", f"{self._root} has no data.yaml with names to add a class to.")
        if self._options.face_class in data.names.values():
            raise OptionError("--face-class", f"{self._yaml} has a class '{self._options.face_class}' already. "
                              "Choose another name.")  # fmt: skip
        if data.keypoints:
            raise OptionError("--add-faces", f"{self._yaml} has a kpt_shape: each label needs keypoints, which faces "
                              "do not bring.")  # fmt: skip
        self._face_number = max(data.names) + 1
        for name, labels in read.items():
            if labels.highest >= self._face_number:
                raise DatasetError(self._root / name, f"it uses class {labels.highest}, but {self._yaml} names none "
                                   f"above {max(data.names)}")  # fmt: skip
        self._polygons = any(labels.polygons for labels in read.values())

    def _classes(self, names: Sequence[str], read: dict[str, Labels]) -> dict[int, Kind]:
        if self._options.boxes != FROM_ANNOTATIONS:
            return {}
        numbered = self._data.names if self._data else _class_list(self._root, names)
        used = {number for labels in read.values() for number, _, _ in labels.rows}
        numbered = {number: str(number) for number in sorted(used)} | numbered
        chosen = choose_classes(self._options.classes, [numbered[n] for n in sorted(numbered)])
        return {number: chosen[name] for number, name in numbered.items() if name in chosen}

    def _advice(self, labels: Labels | None, name: str, chosen: dict[int, Kind]) -> Advice:
        skip = self._options.bad_boxes == "skip"
        marked = labels.marked(chosen, name) if labels is not None and chosen else ()
        return Advice(marked, None, self._options.frame, _HOME, shares=True, skip_bad=skip)

    def _is_list(self, name: str) -> bool:
        if name in {PurePosixPath(split).as_posix() for split in (self._data.splits if self._data else ())}:
            return True
        lines = read_or_nothing(self._root / name).splitlines()[:50]
        return bool(lines) and all(_is_photo(line.decode("utf-8", "replace").strip()) for line in lines if line.strip())

    def _listed(self, name: str, line: bytes) -> str:
        """Return the photo that a list's line names, below the data set's folder; "" where it lies elsewhere."""
        text = line.decode("utf-8", "surrogateescape").strip()
        if not text:
            return ""
        for base in (self._root / name).parent, self._root:
            path = base / text
            if path.is_relative_to(self._root) and ".." not in path.parts and path.exists():
                return path.relative_to(self._root).as_posix()
        inside = (self._root / name).parent / text
        return inside.relative_to(self._root).as_posix() if inside.is_relative_to(self._root) else ""

    def _unlisted(self, name: str, photos: Sequence[str]) -> list[str]:
        there = set(photos)
        found = (self._listed(name, line) for line in read_or_nothing(self._root / name).splitlines())
        return [photo for photo in found if photo and photo not in there and ".." not in photo]

    def _leading_back(self) -> Iterator[Named]:
        """Yield a note on each file that would lead a training back to the originals."""
        if self._data is not None:
            for value in (self._data.base, *self._data.splits):
                if Path(value).is_absolute():
                    yield self._yaml, f"it names {value}: whoever trains with the copy reads photos from there"
        for name in self._lists:
            lines = read_or_nothing(self._root / name).splitlines()
            if any(Path(line.decode("utf-8", "surrogateescape").strip() or ".").is_absolute() for line in lines):
                yield name, "it names files by absolute paths: whoever trains with the copy reads photos from there"


def _find_yaml(root: Path, names: Sequence[str], options: AnnotationOptions) -> tuple[str, DataYaml | None]:
    files = [n for n in names if "/" not in n and n.endswith((".yaml", ".yml"))]
    found = [(name, data) for name in files if (data := read_yaml(root / name)) is not None]
    found.sort(key=lambda pair: pair[0] not in ("data.yaml", "dataset.yaml", "data.yml"))
    if len(found) > 1 and options.add_faces:
        raise OptionError("--add-faces", f"{found[0][0]} and {found[1][0]} both name classes. Leave one in {root}.")
    return found[0] if found else ("", None)


def _class_list(root: Path, names: Sequence[str]) -> dict[int, str]:
    for name in names:
        if PurePosixPath(name).name in _CLASS_LISTS:
            lines = read_or_nothing(root / name).decode("utf-8", "replace").splitlines()
            return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
    return {}


def _label(photo: str, texts: set[str]) -> str:
    """Return where a photo's labels are, or would be."""
    path = PurePosixPath(photo).with_suffix(".txt")
    parts = list(path.parts)
    places = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
        apart = PurePosixPath(*parts).as_posix()
        if apart in texts or path.as_posix() not in texts:
            return apart
    return path.as_posix()


def _describes(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name in _CLASS_LISTS or ("/" not in name and path.suffix in (".yaml", ".yml", ".names", ".data"))


def _is_photo(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
