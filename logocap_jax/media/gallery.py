"""Drawn pictures into a folder: PNGs of images, MP4s of films."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from logocap_jax.media import sound
from logocap_jax.media.films import FilmWriter
from logocap_jax.media.pictures import Picture
from logocap_jax.visualization.overlay import write_image


class Gallery:
    """The drawn pictures of a run."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if need be.

        Raises:
          OSError: if it cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._stems: dict[Path, str] = {}
        self._films: dict[str, FilmWriter] = {}
        self._film: Path | None = None
        self.notes: list[str] = []

    def add(
        self, picture: Picture, view: str, drawn: UInt8[np.ndarray, "H W 3"]
    ) -> None:
        """Write a drawn image, or append to a film.

        Args:
          picture: what was drawn upon. The frames of a film come one after the other.
          view: which view of it; empty for the usual one.
          drawn: RGB.

        Raises:
          ValueError: if a frame cannot be written.
        """
        if self._film != picture.path:
            self.finish_film()
        name = self._stem(picture.path) + (f".{view}" if view else "")
        if picture.frame is None:
            write_image(self._folder / f"{name}.png", drawn)
            return
        if name not in self._films:
            self._film = picture.path
            self._films[name] = FilmWriter(
                self._folder / f"{name}.mp4",
                frames_per_second=picture.frames_per_second,
            )
        self._films[name].add(drawn)

    def finish_film(self) -> None:
        """Close the film under way, if there is one; its sound is added."""
        for writer in self._films.values():
            writer.close()
            if self._film is not None and self._film.is_file():
                note = sound.copy_sound(self._film, writer.path)
                if note and note not in self.notes:
                    self.notes.append(note)
        self._films, self._film = {}, None

    def _stem(self, path: Path) -> str:
        """The file's name; a number follows where two files have the same."""
        if path not in self._stems:
            stem, count = path.stem, 1
            while stem in self._stems.values():
                count += 1
                stem = f"{path.stem}_{count}"
            self._stems[path] = stem
        return self._stems[path]
