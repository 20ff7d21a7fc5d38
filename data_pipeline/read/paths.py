"""Which paths read from a file may be followed."""

import pathlib
from typing import Any

MAX_NAME_LENGTH = 1024


def is_plain_relative(name: Any) -> bool:
    """Whether `name` is text for a path that cannot, as written, leave its folder.

    Links are another matter: resolve the path before opening it.
    """
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH:
        return False
    if not name.isprintable() or "\\" in name:
        return False
    path = pathlib.PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
