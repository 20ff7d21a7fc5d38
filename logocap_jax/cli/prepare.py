"""Write a data set in the form that training reads.

`prepare coco` checks a folder in COCO's layout and writes it as ArrayRecord;
`prepare synthetic` draws people and writes them in COCO's layout.
"""

import argparse
import pathlib
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `logocap prepare` takes."""
    kinds = parser.add_subparsers(required=True, metavar="kind", dest="kind")

    coco = kinds.add_parser("coco", help="COCO's layout to ArrayRecord")
    coco.add_argument("--coco-dir", type=pathlib.Path, required=True)
    coco.add_argument("--out", type=pathlib.Path, required=True)
    coco.add_argument(
        "--skip-bad", action="store_true", help="leave bad records out and count them"
    )
    coco.set_defaults(prepare=_prepare_coco)

    synthetic = kinds.add_parser("synthetic", help="drawn people in COCO's layout")
    synthetic.add_argument("--out", type=pathlib.Path, required=True)
    synthetic.add_argument("--train", type=int, default=256, help="training images")
    synthetic.add_argument("--val", type=int, default=64, help="validation images")
    synthetic.add_argument("--size", type=int, default=256, help="side in pixels")
    synthetic.add_argument("--seed", type=int, default=0)
    synthetic.set_defaults(prepare=_prepare_synthetic)


def run(args: argparse.Namespace) -> int:
    """Write the data set.

    Raises:
      ValueError: if the input is unusable; nothing is written then.
    """
    args.prepare(args)
    return 0


def _prepare_coco(args: argparse.Namespace) -> None:
    from data_pipeline.prepare import prepare_coco
    from logocap_jax.skeletons import COCO

    result = prepare_coco(
        args.coco_dir, args.out, skeleton=COCO, skip_bad=args.skip_bad
    )
    if not result.written:
        print(f"{args.out} is already prepared: nothing to do")
        return
    for fault in result.faults:
        print(f"left out: {fault}", file=sys.stderr)
    for split, count in result.written.items():
        left_out = result.left_out[split]
        print(f"{split}: {count} images written, {left_out} left out")
    print(f"wrote {args.out}")


def _prepare_synthetic(args: argparse.Namespace) -> None:
    from data_pipeline.drawn.dataset import write_drawn_dataset

    write_drawn_dataset(
        args.out,
        num_train=args.train,
        num_val=args.val,
        size=args.size,
        seed=args.seed,
    )
    print(f"wrote {args.out}: {args.train} training, {args.val} validation images")
