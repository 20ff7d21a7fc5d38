"""A checksum within JSON, which tells whether it is still what was written."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

_KEY = "crc32"


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content, as JSON will give it back, and its checksum."""
    return {**content, _KEY: _checksum(content)}


def verify_checksum(content: Any) -> None:
    """Check that content is what `with_checksum` has made.

    Raises:
      ValueError: if it is not, or without a checksum.
    """
    if not isinstance(content, dict) or content.get(_KEY) != _checksum(content):
        raise ValueError("got another text than was written")


def _checksum(content: Mapping[str, Any]) -> int:
    kept = {key: value for key, value in content.items() if key != _KEY}
    return zlib.crc32(json.dumps(kept, sort_keys=True).encode())
