"""Where data sets keep annotations and images: as downloaded, and as prepared."""

import dataclasses
import pathlib
from collections.abc import Mapping

from logocap_jax import skeletons
from logocap_jax.skeletons import Skeleton

# The splits of labelled people, in the order in which they are prepared.
SPLITS = ("train", "val", "test")
# CrowdPose has no areas: its official evaluation, crowdposetools, takes this share of a
# person's box, about the share that people of COCO cover of theirs.
CROWDPOSE_AREA_OF_BOX = 0.53
_INFO_FILE = "dataset_info.json"  # TFDS's name


@dataclasses.dataclass(frozen=True)
class Layout:
    """The official file names of one data set."""

    name: str  #: of the data set
    skeleton: Skeleton  #: what its keypoints are
    annotations: Mapping[str, str]  #: by split, the annotation file
    annotation_folders: tuple[str, ...]  #: where it may be, below the data set's folder
    image_folders: Mapping[str, tuple[str, ...]]  #: by split, where its images may be
    #: Area of a person as a share of the box, where annotations have no areas.
    area_of_box: float | None = None
    unlabelled: frozenset[str] = frozenset()  #: splits that only list images

    def annotation_file(self, root: pathlib.Path, split: str) -> pathlib.Path:
        """Path of a split's annotations; the first candidate if none exists."""
        tried = [
            root / folder / self.annotations[split]
            for folder in self.annotation_folders
        ]
        return next((path for path in tried if path.is_file()), tried[0])

    def image_folder(self, root: pathlib.Path, split: str) -> pathlib.Path:
        """Find the images of a split.

        Raises:
          ValueError: if there are none.
        """
        tried = [root / folder for folder in self.image_folders[split]]
        for folder in tried:
            if folder.is_dir() and any(folder.iterdir()):
                return folder
        names = " or ".join(repr(str(folder)) for folder in tried)
        raise ValueError(f"{root}: got no images, expected them in {names}")


_COCO_IMAGES = {
    "train": "train2017",
    "val": "val2017",
    "test-dev": "test2017",
}
COCO = Layout(
    name="coco",
    skeleton=skeletons.COCO,
    annotations={
        "train": "person_keypoints_train2017.json",
        "val": "person_keypoints_val2017.json",
        "test-dev": "image_info_test-dev2017.json",
    },
    annotation_folders=("annotations",),
    image_folders={
        split: (f"images/{name}", name) for split, name in _COCO_IMAGES.items()
    },
    unlabelled=frozenset({"test-dev"}),
)
OCHUMAN = Layout(
    name="ochuman",
    skeleton=skeletons.COCO,
    annotations={
        "val": "ochuman_coco_format_val_range_0.00_1.00.json",
        "test": "ochuman_coco_format_test_range_0.00_1.00.json",
    },
    annotation_folders=("annotations", ""),
    image_folders=dict.fromkeys(("val", "test"), ("images",)),
)
CROWDPOSE = Layout(
    name="crowdpose",
    skeleton=skeletons.CROWDPOSE,
    annotations={split: f"crowdpose_{split}.json" for split in SPLITS},
    annotation_folders=("annotations", "json", ""),
    image_folders=dict.fromkeys(SPLITS, ("images",)),
    area_of_box=CROWDPOSE_AREA_OF_BOX,
)
LAYOUTS = (COCO, OCHUMAN, CROWDPOSE)


def find_layout(root: pathlib.Path, split: str) -> Layout:
    """The layout whose annotations of the split are there; else COCO's."""
    layouts = [layout for layout in LAYOUTS if split in layout.annotations]
    present = [
        layout for layout in layouts if layout.annotation_file(root, split).is_file()
    ]
    return next(iter(present or layouts), COCO)


def is_prepared(folder: pathlib.Path) -> bool:
    """The folder holds a finished data set written by `prepare_coco`."""
    return (folder / _INFO_FILE).is_file()


def prepared_annotations(folder: pathlib.Path, split: str) -> pathlib.Path:
    """Path of a split's annotations in a prepared data set."""
    return folder / f"ground_truth_{split}.json"


def annotation_file(folder: pathlib.Path, split: str) -> pathlib.Path:
    """Path of a split's annotations, prepared or as downloaded; need not exist."""
    prepared = prepared_annotations(folder, split)
    if prepared.is_file():
        return prepared
    return find_layout(folder, split).annotation_file(folder, split)
