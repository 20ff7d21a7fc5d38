"""What the authors of COCO offer for download."""

import dataclasses
import pathlib
from collections.abc import Collection, Mapping

COCO_ADDRESS = "http://images.cocodataset.org"


@dataclasses.dataclass(frozen=True)
class Archive:
    """A zip file.

    Attributes:
      path: below the address of the data set.
      size: bytes.
      sha256: of the file, hexadecimal.
      holds: by split, the file or folder in it that is needed; it has the same path
        in the data set's own folder.
    """

    path: str
    size: int
    sha256: str
    holds: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.rpartition("/")[2]

    def lacking(self, folder: pathlib.Path, splits: Collection[str]) -> list[str]:
        """What of it the splits need and the data set's folder has not."""
        held = [path for split, path in self.holds.items() if split in splits]
        places = ("", "images")
        return [
            path
            for path in held
            if not any((folder / place / path).exists() for place in places)
        ]


# Sizes and sums: those that TFDS 4.9.10 registers for its own `coco`.
COCO_ARCHIVES = (
    Archive(
        path="annotations/image_info_test2017.zip",
        size=1_144_034,
        sha256="e52f412dd7195ac8f98d782b44c6dd30ea10241e9f42521f67610fbe055a74f8",
        holds={"test-dev": "annotations/image_info_test-dev2017.json"},
    ),
    Archive(
        path="annotations/annotations_trainval2017.zip",
        size=252_907_541,
        sha256="113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
        holds={
            "train": "annotations/person_keypoints_train2017.json",
            "val": "annotations/person_keypoints_val2017.json",
        },
    ),
    Archive(
        path="zips/val2017.zip",
        size=815_585_330,
        sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
        holds={"val": "val2017"},
    ),
    Archive(
        path="zips/test2017.zip",
        size=6_646_970_404,
        sha256="c7908c3c9f94ba2f3340ebbeec58c25db6be8774f18d68c2f15d0e369d95baba",
        holds={"test-dev": "test2017"},
    ),
    Archive(
        path="zips/train2017.zip",
        size=19_336_861_798,
        sha256="69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
        holds={"train": "train2017"},
    ),
)
