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

from logocap_jax.cli import downloads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `logocap prepare` takes."""
    kinds = parser.add_subparsers(required=True, metavar="kind", dest="kind")

    for name, text in downloads.TEXTS.items():
        kind = kinds.add_parser(
            name,
            help=text.partition(",")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_folder_arguments(kind, name)
        if name == "coco":
            _add_download_arguments(kind)

    for name, what in (("synthetic", "people"), ("animals", "5-keypoint animals")):
        drawn = kinds.add_parser(name, help=f"drawn {what} in COCO's layout")
        drawn.add_argument("--out", type=pathlib.Path, required=True)
        drawn.add_argument("--train", type=int, default=256, help="training images")
        drawn.add_argument("--val", type=int, default=64, help="validation images")
        drawn.add_argument("--size", type=int, default=256, help="side in pixels")
        drawn.add_argument("--seed", type=int, default=0)
        drawn.set_defaults(prepare=_prepare_drawn)


def _add_folder_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        f"--{name}-dir",
        dest="folder",
        type=pathlib.Path,
        required=True,
        help="folder of what was downloaded",
    )
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave bad records out and count them"
    )
    parser.add_argument(
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


def run(args: argparse.Namespace) -> int:
    """Write the data set.

    Raises:
      ValueError: if the input is unusable; nothing is written then.
    """
    args.prepare(args)
    return 0


def _prepare_folder(args: argparse.Namespace) -> None:
    from data_pipeline.prepare.dataset import prepare_coco
    from data_pipeline.read.find_skeleton import find_skeleton
    from data_pipeline.read.layouts import LAYOUTS, is_prepared

    if args.download and not is_prepared(args.out):
        _download(args)
    official = {layout.name: layout.skeleton for layout in LAYOUTS}
    result = prepare_coco(
        args.folder,
        args.out,
        skeleton=official.get(args.kind) or find_skeleton(args.folder),
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
