"""Write a data set in the form that training reads.

`prepare coco`, `ochuman` and `crowdpose` check what was downloaded and write it as
ArrayRecord; `prepare NAME --help` says what to download, and `prepare coco --download`
does it. `prepare own` does so with keypoints of your own. `prepare synthetic` draws
people, `prepare animals` animals with keypoints of their own, and write them in COCO's
layout.
"""

import argparse
import pathlib
import shlex
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logocap_jax.skeletons import Skeleton

# Downloads of each data set and where they go, for `--help`.
_DOWNLOADS = {
    "coco": """\
COCO 2017, to train and to score. With --download this command downloads and unpacks
it: 20 GB, and 61 GB of disk space in all. By hand: from http://images.cocodataset.org,
unpacked into one folder:

  zips/train2017.zip                          118,287 images, 18 GB
  zips/val2017.zip                            5,000 images, 1 GB
  annotations/annotations_trainval2017.zip    241 MB; needed are
    annotations/person_keypoints_train2017.json
    annotations/person_keypoints_val2017.json

For `eval.py --test-dev`, which reads them as they are:

  zips/test2017.zip                           40,670 images, 6 GB
  annotations/image_info_test2017.zip         1 MB; needed is
    annotations/image_info_test-dev2017.json  20,288 of these images

Images are looked for in train2017/ or images/train2017/, and so on. One of train and
val is enough.
""",
    "ochuman": """\
OCHuman, to score weights trained on COCO: people who cover each other, with COCO's
keypoints and metrics. Its authors ask for a form to be filled in, so you have to
download it yourself:
https://github.com/liruilong940607/OCHumanApi. Into one folder:

  images/                                     5,081 images, 667 MB
  annotations/ochuman_coco_format_val_range_0.00_1.00.json    2,500 images
  annotations/ochuman_coco_format_test_range_0.00_1.00.json   2,231 images

The annotations may also lie in the folder itself. ochuman.json is not needed. One of
val and test is enough.
""",
    "crowdpose": """\
CrowdPose, to train and to score: crowds, with 14 keypoints of its own. To be downloaded
by hand, from the two Google Drive links of https://github.com/Jeff-sjtu/CrowdPose,
into one folder:

  images/                                     20,000 images
  annotations/crowdpose_train.json            10,000 of them
  annotations/crowdpose_val.json              2,000
  annotations/crowdpose_test.json             8,000

The annotations may also lie in json/ or in the folder itself. They have no areas: that
of a person is 0.53 of the box, as in the official evaluation. One of the three is
enough.
""",
    "own": """\
Data of your own, to train and to score: the export of a label tool, as unpacked. CVAT
("COCO Keypoints 1.0"), Label Studio, Roboflow ("COCO keypoints"), Supervisely,
COCO-annotator and others write COCO-style JSON under many names, which are found by
looking; so are YOLO's pose labels (data.yaml with kpt_shape). Fields that the tool left
out are derived, and said.

A skeleton.toml in the folder says what COCO's format lacks: which keypoints mirror each
other, where their names do not tell, and how precisely people can annotate them (see
docs/own_data.md). Where there is no split for evaluation, some images are held out.
""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    kinds = parser.add_subparsers(required=True, metavar="kind", dest="kind")

    for name, text in _DOWNLOADS.items():
        kind = kinds.add_parser(
            name,
            help=text.partition(",")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_folder_arguments(kind, name)
        if name == "coco":
            _add_download_arguments(kind)
        if name == "own":
            _add_export_arguments(kind)

    for name, what in (("synthetic", "people"), ("animals", "5-keypoint animals")):
        drawn = kinds.add_parser(name, help=f"drawn {what} in COCO's layout")
        drawn.add_argument("--out", type=pathlib.Path, required=True)
        drawn.add_argument("--train", type=int, default=256, help="training images")
        drawn.add_argument("--val", type=int, default=64, help="validation images")
        drawn.add_argument("--size", type=int, default=256, help="side in pixels")
        drawn.add_argument("--seed", type=int, default=0)
        drawn.set_defaults(prepare=_prepare_drawn)


def _add_folder_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    add = parser.add_argument
    add(
        f"--{name}-dir",
        dest="folder",
        type=pathlib.Path,
        required=True,
        help="folder of what was downloaded",
    )
    add("--out", type=pathlib.Path, required=True)
    add("--skip-bad", action="store_true", help="leave bad records out and count them")
    add(
        "--beam",
        metavar="OPTIONS",
        help="prepare with Apache Beam and its options, all in one text, such as "
        "--beam='--runner=FlinkRunner --flink_master=HOST:PORT'; see docs/scaling.md",
    )
    parser.set_defaults(prepare=_prepare_folder, download=None)


def _add_download_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--download",
        nargs="?",
        const="train,val",
        metavar="SPLIT,...",
        help="first bring the folder what it lacks of these splits, train,val where "
        "none is named; test-dev is another. Archives are checked by their SHA-256 "
        "and kept in its downloads/ (those in the folder itself are taken as well)",
    )
    parser.add_argument("--base-url", help="of a mirror; by default COCO's own server")


def _add_export_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    for split in ("train", "val"):
        add(f"--{split}", type=pathlib.Path, help=f"annotations of {split}")
    add(
        "--val-share",
        type=float,
        help="share of the images to hold out where none are of val; by default 0.1, "
        "and 0 where the folder has the official names of COCO",
    )
    add("--seed", type=int, default=0, help="of the images held out")
    add("--category", help="name of the one to take, where several have keypoints")
    add(
        "--sigma",
        type=float,
        help="how far off an annotator is, as a share of the person's size, where no "
        "skeleton.toml says it; by default 0.05, and COCO's for COCO's keypoints",
    )
    parser.set_defaults(prepare=_prepare_own)


def run(args: argparse.Namespace) -> int:
    """Write the data set.

    Raises:
      ValueError: if the input is unusable; nothing is written then.
    """
    args.prepare(args)
    return 0


def _prepare_folder(args: argparse.Namespace) -> None:
    from data_pipeline.read.layouts import LAYOUTS, is_prepared

    if args.download and not is_prepared(args.out):
        _download(args)
    official = {layout.name: layout.skeleton for layout in LAYOUTS}
    _prepare(args, args.folder, official.get(args.kind))


def _prepare_own(args: argparse.Namespace) -> None:
    from data_pipeline.prepare.exports import laid_out
    from data_pipeline.read.layouts import is_prepared

    if is_prepared(args.out):
        print(f"{args.out} is already prepared: nothing to do")
        return
    if args.val_share is not None and not 0 <= args.val_share < 1:
        raise ValueError(f"got --val-share {args.val_share}, expected 0 up to below 1")
    if args.sigma is not None and not 0 < args.sigma <= 1:
        raise ValueError(f"got --sigma {args.sigma}, expected above 0 up to 1")
    files = {name: getattr(args, name) for name in ("train", "val")}
    with laid_out(
        args.folder,
        args.out,
        files={name: path for name, path in files.items() if path is not None},
        val_share=args.val_share,
        seed=args.seed,
        category=args.category,
        sigma=args.sigma,
    ) as (folder, notes):
        print(*notes, sep="\n", end="\n" if notes else "", flush=True)
        _prepare(args, folder, None)


def _prepare(
    args: argparse.Namespace, folder: pathlib.Path, skeleton: "Skeleton | None"
) -> None:
    from data_pipeline.prepare.dataset import prepare_coco
    from data_pipeline.read.find_skeleton import find_skeleton

    skeleton = skeleton or find_skeleton(folder)
    result = prepare_coco(
        folder,
        args.out,
        skeleton=skeleton,
        skip_bad=args.skip_bad,
        beam_options=None if args.beam is None else shlex.split(args.beam),
    )
    if not result.written:
        print(f"{args.out} is already prepared: nothing to do")
        return
    for fault in result.faults:
        print(f"left out: {fault}", file=sys.stderr)
    for split, count in result.written.items():
        left_out, other = result.left_out[split], result.other[split]
        print(f"{split}: {count} images written, {left_out} left out")
        if other:
            print(f"{split}: {other} annotations without keypoints left out")
    if not skeleton.mirrors:
        print("mirroring is off: names of keypoints tell no sides (flip_pairs)")
    print(f"wrote {args.out}")


def _download(args: argparse.Namespace) -> None:
    from data_pipeline.prepare import download

    splits = args.download.split(",")
    lacking = download.lacking_archives(args.folder, splits, download.COCO_ARCHIVES)
    if lacking:
        print(download.require_space(args.folder, args.out, lacking), flush=True)
        address = args.base_url or download.COCO_ADDRESS
        download.download(args.folder, splits, lacking, address=address)


def _prepare_drawn(args: argparse.Namespace) -> None:
    from data_pipeline.drawn.animals import ANIMALS
    from data_pipeline.drawn.dataset import PEOPLE, write_drawn_dataset

    write_drawn_dataset(
        args.out,
        num_train=args.train,
        num_val=args.val,
        size=args.size,
        seed=args.seed,
        subject=ANIMALS if args.kind == "animals" else PEOPLE,
    )
    print(f"wrote {args.out}: {args.train} training, {args.val} validation images")
