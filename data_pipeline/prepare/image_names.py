"""The image files that an export means, whatever folders its names have."""

import collections
import itertools
import pathlib
import re
import unicodedata
import urllib.parse
from collections.abc import Sequence

_NO_IMAGES = (".json", ".txt", ".yaml", ".yml", ".toml", ".md", ".html", ".csv")


def list_files(root: pathlib.Path) -> dict[str, list[pathlib.PurePosixPath]]:
    """All files that may be images, by name in one form of Unicode."""
    found = collections.defaultdict(list)
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in _NO_IMAGES and path.is_file():
            inside = pathlib.PurePosixPath(path.relative_to(root).as_posix())
            found[unicodedata.normalize("NFC", path.name)].append(inside)
    return found


def find_image(
    name: str, source: pathlib.Path, places: dict[str, list[pathlib.PurePosixPath]]
) -> pathlib.PurePosixPath | None:
    """The one file that a listed name means, None if there is none.

    Raises:
      ValueError: if several files are as likely.
    """
    plain = name.rpartition("?d=")[2].replace("\\", "/")
    for spelling in (plain, urllib.parse.unquote(plain)):
        path = pathlib.PurePosixPath(unicodedata.normalize("NFC", spelling))
        # Label Studio puts eight digits before the name of what was uploaded.
        for last in (path.name, re.sub(r"^[0-9a-f]{8}-", "", path.name)):
            found = places.get(last)
            if found:
                return _likeliest(name, path, found, source)
    return None


def _likeliest(
    name: str,
    path: pathlib.PurePosixPath,
    found: list[pathlib.PurePosixPath],
    source: pathlib.Path,
) -> pathlib.PurePosixPath:
    def rank(place: pathlib.PurePosixPath) -> tuple[int, bool, int]:
        folders = [part.lower() for part in place.parts[:-1]]
        return (
            _common(place.parent.parts[::-1], path.parent.parts[::-1]),
            any(part in source.stem.lower() for part in folders if part != "images"),
            _common(place.parts, source.parts),
        )

    best = max(map(rank, found))
    likely = [place for place in found if rank(place) == best]
    if len(likely) > 1:
        raise ValueError(
            f"{source}: image {name!r:.80}: got {len(likely)} files of this name, "
            f"{likely[0]} and {likely[1]}, expected one"
        )
    return likely[0]


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Number of equal entries at the start."""
    pairs = zip(one, other, strict=False)
    return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
