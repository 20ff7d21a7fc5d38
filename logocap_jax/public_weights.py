"""Weights that somebody has published: where they are, whose, and how good.

Each method lists its own (`WeightFormat.public`). Nothing of it was downloaded by this
project: addresses, digits and AP are those that the publishers state.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

MMPOSE = "https://download.openmmlab.com/mmpose/"


class PublicWeights(NamedTuple):
    """One file.

    Attributes:
      backbone: its name.
      data: that they were trained on.
      short_side: of the input that they were trained for, px.
      path: of the file below `base`; without that the file's name, which users bring.
      ap: that the publisher states, of one scale with flip test; empty: not of poses.
      base: address of the publisher.
      sha256: of the file, its first digits, as far as they are published.
      licence: that the publisher states.
      source: where the file comes from, in words.
      settings: of the method with which that AP was measured.
    """

    backbone: str
    data: str
    short_side: int
    path: str
    ap: str = ""
    base: str = ""
    sha256: str = ""
    licence: str = ""
    source: str = ""
    settings: Mapping[str, Any] = {}

    @property
    def file(self) -> str:
        """Name of the file."""
        return self.path.rpartition("/")[2]


def of_mmpose(
    path: str, backbone: str, data: str, short_side: int, ap: str = "", **settings: Any
) -> PublicWeights:
    """A file of mmpose, whose name holds the first digits of its sum."""
    digits = re.search(r"[-_]([0-9a-f]{8})[-_.]", path)
    assert digits is not None
    return PublicWeights(
        *(backbone, data, short_side, path, ap, MMPOSE, digits[1]),
        licence="Apache-2.0",
        source="mmpose",
        settings=settings,
    )
