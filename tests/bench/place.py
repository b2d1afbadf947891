"""Where a run of the bench works: a folder of its own, its programs, and how often things are repeated."""

import itertools
import os
import shutil
import tempfile
from types import TracebackType
from typing import Self

from tests.bench.programs import LOAD, STAMP, build


class Place:
    """A folder that goes when the run ends. With `quick` everything is repeated less often."""

    def __init__(self, folder: str | None = None, *, quick: bool = False) -> None:
        """Make the folder below `folder`, which decides the disk whose writes are measured."""
        self.folder = tempfile.mkdtemp(prefix="stoker-bench-", dir=folder)
        self.quick = quick
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def count(self, usual: int, quick: int) -> int:
        """Give how often to repeat something."""
        return quick if self.quick else usual

    def file(self, name: str) -> str:
        """Give the path of a file that is not there yet."""
        return os.path.join(self.folder, f"{next(self._numbers)}-{name}")

    def pipe(self) -> str:
        """Make a named pipe."""
        path = self.file("pipe")
        os.mkfifo(path)
        return path

    @property
    def stamp(self) -> str:
        """The program that writes the moment of its first instruction."""
        return build(self.folder, "stamp", STAMP)

    @property
    def load(self) -> str:
        """The program that asks as often as it is answered."""
        return build(self.folder, "load", LOAD)
