"""Images and frames of films, from what a person names on a command line."""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from logocap_jax.predictor import films
from logocap_jax.predictor.images import read_image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class Picture(NamedTuple):
    """An image, or a frame of a film.

    Attributes:
      path: the file.
      pixels: RGB.
      frame: number of the frame, from 1 on; None for an image.
      frames_per_second: of the film; 0 for an image.
    """

    path: Path
    pixels: UInt8[np.ndarray, "H W 3"]
    frame: int | None = None
    frames_per_second: float = 0.0


class Pictures:
    """The pictures of files, those that can be read.

    Attributes:
      faults: one line for each file that cannot be read, or breaks off.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read nothing yet.

        Args:
          paths: images, and films (by their suffix).
        """
        self._paths = paths
        self.faults: list[str] = []

    def __iter__(self) -> Iterator[Picture]:
        """Yield one after the other."""
        for path in self._paths:
            try:
                if path.suffix.lower() in films.SUFFIXES:
                    film = films.Film(path)
                    rate = film.frames_per_second
                    for number, frame in enumerate(film, start=1):
                        yield Picture(path, frame, number, rate)
                else:
                    yield Picture(path, read_image(path))
            except ValueError as error:
                self.faults.append(str(error))


def find_files(inputs: Sequence[str]) -> list[Path]:
    """Files of paths, folders and patterns, in the order given, each once.

    Raises:
      ValueError: if one of them stands for no file.
    """
    suffixes = (*IMAGE_SUFFIXES, *films.SUFFIXES)
    found: dict[Path, None] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes)
        elif path.exists():
            inside = [path]
        else:
            inside = [Path(name) for name in sorted(glob.glob(text))]
        if not inside:
            raise ValueError(
                f"{text}: no image, expected a file, a pattern, or a folder of "
                f"{', '.join(suffixes)}"
            )
        found |= dict.fromkeys(inside)
    return list(found)
