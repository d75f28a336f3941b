"""The inputs of a run, kept as plain text to save memory with millions of files."""

from __future__ import annotations

import os
from array import array
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from styleid.engine.lists import list_of, read_list
from styleid.engine.shards import Shard
from styleid.errors import OptionError
from styleid.media.storage.files import FoundPath, InputFile, walk
from styleid.media.storage.remote import Place, RemotePath
from styleid.types import HintSource


class Inputs:
    """The files of a run, in order. Files of other shards are left out."""

    def __init__(
        self,
        inputs: Sequence[Place | InputFile],
        *,
        exclude: Place,
        shard: Shard | None = None,
        boxed: Collection[str] = (),
        decided: Collection[str] = (),
    ) -> None:
        """List the inputs.

        Args:
            inputs: Files, folders and lists of files.
            exclude: The output folder; files in it are left out.
            shard: Part of the inputs to take; None takes all.
            boxed: Names for which boxes are given.
            decided: Names for which decisions are given.

        Raises:
            OptionError: A name in `boxed` or `decided` is no input of any shard, or an input cannot be listed.
        """
        self._hint_sources: dict[str, HintSource] = {
            str(given.relative): given.hint_source
            for given in inputs
            if isinstance(given, InputFile) and given.hint_source is not None
        }
        self._roots: list[str | RemotePath] = []
        self._names: list[str] = []
        self._root_of = array("I")
        self._modified = array("d")
        missing = {"boxes": set(boxed), "decisions": set(decided)}
        numbers: dict[str | RemotePath, int] = {}
        for root, relative, modified in _all(inputs, exclude):
            name = relative.replace(os.sep, "/")
            for names in missing.values():
                names.discard(name)
            if shard is None or shard.takes(name):
                if root not in numbers:
                    numbers[root] = len(self._roots)
                    self._roots.append(root)
                self._names.append(relative)
                self._root_of.append(numbers[root])
                self._modified.append(modified)
        for option, names in missing.items():
            if names:
                raise OptionError(
                    option, f"'{min(names)}' is not an input of this run. Names are relative to the input folder."
                )

    def __len__(self) -> int:
        return len(self._names)

    @property
    def far(self) -> bool:
        """Whether some inputs are at URLs."""
        return any(isinstance(root, RemotePath) for root in self._roots)

    def __iter__(self) -> Iterator[InputFile]:
        for name, root, modified in zip(self._names, self._root_of, self._modified, strict=True):
            path = FoundPath(self._roots[root], name).whole()
            yield InputFile(path, Path(name), self._hint_sources.get(name), modified)


def _all(inputs: Sequence[Place | InputFile], exclude: Place) -> Iterator[FoundPath]:
    given = [one for one in inputs if not isinstance(one, InputFile)]
    lists = [path for one in given if (path := list_of(one)) is not None]
    if not lists:
        return walk(inputs, exclude=exclude)
    if len(inputs) > 1:
        raise OptionError("inputs", f"the list {lists[0]} must be the only input. Put all files into one list.")
    return read_list(lists[0], exclude=exclude)
