"""Pascal VOC: JPEGImages, Annotations/*.xml, ImageSets and label maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from styleid.datasets.classes import Kind, choose_classes
from styleid.datasets.formats.voc.xml_file import VocFile, read_voc, with_faces
from styleid.datasets.hints import AnnotationHints, Marked
from styleid.datasets.options import FROM_ANNOTATIONS, AnnotationOptions
from styleid.datasets.plan import Changes, Plan, below, split_masks, walk_files
from styleid.errors import DatasetError, OptionError
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.media.storage.files import InputFile

_MASKS = ("SegmentationClass", "SegmentationObject")


@dataclass
class Voc:
    """The format of Pascal VOC's data sets (a `Format`)."""

    _root: Path = field(default_factory=Path)
    _options: AnnotationOptions = field(default_factory=AnnotationOptions)
    _photo_of: dict[str, str] = field(default_factory=dict)
    _sets: frozenset[str] = frozenset()

    def plan(self, root: Path, options: AnnotationOptions) -> Plan:
        """Find photos, annotations, image sets and label maps."""
        self._root, self._options = root, options
        names = walk_files(root)
        listed = [n for n in names if n.endswith(".png") and _is_mask(n, options)]
        masks, notes = split_masks(root, listed)
        photos = [n for n in names if _is_photo(n) and n not in set(masks)]
        places = {PurePosixPath(photo).with_suffix("").as_posix(): photo for photo in photos}
        xmls = [n for n in names if n.endswith(".xml")]
        owners = {xml: _photo(xml, places) for xml in xmls}
        self._photo_of = {xml: photo for xml, photo in owners.items() if photo}
        self._photo_of |= {mask: photo for mask in masks if (photo := _photo(mask, places))}
        self._sets = frozenset(n for n in names if n.endswith(".txt") and "ImageSets" in PurePosixPath(n).parts)
        read = {xml: _read(root / xml) for xml in xmls if owners[xml]}
        classes = self._classes(read)
        advice = {owners[xml]: self._advice(xml, file, classes) for xml, file in read.items()}
        unmarked = AnnotationHints(frame=options.frame)
        inputs = tuple(InputFile(root / p, Path(p), advice.get(p, unmarked)) for p in photos)
        absent = tuple((xml, "no photo belongs to this annotation") for xml in xmls if not owners[xml])
        annotations = tuple(n for n in names if n in owners or n in self._sets)
        others = tuple(n for n in names if n not in {*photos, *annotations, *masks})
        if options.add_faces:
            notes += [(p, "it has no annotation to add faces to") for p in photos if p not in advice]
        return Plan(inputs, annotations, tuple(masks), others, absent=absent, notes=tuple(notes))

    def rewrite(self, name: str, data: bytes, changes: Changes) -> bytes | None:
        """Add faces to annotations; leave out what belongs to photos that are gone."""
        photo = self._photo_of.get(name)
        if photo is not None and photo in changes.gone:
            return None
        if name in self._sets and changes.gone:
            stems = {PurePosixPath(one).stem for one in changes.gone}
            lines = data.splitlines(keepends=True)
            return b"".join(line for line in lines if not {_first(line), _first(line).rpartition("/")[2]} & stems)
        if name.endswith(".xml") and (found := changes.faces.get(photo or "")) is not None:
            try:
                return with_faces(data, found.in_frame("stored")[0], self._options.face_class)
            except ValueError as error:
                raise DatasetError(self._root / name, str(error)) from error
        return data

    def created(self, changes: Changes) -> Iterator[tuple[str, bytes]]:
        """Yield nothing: a photo without an annotation stays without."""
        del changes
        return iter(())

    def _classes(self, read: dict[str, VocFile | str]) -> dict[str, Kind]:
        files = [file for file in read.values() if isinstance(file, VocFile)]
        names = dict.fromkeys(name for file in files for name, _ in file.objects)
        if self._options.add_faces and self._options.face_class in names:
            raise OptionError("--face-class", f"the data set has a class '{self._options.face_class}' already. "
                              "Choose another name.")  # fmt: skip
        if self._options.boxes != FROM_ANNOTATIONS:
            return {}
        return choose_classes(self._options.classes, names)

    def _advice(self, name: str, file: VocFile | str, classes: dict[str, Kind]) -> AnnotationHints:
        skip = self._options.bad_boxes == "skip"
        if isinstance(file, str):
            needed = bool(classes) or self._options.add_faces
            return AnnotationHints(frame=self._options.frame, problem=f"{name}: {file}" if needed and not skip else "")
        marked = tuple(
            Marked(classes[kind], box, f"object {number} in {name}")
            for number, (kind, box) in enumerate(file.objects, 1)
            if kind in classes
        )
        return AnnotationHints(marked, file.size_wh, self._options.frame, skip_bad=skip)


def _read(path: Path) -> VocFile | str:
    """Return what an annotation says, or why it cannot be read."""
    try:
        return read_voc(path.read_bytes())
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    except (ValueError, LookupError, RecursionError) as error:
        return str(error)


def _photo(name: str, places: dict[str, str]) -> str:
    """Return the photo that an annotation or label map belongs to, in JPEGImages beside its folder or beside itself."""
    path = PurePosixPath(name)
    folders = [i for i, part in enumerate(path.parts[:-1]) if part in ("Annotations", *_MASKS)]
    beside = [path.with_suffix("")]
    for index in reversed(folders):
        for folder in ("JPEGImages", "images"):
            beside.append(PurePosixPath(*path.parts[:index], folder, *path.parts[index + 1 :]).with_suffix(""))
    return next((places[one.as_posix()] for one in beside if one.as_posix() in places), "")


def _first(line: bytes) -> str:
    words = line.decode("utf-8", "surrogateescape").split()
    return words[0] if words else ""


def _is_mask(name: str, options: AnnotationOptions) -> bool:
    folders: Sequence[str] = PurePosixPath(name).parts[:-1]
    return any(mask in folders for mask in _MASKS) or any(below(name, f.as_posix()) for f in options.masks)


def _is_photo(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
