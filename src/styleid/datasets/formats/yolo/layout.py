"""YOLO: photos, a text file of labels beside each or in `labels/`, a data.yaml and lists of files."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from styleid.datasets.classes import Kind, choose_classes
from styleid.datasets.formats.yolo.data_yaml import DataYaml, add_class, read_yaml
from styleid.datasets.formats.yolo.labels import Labels, looks_like_labels, read_labels, with_faces, with_forms_resolved
from styleid.datasets.formats.yolo.owners import LabelOwners, find_owners
from styleid.datasets.hints import HOW_TO_CORRECT, AnnotationHints, faces_of
from styleid.datasets.names import Finder
from styleid.datasets.options import FROM_ANNOTATIONS, AnnotationOptions
from styleid.datasets.plan import Changes, FoundFaces, Named, Plan, below, read_or_nothing, split_masks, walk_files
from styleid.errors import DatasetError, OptionError
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.media.storage.files import InputFile

_CLASS_LISTS = ("classes.txt", "obj.names", "_darknet.labels")
_READS_BACK = ", so a training with the copy reads photos from there. Change this in the copy"
_HOME = "upright"


@dataclass
class Yolo:
    """The format of YOLO's data sets (a `Format`)."""

    _root: Path = field(default_factory=Path)
    _options: AnnotationOptions = field(default_factory=AnnotationOptions)
    _yaml: str = ""
    _data: DataYaml | None = None
    _owners: LabelOwners = field(default_factory=LabelOwners)
    _finder: Finder = field(default_factory=lambda: Finder(()))
    _photos: frozenset[str] = frozenset()
    _lists: tuple[str, ...] = ()
    _labels: dict[str, Labels] = field(default_factory=dict)
    _face_number: int = 0

    def plan(self, root: Path, options: AnnotationOptions) -> Plan:
        """Find photos, labels, lists and the data.yaml."""
        if options.box_unit not in ("auto", "shares"):
            raise OptionError("box_unit", "YOLO's labels are shares of the photo; only those of COCO and VOC may "
                              "be in other units.")  # fmt: skip
        self._root, self._options = root, options
        names = walk_files(root)
        self._yaml, self._data = _find_yaml(root, names, options)
        folders = [folder.as_posix() for folder in options.masks]
        listed = [n for n in names if n.endswith(".png") and any(below(n, folder) for folder in folders)]
        barred, notes = split_masks(root, listed)
        photos = [n for n in names if _is_photo(n) and n not in set(barred)]
        texts = {n for n in names if n.lower().endswith(".txt") and PurePosixPath(n).name not in _CLASS_LISTS}
        self._photos, self._finder = frozenset(photos), Finder(photos, root.resolve().as_posix())
        self._lists = tuple(n for n in sorted(texts) if self._is_list(n))
        texts -= set(self._lists)
        owners = self._owners = find_owners(photos, texts, self._finder, self._holds_labels)
        labels = {*(texts & owners.photo_of.keys()), *owners.maybe, *owners.orphans}
        annotations = [n for n in names if n in {*labels, *self._lists} or _describes(n)]
        self._labels = self._read(annotations, options)
        if options.boxes == FROM_ANNOTATIONS and not self._labels:
            raise OptionError("boxes", f"{root} contains no text files of labels. Other forms are not supported.")
        hints = self._hints(photos, self._classes(names))
        inputs = tuple(InputFile(root / p, Path(p), hints[p]) for p in photos)
        absent = [(n, "no photo belongs to these labels") for n in owners.orphans]
        absent += [(n, f"several photos may have these labels: {', '.join(p[:3])}") for n, p in owners.maybe.items()]
        absent += [(p, f"{n} names it, but it is not there") for n in self._lists for p in self._unlisted(n)]
        others = tuple(n for n in names if n not in {*photos, *annotations, *barred})
        created = tuple(label for label in owners.label_of.values() if label not in texts)
        notes = [*notes, *self._unsure(), *self._notes_on_references()]
        return Plan(inputs, tuple(annotations), tuple(barred), others, created, tuple(dict(absent).items()), (*notes,))

    def rewrite(self, name: str, data: bytes, changes: Changes) -> bytes | None:
        """Add faces to labels and their class to data.yaml; leave out the files of photos that were not written."""
        photo = self._owners.photo_of.get(name)
        if photo is not None:
            if photo in changes.gone:
                return None
            found = changes.faces.get(photo) if self._owners.label_of[photo] == name else None
            return self._with_faces(name, data, found) if found is not None else data
        if name == self._yaml and self._options.add_faces:
            return add_class(self._root / name, data, self._face_number, self._options.face_class)
        if name in self._lists and changes.gone:
            lines = data.splitlines(keepends=True)
            return b"".join(line for line in lines if self._listed(name, line) not in changes.gone)
        return data

    def created(self, changes: Changes) -> Iterator[tuple[str, bytes]]:
        """Yield labels for photos without any in which faces were found."""
        for photo, label in self._owners.label_of.items():
            found = changes.faces.get(photo)
            if found is not None and len(found.boxes) and not (self._root / label).exists():
                yield label, self._with_faces(label, b"", found)

    def _with_faces(self, name: str, data: bytes, found: FoundFaces) -> bytes:
        boxes, (width, height) = found.in_frame(_HOME)
        shares = boxes / [width, height, width, height]
        return with_faces(data, shares, self._face_number, polygons=self._has_polygons(name))

    def _has_polygons(self, name: str) -> bool:
        """Return whether a label file's lines are polygons; if it has no lines, whether most other files' lines are.

        Ultralytics reads all lines of a file as polygons as soon as one of them is.
        """
        own = self._labels.get(name)
        if own is not None and own.rows:
            return own.polygons
        forms = [labels.polygons for labels in self._labels.values() if labels.rows]
        return 2 * sum(forms) > len(forms)

    def _read(self, annotations: Sequence[str], options: AnnotationOptions) -> dict[str, Labels]:
        if options.boxes != FROM_ANNOTATIONS and not options.add_faces:
            return {}
        keypoints = self._data.keypoints if self._data else 0
        known = {*self._owners.photo_of, *self._owners.maybe}
        read = with_forms_resolved({n: read_labels(self._bytes(n), keypoints) for n in annotations if n in known})
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
            raise OptionError("add_faces", f"{self._root} has no data.yaml with names to add a class to.")
        if self._options.face_class in data.names.values():
            raise OptionError("face_class", f"{self._yaml} has a class '{self._options.face_class}' already. "
                              "Choose another name.")  # fmt: skip
        if data.keypoints:
            raise OptionError("add_faces", f"{self._yaml} has a kpt_shape: each label needs keypoints, which added "
                              "faces do not have.")  # fmt: skip
        self._face_number = max(data.names) + 1
        for name, labels in read.items():
            if labels.highest >= self._face_number:
                raise DatasetError(self._root / name, f"it uses class {labels.highest}, but {self._yaml} names none "
                                   f"above {max(data.names)}")  # fmt: skip
        if odd := next((name for name, labels in read.items() if labels.landmarks), ""):
            raise OptionError("add_faces", f"{odd} has boxes with landmarks: each label needs them, and faces do not "
                              "bring them.")  # fmt: skip

    def _classes(self, names: Sequence[str]) -> tuple[dict[int, Kind], dict[int, str]]:
        """Return the classes to use, and the names of all that have one."""
        if self._options.boxes != FROM_ANNOTATIONS:
            return {}, {}
        named = self._data.names if self._data else _class_list(self._root, names)
        used = {row.number for labels in self._labels.values() for row in labels.rows}
        numbered = {number: str(number) for number in sorted(used)} | named
        chosen = choose_classes(self._options.classes, [numbered[n] for n in sorted(numbered)])
        return {number: chosen[name] for number, name in numbered.items() if name in chosen}, named

    def _hints(
        self, photos: Sequence[str], classes: tuple[dict[int, Kind], dict[int, str]]
    ) -> dict[str, AnnotationHints]:
        """Collect the labels of each photo."""
        chosen, named = classes
        skip = self._options.bad_boxes == "skip"
        marked = {n: tuple(each.marked(chosen, named, n)) for n, each in self._labels.items()} if chosen else {}
        problems = {
            photo: f"{name} may be for this photo or for others, and {faces[0].where} marks a {faces[0].kind}. "
            f"{HOW_TO_CORRECT}"
            for name, maybe in self._owners.maybe.items()
            if (faces := faces_of(marked.get(name, ()))) and not skip
            for photo in maybe
        }
        labels_of = self._owners.labels_of()
        return {
            photo: AnnotationHints(
                tuple(one for name in labels_of[photo] for one in marked.get(name, ())),
                frame=self._options.frame,
                home=_HOME,
                unit="shares" if self._labels else "pixels",
                skip_bad=skip,
                problem=problems.get(photo, ""),
            )
            for photo in photos
        }

    def _holds_labels(self, name: str) -> bool:
        return looks_like_labels(read_or_nothing(self._root / name))

    def _is_list(self, name: str) -> bool:
        if name in {PurePosixPath(split).as_posix() for split in (self._data.splits if self._data else ())}:
            return True
        lines = read_or_nothing(self._root / name).splitlines()[:50]
        return bool(lines) and all(_is_photo(line.decode("utf-8", "replace").strip()) for line in lines if line.strip())

    def _listed(self, name: str, line: bytes) -> str:
        """Return the photo that a list's line names, or where it would be; "" where it lies outside the data set."""
        text = line.decode("utf-8", "surrogateescape").strip()
        folder = PurePosixPath(name).parent.as_posix()
        if found := self._finder.find(text, [folder, ""], self._photos).name if text else "":
            return found
        inside = (self._root / folder / text) if text else self._root.parent
        return inside.relative_to(self._root).as_posix() if inside.is_relative_to(self._root) else ""

    def _unlisted(self, name: str) -> list[str]:
        found = (self._listed(name, line) for line in read_or_nothing(self._root / name).splitlines())
        return [photo for photo in found if photo and photo not in self._photos and ".." not in photo]

    def _unsure(self) -> Iterator[Named]:
        """Yield a note on label files whose lines can be read in two ways."""
        if self._options.boxes == FROM_ANNOTATIONS:
            for name in (name for name, labels in self._labels.items() if labels.unsure):
                yield name, ("its lines may be polygons, or boxes with landmarks: both places are hidden. A kpt_shape "
                             "in the data.yaml tells that they are the latter")  # fmt: skip

    def _notes_on_references(self) -> Iterator[Named]:
        """Yield a note on each file that refers to the original photos, so that a training would read them."""
        if self._data is not None:
            for value in (self._data.base, *self._data.splits):
                if self._refers_to_original(value, ""):
                    yield self._yaml, f"it names {value}{_READS_BACK}"
        for name in self._lists:
            folder = PurePosixPath(name).parent.as_posix()
            lines = read_or_nothing(self._root / name).splitlines()
            named = (line.decode("utf-8", "surrogateescape").strip() for line in lines)
            if odd := next((one for one in named if self._refers_to_original(one, folder)), ""):
                yield name, f"it names files such as {odd}{_READS_BACK}"

    def _refers_to_original(self, value: str, folder: str) -> bool:
        """Return whether a path in a copy of the data set would still refer to existing files of the original.

        Such paths are absolute, or lead out of the data set's folder. folder: the folder of the file with the path.
        """
        path = Path(value)
        if path.is_absolute() or PureWindowsPath(value).is_absolute():
            return True
        inside = posixpath.normpath(posixpath.join(folder, value))
        if inside.startswith(".."):
            return _exists(self._root.resolve() / inside)
        return path.parts[:1] == (self._root.resolve().name,) and not _exists(self._root / path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _find_yaml(root: Path, names: Sequence[str], options: AnnotationOptions) -> tuple[str, DataYaml | None]:
    files = [n for n in names if "/" not in n and n.endswith((".yaml", ".yml"))]
    found = [(name, data) for name in files if (data := read_yaml(root / name)) is not None]
    found.sort(key=lambda pair: pair[0] not in ("data.yaml", "dataset.yaml", "data.yml"))
    if len(found) > 1 and options.add_faces:
        raise OptionError("add_faces", f"{found[0][0]} and {found[1][0]} both name classes. Leave one in {root}.")
    return found[0] if found else ("", None)


def _class_list(root: Path, names: Sequence[str]) -> dict[int, str]:
    """Read the names of classes; raises OptionError if two files contradict each other."""
    numbered: dict[int, str] = {}
    first = ""
    for name in names:
        if PurePosixPath(name).name in _CLASS_LISTS:
            lines = read_or_nothing(root / name).decode("utf-8-sig", "replace").splitlines()
            found = {number: line.strip() for number, line in enumerate(lines) if line.strip()}
            if any(numbered.get(number, one) != one for number, one in found.items()):
                raise OptionError(
                    "boxes", f"{first} and {name} name classes differently. Process their folders separately."
                )
            first = first or name
            numbered |= found
    return numbered


def _describes(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name in _CLASS_LISTS or ("/" not in name and path.suffix in (".yaml", ".yml", ".names", ".data"))


def _is_photo(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
