"""Images and frames of films and cameras, from names on the command line."""

import glob
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import UInt8

from logocap_jax.media import films
from logocap_jax.predictor.inputs import read_image

# A file, or the number of a camera.
Source: TypeAlias = Path | int

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
# Images of a folder that are not read; they are named, not passed over.
_OTHER_IMAGES = (".avif", ".bmp", ".gif", ".heic", ".tif", ".tiff", ".webp")


class Picture(NamedTuple):
    """An image, or a frame of a film or a camera."""

    path: Path  #: the file; of a camera, `camera` and its number
    pixels: UInt8[np.ndarray, "H W 3"]  #: RGB
    frame: int | None = None  #: number of the frame, from 1 on; None for an image
    frames_per_second: float = 0.0  #: of the film; 0 for an image
    seconds: float | None = None  #: time stamp of the frame; None for an image
    position: int = 1  #: of the file among all inputs, from 1 on


class Pictures:
    """The readable pictures of files and cameras.

    Attributes:
      faults: one line for each file that cannot be read, or breaks off.
      most: how many there are if all can be read; None with films and cameras.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        check: Callable[[tuple[int, int]], object],
    ) -> None:
        """Read nothing yet.

        Args:
          sources: images, films (by their suffix) and cameras.
          check: takes the `(width, height)` of an image or a film; raises `ValueError`
            if it cannot be used.
        """
        self._sources, self._check = sources, check
        self.faults: list[str] = []
        images_only = all(map(is_image, sources))
        self.most = len(sources) if images_only else None

    def __iter__(self) -> Iterator[Picture]:
        """Yield one after the other."""
        for position, source in enumerate(self._sources, start=1):
            try:
                for picture in self._pictures(source):
                    yield picture._replace(position=position)
            except ValueError as error:
                self.faults.append(str(error))

    def _pictures(self, source: Source) -> Iterator[Picture]:
        path = path_of(source)
        if is_image(source):
            pixels = read_image(path)
            self._check_named(path, pixels)
            yield Picture(path, pixels)
            return
        film = films.Film(source)
        for number, frame in enumerate(film, start=1):
            if number == 1:
                self._check_named(path, frame)
            rate, seconds = film.frames_per_second, film.seconds
            yield Picture(path, frame, number, rate, seconds)

    def _check_named(self, path: Path, pixels: np.ndarray) -> None:
        try:
            self._check((pixels.shape[1], pixels.shape[0]))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def is_image(source: Source) -> bool:
    """True unless it is a camera or has the suffix of a film."""
    return isinstance(source, Path) and source.suffix.lower() not in films.SUFFIXES


def path_of(source: Source) -> Path:
    """The file; a name for a camera."""
    return Path(f"camera{source}") if isinstance(source, int) else source


def find_sources(inputs: Sequence[str]) -> list[Source]:
    """Files of paths, folders and patterns, and cameras, in the order given, each once.

    Args:
      inputs: a number that is no file stands for a camera.

    Raises:
      ValueError: if one of them stands for no file.
    """
    suffixes = (*IMAGE_SUFFIXES, *films.SUFFIXES)
    sources: dict[Source, None] = {}
    for text in inputs:
        path = Path(text)
        matches: list[Source]
        if path.is_dir():
            matches = [
                file
                for file in sorted(path.iterdir())
                if file.suffix.lower() in (*suffixes, *_OTHER_IMAGES)
            ]
        elif path.exists():
            matches = [path]
        elif text.isdecimal():
            matches = [int(text)]
        else:
            matches = [Path(name) for name in sorted(glob.glob(text, recursive=True))]
        if not matches:
            raise ValueError(
                f"{text}: no image, expected a file, a pattern, a folder of "
                f"{', '.join(suffixes)}, or the number of a camera"
            )
        sources |= dict.fromkeys(matches)
    return list(sources)
