"""Check a data set: every record, every image.

Reports all that is wrong at once; training and evaluation use the same checks, and
refuse a data set that has a fault. What can be read but is hardly meant so (units,
copies, orientation) is named as well, each kind once. Exit code 1 if there is any.
"""

import argparse
import json
import pathlib

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
        if report.other:
            print(f"{split}: {report.other} annotations without keypoints left out")
    if args.json is not None:
        content = {
            split: vars(report)
            | {
                "faults": [fault._asdict() for fault in report.faults],
                "doubts": [doubt._asdict() for doubt in report.doubts],
            }
            for split, report in reports.items()
        }
        with replacing(args.json) as path:
            path.write_text(json.dumps(content, indent=2) + "\n")
    return int(not all(report.is_sound for report in reports.values()))
