"""COCO: JSON files of instances, keypoints, captions or panoptic segments beside folders of photos."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

from styleid.datasets.classes import Kind, choose_classes
from styleid.datasets.formats.coco.annotations import CocoFile, ImageEntry, Key, Marks, read_coco, rewrite_coco
from styleid.datasets.formats.coco.photos import (
    Photos,
    annotations_without_image,
    entries_without_photo,
    entry_path,
    find_photos,
    photos_to_withhold,
)
from styleid.datasets.hints import AnnotationHints, Box, Marked, contradiction
from styleid.datasets.names import Finder, is_plain
from styleid.datasets.options import FROM_ANNOTATIONS, AnnotationOptions, CocoOptions
from styleid.datasets.passthrough import is_panoptic
from styleid.datasets.plan import Changes, Named, Plan, below, leads_out, read_or_nothing, split_masks, walk_files
from styleid.errors import DatasetError, OptionError
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.media.storage.files import InputFile

_LOOKED_FOR = 50


@dataclass
class Coco:
    """The format of COCO's data sets (a `Format`)."""

    where: CocoOptions = field(default_factory=CocoOptions)
    _files: dict[str, CocoFile] = field(default_factory=dict)
    _folders: dict[str, list[str]] = field(default_factory=dict)
    _photos: Photos = field(default_factory=Photos)
    _maps: dict[str, str | None] = field(default_factory=dict)
    _options: AnnotationOptions = field(default_factory=AnnotationOptions)

    def plan(self, root: Path, options: AnnotationOptions) -> Plan:
        """Read the annotation files and find photos, label maps and other files."""
        names = walk_files(root)
        self._options = options
        self._files = self._read(root, names, options)
        if options.add_faces:
            self._require_new_class(options.face_class)
        annotations = [*self._files, *(n for n in names if n not in self._files and _lies_with_annotations(n))]
        there = set(names)
        masks, notes, owners = self._panoptic_maps(root, there)
        listed = [n for folder in options.masks for n in names if below(n, folder.as_posix()) and n.endswith(".png")]
        more, mask_notes = split_masks(root, [name for name in listed if name not in masks])
        masks = [*masks, *more]
        own = {*annotations, *masks}
        finder = Finder(names, root.resolve().as_posix(), (n for n in names if _is_photo(n) and n not in own))
        self._folders = {name: self._places(name, file, finder) for name, file in self._files.items()}
        self._photos = find_photos(self._files, self._folders, finder)
        masks = [name for name in masks if name not in self._photos.claimed]
        own = {*annotations, *masks}
        self._maps = {mask: self._photos.of(*owner) if owner else None for mask, owner in owners.items()}
        photos = [n for n in names if n not in own and (_is_photo(n) or n in self._photos.claimed)]
        marks = self._marks(options)
        hints = self._hints(marks, photos, options)
        absent = dict([*entries_without_photo(self._photos, self._folders), *annotations_without_image(marks)])
        inputs = tuple(InputFile(root / n, Path(n), hints[n]) for n in photos)
        others = tuple(n for n in names if n not in own and n not in hints)
        notes = [*notes, *mask_notes, *self._photos.notes()]
        return Plan(inputs, tuple(annotations), tuple(masks), others, absent=tuple(absent.items()), notes=tuple(notes))

    def rewrite(self, name: str, data: bytes, changes: Changes) -> bytes | None:
        """Add faces to a file of detections, and remove the entries of photos that were not written."""
        file = self._files.get(name)
        if file is None:
            return None if self._maps.get(name) in changes.gone else data
        gone = {k for k, entries in file.images.items() if all(self._named(name, e) in changes.gone for e in entries)}
        faces = {key: changes.faces.get(self._named(name, entry)) for key, entry in file.keyed_images()}
        adding = self._options.add_faces and file.is_detections
        if not gone and not adding:
            return data
        found = {key: one for key, one in faces.items() if one is not None and key not in gone}
        return rewrite_coco(data, gone, found if adding else None, self._options.face_class, file.image_of)

    def created(self, changes: Changes) -> Iterator[tuple[str, bytes]]:
        """Yield nothing: COCO needs no further files."""
        del changes
        return iter(())

    def _read(self, root: Path, names: Sequence[str], options: AnnotationOptions) -> dict[str, CocoFile]:
        boxes = options.boxes == FROM_ANNOTATIONS
        asked = [_within(root, path) for path in self.where.annotations]
        usual = [n for n in names if n.endswith(".json") and (_has_usual_place(n) or _looks_like_coco(root / n))]
        files = {}
        for name in asked or usual:
            file = read_coco(root / name, boxes=boxes)
            if file is not None:
                files[name] = file
            elif asked:
                raise DatasetError(root / name, "it is not a COCO file: it has no list of images")
        if not files:
            raise OptionError("annotations", f"{root} contains no COCO file annotations/*.json or *.json. Name it.")
        return files

    def _require_new_class(self, name: str) -> None:
        files = [file for file, read in self._files.items() if any(name in names for names in read.categories.values())]
        if files:
            raise OptionError("face_class", f"{files[0]} has a class '{name}' already. Choose another name.")
        if not any(file.is_detections for file in self._files.values()):
            raise OptionError("add_faces", "no annotation file has categories and annotations to add faces to.")

    def _marks(self, options: AnnotationOptions) -> dict[str, Marks]:
        """Return the marks of each annotation file, if the options ask for them."""
        if options.boxes != FROM_ANNOTATIONS:
            return {name: Marks() for name in self._files}
        classes = (n for f in self._files.values() for names in f.categories.values() for n in names)
        parts = any(file.has_parts for file in self._files.values())
        chosen = choose_classes(options.classes, classes, may_be_none=parts)
        found = {}
        for name, file in self._files.items():
            kinds: dict[Key, Kind] = {}
            for key, names in file.categories.items():
                if fits := [chosen[one] for one in names if one in chosen]:
                    kinds[key] = min(fits, key=list(Kind).index)
            file.others = [*self._files.values()]
            found[name] = file.marks(kinds, name, options.box_unit)
        return found

    def _places(self, name: str, file: CocoFile, finder: Finder) -> list[str]:
        """Return the folders that an annotation file's names may be relative to, the one with the most photos first."""
        tried = list(dict.fromkeys(self._candidates(name)))
        some = [entry.file_name for entry in islice(file.entries(), _LOOKED_FOR) if entry.file_name]
        hits = [sum(bool(finder.at(one, [folder])) for one in some) for folder in tried]
        plain = [one for one in some if is_plain(one)]
        if plain and not max(hits):
            raise OptionError("images", f"the photos that {name} names, such as '{plain[0]}', are in none of the "
                              f"folders {', '.join(t or '.' for t in tried)}. Name the right folder.")  # fmt: skip
        best = tried[hits.index(max(hits))]
        return [best, *(folder for folder in tried if folder != best)]

    def _candidates(self, name: str) -> Iterator[str]:
        if self.where.images is not None:
            yield "" if self.where.images == Path() else self.where.images.as_posix()
            return
        path = PurePosixPath(name)
        base = path.parent.parent if path.parent.name == "annotations" else path.parent
        words = [path.stem, path.stem.rpartition("_")[2], path.stem.partition("_")[2]]
        for folder in ("", *words, "images", *(f"images/{word}" for word in words), "data"):
            yield _join("" if base == PurePosixPath() else base.as_posix(), folder)
        yield "" if path.parent == PurePosixPath() else path.parent.as_posix()
        yield ""

    def _named(self, name: str, entry: ImageEntry) -> str:
        """Return the name of an entry's photo in the journal."""
        if photo := self._photos.of(name, entry):
            return photo
        return entry_path(self._folders[name][0], entry) if is_plain(entry.file_name) else entry.shown

    def _hints(
        self, marks: dict[str, Marks], photos: Sequence[str], options: AnnotationOptions
    ) -> dict[str, AnnotationHints]:
        """Collect the annotations of each photo from all files."""
        marked: dict[str, dict[tuple[Kind, Box, bool], Marked]] = {photo: {} for photo in photos}
        sizes: dict[str, set[tuple[int, int]]] = {photo: set() for photo in photos}
        without = [name for name, file in self._files.items() if not file.images]
        for name, file in self._files.items():
            for key, entry in file.keyed_images():
                if (photo := self._photos.of(name, entry)) in marked:
                    boxes = [one for each in (name, *without) for one in marks[each].by_image.get(key, [])]
                    for one in boxes:  # files of instances and of keypoints hold the same persons
                        marked[photo].setdefault((one.kind, one.box, one.crowd), one)
                    sizes[photo].update([entry.size_wh] if entry.size_wh else [])
        skip = options.bad_boxes == "skip"
        reasons = {} if skip else photos_to_withhold(self._photos, marks, photos)
        return {
            photo: AnnotationHints(
                tuple(boxes.values()),
                next(iter(sizes[photo])) if len(sizes[photo]) == 1 else None,
                options.frame,
                unit="pixels" if options.box_unit == "auto" else options.box_unit,
                skip_bad=skip,
                problem=reasons.get(photo) or ("" if skip else contradiction(sizes[photo], [*boxes.values()])),
            )
            for photo, boxes in marked.items()
        }

    def _panoptic_maps(
        self, root: Path, there: set[str]
    ) -> tuple[list[str], list[Named], dict[str, tuple[str, ImageEntry] | None]]:
        """Return the panoptic maps with the entry of each, and notes on files that are not panoptic maps."""
        masks, notes, owners = [], [], {}
        for name, owner, ids in self._segments(there):
            if is_panoptic(read_or_nothing(root / name), ids):
                masks.append(name)
                owners[name] = owner
            else:
                notes.append((name, "contains more than the segments that annotations name: treated as a photo"))
        return masks, notes, owners

    def _segments(self, there: set[str]) -> Iterator[tuple[str, tuple[str, ImageEntry] | None, Collection[int]]]:
        """Yield each panoptic map that exists, its entry, and the segments that it may contain."""
        for name, file in self._files.items():
            folders = [_join(PurePosixPath(name).parent.as_posix(), PurePosixPath(name).stem), *self._candidates(name)]
            for panoptic in file.panoptic:
                entry = next(iter(file.images.get(panoptic.image, [])), None)
                places = (_join(folder, panoptic.file_name) for folder in folders if not leads_out(panoptic.file_name))
                if (found := next((p for p in places if p in there), None)) is not None:
                    yield found, (name, entry) if entry else None, panoptic.ids


def _join(folder: str, name: str) -> str:
    return PurePosixPath(folder, name).as_posix() if name else folder


def _within(root: Path, path: Path) -> str:
    """Return an annotation file's name relative to the data set's folder."""
    for base in (root, Path()):
        whole = (base / path).resolve()
        if whole.is_file() and root.resolve() in whole.parents:
            return whole.relative_to(root.resolve()).as_posix()
    raise OptionError("annotations", f"{path} is not a file of the data set {root}.")


def _lies_with_annotations(name: str) -> bool:
    return PurePosixPath(name).parent.name == "annotations" and not _is_photo(name)


def _has_usual_place(name: str) -> bool:
    return "/" not in name or _lies_with_annotations(name)


def _looks_like_coco(path: Path) -> bool:
    """Return whether a JSON file in another place has images and annotations, as Roboflow's do."""
    data = read_or_nothing(path)
    return all(key in data for key in (b'"images"', b'"annotations"', b'"image_id"'))


def _is_photo(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
