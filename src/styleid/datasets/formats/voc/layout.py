"""Pascal VOC: JPEGImages, Annotations/*.xml, ImageSets and label maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from styleid.datasets.classes import Kind, choose_classes
from styleid.datasets.formats.voc.owners import MASKS, AnnotationOwners, find_owners
from styleid.datasets.formats.voc.xml_file import VocFile, read_voc, with_faces
from styleid.datasets.hints import HOW_TO_CORRECT, AnnotationHints, Box, Marked, contradiction, faces_of, may_be_percent
from styleid.datasets.options import FROM_ANNOTATIONS, AnnotationOptions, Unit
from styleid.datasets.plan import Changes, Named, Plan, below, split_masks, walk_files
from styleid.errors import DatasetError, OptionError
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.media.storage.files import InputFile


@dataclass
class Voc:
    """The format of Pascal VOC's data sets (a `Format`)."""

    _root: Path = field(default_factory=Path)
    _options: AnnotationOptions = field(default_factory=AnnotationOptions)
    _owners: AnnotationOwners = field(default_factory=AnnotationOwners)
    _sets: frozenset[str] = frozenset()
    _in_percent: frozenset[str] = frozenset()

    def plan(self, root: Path, options: AnnotationOptions) -> Plan:
        """Find photos, annotations, image sets and label maps."""
        self._root, self._options = root, options
        names = walk_files(root)
        listed = [n for n in names if n.endswith(".png") and _is_mask(n, options)]
        masks, notes = split_masks(root, listed)
        photos = [n for n in names if _is_photo(n) and n not in set(masks)]
        read = {name: _read(root / name) for name in names if name.endswith(".xml")}
        named = {xml: file.names if isinstance(file, VocFile) else () for xml, file in read.items()}
        self._owners = find_owners(named, masks, photos, root.resolve().as_posix())
        self._sets = frozenset(n for n in names if n.endswith(".txt") and "ImageSets" in PurePosixPath(n).parts)
        hints = self._hints(photos, read)
        inputs = tuple(InputFile(root / p, Path(p), hints[p]) for p in photos)
        annotations = tuple(n for n in names if n in read or n in self._sets)
        others = tuple(n for n in names if n not in {*photos, *annotations, *masks})
        if options.add_faces:
            known = {self._owners.first(xml) for xml in read}
            notes += [(p, "it has no annotation to add faces to") for p in photos if p not in known]
        return Plan(inputs, annotations, tuple(masks), others, absent=tuple(self._absent(read)), notes=tuple(notes))

    def rewrite(self, name: str, data: bytes, changes: Changes) -> bytes | None:
        """Add faces to annotations; leave out the files of photos that were not written."""
        photo = self._owners.first(name)
        if photo in changes.gone:
            return None
        if name in self._sets and changes.gone:
            stems = {PurePosixPath(one).stem for one in changes.gone}
            lines = data.splitlines(keepends=True)
            return b"".join(line for line in lines if not {_first(line), _first(line).rpartition("/")[2]} & stems)
        if name.endswith(".xml") and (found := changes.faces.get(photo)) is not None:
            try:
                return with_faces(data, found.in_frame("stored")[0], self._options.face_class)
            except ValueError as error:
                raise DatasetError(self._root / name, str(error)) from error
        return data

    def created(self, changes: Changes) -> Iterator[tuple[str, bytes]]:
        """Yield nothing: a photo without an annotation gets none."""
        del changes
        return iter(())

    def _classes(self, read: Mapping[str, VocFile | str]) -> dict[str, Kind]:
        files = [file for file in read.values() if isinstance(file, VocFile)]
        names = dict.fromkeys(name for file in files for name, _ in file.objects)
        if self._options.add_faces and self._options.face_class in names:
            raise OptionError("face_class", f"the data set has a class '{self._options.face_class}' already. "
                              "Choose another name.")  # fmt: skip
        if self._options.boxes != FROM_ANNOTATIONS:
            return {}
        return choose_classes(self._options.classes, names, may_be_none=len(files) < len(read))

    def _absent(self, read: Mapping[str, VocFile | str]) -> Iterator[Named]:
        for xml in read:
            if maybe := self._owners.maybe.get(xml):
                yield xml, f"several photos may have this annotation: {', '.join(maybe[:3])}"
            elif not self._owners.first(xml):
                yield xml, "no photo belongs to this annotation"

    def _hints(self, photos: Sequence[str], read: Mapping[str, VocFile | str]) -> dict[str, AnnotationHints]:
        """Collect the annotations of each photo."""
        files: dict[str, dict[str, VocFile | str]] = {photo: {} for photo in photos}
        for xml, file in read.items():
            for photo in self._owners.photos_of.get(xml, ()):
                files[photo][xml] = file
        classes = self._classes(read)
        self._in_percent = self._maybe_percent(read)
        problems: dict[str, str] = {}
        for xml in self._owners.maybe:
            file = read[xml]
            if said := _problem(xml, file) if isinstance(file, str) else next(
                (f"{one.where} marks a {one.kind}" for one in faces_of(_marked(xml, file, classes, "auto"))), ""
            ):  # fmt: skip
                text = f"{xml} may be for this photo or for others, and {said}. {HOW_TO_CORRECT}"
                problems |= dict.fromkeys(self._owners.maybe[xml], text)
        return {photo: self._hints_of(each, classes, problems.get(photo, "")) for photo, each in files.items()}

    def _maybe_percent(self, read: Mapping[str, VocFile | str]) -> frozenset[str]:
        """Return the folders of annotations whose boxes may all be in percent, unless the user states the unit."""
        boxes: dict[str, list[Box]] = {}
        for xml, file in read.items():
            if isinstance(file, VocFile) and self._options.box_unit == "auto":
                boxes.setdefault(_folder(xml), []).extend(box for _, box in file.objects)
        return frozenset(folder for folder, every in boxes.items() if may_be_percent(every))

    def _unit_of(self, xml: str) -> str:
        return f"{_folder(xml)}/*.xml" if _folder(xml) in self._in_percent else ""

    def _hints_of(self, files: Mapping[str, VocFile | str], classes: dict[str, Kind], problem: str) -> AnnotationHints:
        """Return the hints for a photo. problem: why it must be withheld in any case."""
        marks_wanted = self._options.boxes == FROM_ANNOTATIONS
        read = {xml: file for xml, file in files.items() if isinstance(file, VocFile)}
        marked = [replace(one, unit_of=self._unit_of(xml)) for xml, file in read.items()
                  for one in _marked(xml, file, classes, self._options.box_unit)]  # fmt: skip
        sizes = {file.size_wh for file in read.values() if file.size_wh}
        unreadable = next((_problem(xml, file) for xml, file in files.items() if isinstance(file, str)), "")
        needed = marks_wanted or self._options.add_faces
        reasons = (unreadable if needed else "", problem if marks_wanted else "", contradiction(sizes, marked))
        skip = self._options.bad_boxes == "skip"
        return AnnotationHints(
            tuple(marked),
            next(iter(sizes)) if len(sizes) == 1 else None,
            self._options.frame,
            unit="pixels" if self._options.box_unit == "auto" else self._options.box_unit,
            skip_bad=skip,
            problem="" if skip else next((reason for reason in reasons if reason), ""),
        )


def _marked(name: str, file: VocFile, classes: Mapping[str, Kind], unit: Unit) -> Iterator[Marked]:
    """Yield the objects of some classes. Pixel coordinates begin at 1, relative ones at 0."""
    first = 0 if unit in ("auto", "pixels") else 1
    for number, (kind, (x0, y0, x1, y1)) in enumerate(file.objects, 1):
        box = (x0 + first, y0 + first, x1, y1)
        if kind in classes:
            yield Marked(classes[kind], box, f"object {number} in {name}")
        elif not kind and classes:
            yield Marked(Kind.FACE, box, f"object {number} in {name}", problem="it has no name, so it may be a face")


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.as_posix()


def _problem(name: str, reason: str) -> str:
    return f"{name}: {reason}"


def _read(path: Path) -> VocFile | str:
    """Return an annotation's content, or why it cannot be read."""
    try:
        return read_voc(path.read_bytes())
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    except (ValueError, LookupError, RecursionError) as error:
        return str(error)


def _first(line: bytes) -> str:
    words = line.decode("utf-8", "surrogateescape").split()
    return words[0] if words else ""


def _is_mask(name: str, options: AnnotationOptions) -> bool:
    folders: Sequence[str] = PurePosixPath(name).parts[:-1]
    return any(mask in folders for mask in MASKS) or any(below(name, f.as_posix()) for f in options.masks)


def _is_photo(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
