"""Check a data set: every record, every image.

Reports all that is wrong at once; training and evaluation use the same checks, and
refuse a data set that has a fault. What can be read but is hardly meant so (units,
copies, orientation) is named as well, each kind once. Exit code 1 if there is any.
"""

import argparse
import dataclasses
import json
import pathlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logocap_jax.skeletons import Skeleton

_REPORT = r'^\{\s*"(train|val|test)": \{\s*"images": '


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "data", type=pathlib.Path, help="COCO's layout, or what `logocap prepare` wrote"
    )
    parser.add_argument("--json", type=pathlib.Path, help="write the report there, too")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace any file of that name"
    )


def run(args: argparse.Namespace) -> int:
    """Check, report, and return 1 if something is wrong.

    Raises:
      ValueError: if the folder, or a file as a whole, is unusable.
      OSError: if the report cannot be written.
    """
    from data_pipeline.read.validate import validate
    from logocap_jax.atomic import check_target, replacing

    if args.json is not None:
        check_target(args.json, ours=_REPORT, overwrite=args.overwrite)
    reports = validate(args.data)
    skeleton = next(iter(reports.values())).skeleton
    assert skeleton is not None
    print(*_about(skeleton), sep="\n")
    for split, report in reports.items():
        for fault in report.faults:
            print(fault)
        for doubt in report.doubts:
            print(f"doubtful: {doubt.what} ({doubt.times}, first: {doubt.example})")
        print(
            f"{split}: {report.good} of {report.images} images are sound, with "
            f"{report.people} people; {len(report.faults)} faults, "
            f"{len(report.doubts)} kinds of doubtful things"
        )
        print(
            f"{split}: keypoints: %d visible, %d hidden, %d not labelled; people with "
            "keypoints, by COCO's areas: %d small, %d medium, %d large"
            % (*report.keypoints, *report.sizes)
        )
        if report.other:
            print(f"{split}: {report.other} annotations without keypoints left out")
    if args.json is not None:
        content = {
            split: vars(report)
            | {
                "faults": [fault._asdict() for fault in report.faults],
                "doubts": [doubt._asdict() for doubt in report.doubts],
                "skeleton": dataclasses.asdict(skeleton),
            }
            for split, report in reports.items()
        }
        with replacing(args.json) as path:
            path.write_text(json.dumps(content, indent=2) + "\n")
    return int(not all(report.is_sound for report in reports.values()))


def _about(skeleton: "Skeleton") -> list[str]:
    """The skeleton as understood, in lines."""
    names, flipped = skeleton.keypoints, skeleton.flip_index
    pairs = [f"{names[i]}/{names[j]}" for i, j in enumerate(flipped) if i < j]
    limbs = [f"{names[i]}-{names[j]}" for i, j in skeleton.limbs]
    sigmas = ", ".join(f"{sigma:g}" for sigma in skeleton.sigmas)
    return [
        f"skeleton {skeleton.name}: {len(names)} keypoints: {', '.join(names)}",
        f"mirrored pairs: {', '.join(pairs) or 'none'}"
        + ("" if skeleton.mirrors else "; no names of sides: mirroring is off"),
        f"limbs: {', '.join(limbs) or 'none'}",
        f"sigmas ({skeleton.sigmas_from}): {sigmas}",
    ]
