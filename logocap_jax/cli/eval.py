"""Evaluate a trained method.

Prints one row per result set; under `--out` go `metrics.json`, `protocol.json` (sigmas,
crowd thresholds), COCO result files, the loss curve of the run and overlays of the
first N images. With `--analyse` also where poses are wrong, `errors.json` and
`errors.png`. With `--test-dev` nothing but the file that COCO's server takes.
"""

import argparse
import pathlib

from logocap_jax.atomic import check_target
from logocap_jax.cli import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    train.add_run_arguments(parser)
    add = parser.add_argument
    add(
        "--workdir",
        type=pathlib.Path,
        help="folder of a run; its best checkpoint is evaluated",
    )
    add(
        "--weights",
        type=pathlib.Path,
        help="weights to evaluate instead: any file `logocap convert` reads, or a name "
        "that `logocap weights` lists",
    )
    add("--out", type=pathlib.Path, help="where to write; by default the workdir")
    add(
        "--overwrite",
        action="store_true",
        help="replace files of these names that this command has not written",
    )
    add("--split", help="by default the config's eval_split")
    add("--draw", type=int, default=0, metavar="N", help="images to draw poses on")
    add("--analyse", action="store_true", help="tell where poses are wrong, and how")
    add(
        "--people-only",
        action="store_true",
        help="score only images in which people have labelled keypoints",
    )
    add(
        "--crowd-thresholds",
        metavar="EASY,HARD",
        help="CrowdPose: crowd indices where easy ends and hard begins, such as "
        "0.1,0.8; by default those of the official evaluation",
    )
    add(
        "--test-dev",
        action="store_true",
        help="write a submission to COCO's server instead; scores nothing",
    )
    add("--algorithm", default="logocap-jax", help="the method's name in a submission")


def _check_targets(out: pathlib.Path, *, overwrite: bool) -> None:
    """Check that the files of an evaluation replace none of the user's."""
    ours = {
        "metrics.json": r'^\{\s*"\w+": \{\s*"AP',
        "results_*.json": r'^\[(\]\s*$|\{"image_id": )',
    }
    for name, pattern in ours.items():
        for path in out.glob(name):
            check_target(path, ours=pattern, overwrite=overwrite)


def run(args: argparse.Namespace) -> int:
    """Evaluate.

    Raises:
      ValueError: if the options do not go together, or as
        `experiment.evaluation.evaluate`, with its exit code.
    """
    out = args.out or args.workdir
    if (args.workdir is None) == (args.weights is None) or out is None:
        raise ValueError(
            f"got --workdir={args.workdir} --weights={args.weights} --out={out}; "
            "expected --workdir, or --weights and --out"
        )
    _check_targets(out, overwrite=args.overwrite)
    thresholds = parse_thresholds(args.crowd_thresholds)

    from logocap_jax.experiment.settings import load_config

    config = load_config(args.config, args.set)
    with train.logging_and_processes(args):
        from logocap_jax.experiment import evaluation
        from logocap_jax.experiment.run import resolve

        model = {"workdir": args.workdir, "weights": args.weights}
        if args.test_dev:
            run_ = resolve(config, split="test-dev")
            evaluation.submit_test_dev(run_, out, algorithm=args.algorithm, **model)
            return 0
        evaluation.evaluate(
            resolve(config, split=args.split or config.data.eval_split),
            out,
            num_drawn=args.draw,
            people_only=args.people_only,
            analyse=args.analyse,
            crowd_thresholds=thresholds,
            **model,
        )
    return 0


def parse_thresholds(text: str | None) -> tuple[float, float] | None:
    """Read `--crowd-thresholds`.

    Raises:
      ValueError: if it is not two numbers.
    """
    if text is None:
        return None
    try:
        easy_below, hard_from = map(float, text.split(","))
    except ValueError as error:
        raise ValueError(
            f"got --crowd-thresholds={text}, expected two numbers: 0.1,0.8"
        ) from error
    return easy_below, hard_from
