"""COCO: JSON files of instances, keypoints, captions or panoptic segments beside folders of photos."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

from styleid.datasets.classes import Kind, choose_classes
from styleid.datasets.formats.coco.json_file import CocoFile, ImageEntry, read_coco, rewrite_coco
from styleid.datasets.hints import Advice, Box, Marked
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
    _folders: dict[str, str] = field(default_factory=dict)
    _maps: dict[str, str | None] = field(default_factory=dict)
    _options: AnnotationOptions = field(default_factory=AnnotationOptions)

    def plan(self, root: Path, options: AnnotationOptions) -> Plan:
        """Read every annotation file and find the photos, label maps and others around them."""
        names = walk_files(root)
        self._options = options
        self._files = self._read(root, names, options)
        if options.add_faces:
            self._require_new_class(options.face_class)
        there = set(names)
        self._folders = {name: self._folder(name, file, there) for name, file in self._files.items()}
        chosen = self._classes(options)
        annotations = [*self._files, *(n for n in names if n not in self._files and _lies_with_annotations(n))]
        masks, notes = self._panoptic_maps(root, there)
        listed = [n for folder in options.masks for n in names if below(n, folder.as_posix()) and n.endswith(".png")]
        more, told = split_masks(root, [name for name in listed if name not in masks])
        masks, notes = [*masks, *more], [*notes, *told]
        advice = self._advice(chosen, options)
        barred = {*annotations, *masks}
        photos = [n for n in names if n not in barred and (_is_photo(n) or n in advice)]
        absent = [
            *self._hostile(),
            *((n, "annotations name it, but it is not there") for n in advice if n not in there),
        ]
        default = Advice(frame=options.frame)
        inputs = tuple(InputFile(root / n, Path(n), advice.get(n, default)) for n in photos)
        others = tuple(n for n in names if n not in barred and n not in set(photos))
        return Plan(inputs, tuple(annotations), tuple(masks), others, absent=tuple(absent), notes=tuple(notes))

    def rewrite(self, name: str, data: bytes, changes: Changes) -> bytes | None:
        """Add faces to a file of detections, take out the entries of photos that are gone."""
        file = self._files.get(name)
        if file is None:
            return None if self._maps.get(name) in changes.gone else data
        gone = {k for k, entries in file.images.items() if all(self._named(name, e) in changes.gone for e in entries)}
        faces = {key: changes.faces.get(self._named(name, entry)) for key, entry in file.keyed_images()}
        adding = self._options.add_faces and file.is_detections
        if not gone and not adding:
            return data
        found = {key: one for key, one in faces.items() if one is not None and key not in gone}
        return rewrite_coco(data, gone, found if adding else None, self._options.face_class)

    def created(self, changes: Changes) -> Iterator[tuple[str, bytes]]:
        """Yield nothing: COCO's files are all there."""
        del changes
        return iter(())

    def _read(self, root: Path, names: Sequence[str], options: AnnotationOptions) -> dict[str, CocoFile]:
        boxes = options.boxes == FROM_ANNOTATIONS
        asked = [_within(root, path) for path in self.where.annotations]
        usual = [n for n in names if n.endswith(".json") and ("/" not in n or _lies_with_annotations(n))]
        files = {}
        for name in asked or usual:
            file = read_coco(root / name, boxes=boxes)
            if file is not None:
                files[name] = file
            elif asked:
                raise DatasetError(root / name, "this is no COCO file: it has no list of images")
        if not files:
            raise OptionError("--annotations", f"{root} holds no COCO file as annotations/*.json or *.json. Name it.")
        return files

    def _require_new_class(self, name: str) -> None:
        files = [file for file, read in self._files.items() if name in read.categories.values()]
        if files:
            raise OptionError("--face-class", f"{files[0]} has a class '{name}' already. Choose another name.")
        if not any(file.is_detections for file in self._files.values()):
            raise OptionError("--add-faces", "no annotation file has categories and annotations to add faces to.")

    def _classes(self, options: AnnotationOptions) -> dict[str, Kind]:
        if options.boxes != FROM_ANNOTATIONS:
            return {}
        return choose_classes(options.classes, (n for f in self._files.values() for n in f.categories.values()))

    def _folder(self, name: str, file: CocoFile, there: set[str]) -> str:
        """Find the folder that an annotation file's names of photos are relative to."""
        tried = list(self._candidates(name))
        some = [e.file_name for e in islice(file.entries(), _LOOKED_FOR) if not leads_out(e.file_name)]
        hits = [sum(_join(folder, one) in there for one in some) for folder in tried]
        if some and not max(hits):
            raise OptionError("--images", f"the photos that {name} names, such as '{some[0]}', lie in none of "
                              f"{', '.join(t or '.' for t in dict.fromkeys(tried))}. Name their folder.")  # fmt: skip
        return tried[hits.index(max(hits))]

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

    def _photo(self, name: str, entry: ImageEntry) -> str | None:
        return None if leads_out(entry.file_name) else _join(self._folders[name], entry.file_name)

    def _named(self, name: str, entry: ImageEntry) -> str:
        """Return what the journal calls an entry's photo."""
        return self._photo(name, entry) or entry.file_name or "''"

    def _hostile(self) -> list[Named]:
        bad = {self._named("", e) for f in self._files.values() for e in f.entries() if leads_out(e.file_name)}
        return [(name, "annotations name it, but it leads out of the data set") for name in sorted(bad)]

    def _advice(self, chosen: dict[str, Kind], options: AnnotationOptions) -> dict[str, Advice]:
        """Collect what all files say of each photo."""
        marked: dict[str, dict[tuple[Kind, Box, bool], Marked]] = {}
        sizes: dict[str, set[tuple[int, int]]] = {}
        for name, file in self._files.items():
            kinds = {key: chosen[c] for key, c in file.categories.items() if c in chosen}
            boxes = file.marked(kinds, name)
            for key, entry in file.keyed_images():
                if (photo := self._photo(name, entry)) is not None:
                    known = marked.setdefault(photo, {})
                    for one in boxes.get(key, []):  # files of instances and of keypoints hold the same persons
                        known.setdefault((one.kind, one.box, one.crowd), one)
                    sizes.setdefault(photo, set()).update([entry.size_wh] if entry.size_wh else [])
        skip = options.bad_boxes == "skip"
        return {
            photo: Advice(
                tuple(boxes.values()),
                next(iter(sizes[photo])) if len(sizes[photo]) == 1 else None,
                options.frame,
                skip_bad=skip,
            )
            for photo, boxes in marked.items()
        }

    def _panoptic_maps(self, root: Path, there: set[str]) -> tuple[list[str], list[Named]]:
        masks, notes = [], []
        for name, photo, ids in self._segments(there):
            if is_panoptic(read_or_nothing(root / name), ids):
                masks.append(name)
                self._maps[name] = photo
            else:
                notes.append((name, "shows more than the segments that annotations name: treated as a photo"))
        return masks, notes

    def _segments(self, there: set[str]) -> Iterator[tuple[str, str | None, Collection[int]]]:
        """Yield each panoptic map that is there, the photo that it belongs to, and the segments that it may show."""
        for name, file in self._files.items():
            folders = [_join(PurePosixPath(name).parent.as_posix(), PurePosixPath(name).stem), *self._candidates(name)]
            for panoptic in file.panoptic:
                entry = next(iter(file.images.get(panoptic.image, [])), None)
                places = (_join(folder, panoptic.file_name) for folder in folders if not leads_out(panoptic.file_name))
                if (found := next((p for p in places if p in there), None)) is not None:
                    yield found, entry and self._photo(name, entry), panoptic.ids


def _join(folder: str, name: str) -> str:
    return PurePosixPath(folder, name).as_posix() if name else folder


def _within(root: Path, path: Path) -> str:
    """Return an annotation file's name below the data set's folder, however it was given."""
    for base in (root, Path()):
        whole = (base / path).resolve()
        if whole.is_file() and root.resolve() in whole.parents:
            return whole.relative_to(root.resolve()).as_posix()
    raise OptionError("--annotations", f"{path} is no file of the data set {root}.")


def _lies_with_annotations(name: str) -> bool:
    return PurePosixPath(name).parent.name == "annotations" and not _is_photo(name)


def _is_photo(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
