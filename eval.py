"""Evaluate a trained method.

    python eval.py --config configs/NAME.py --workdir DIR [--out DIR] [--draw N]
    python eval.py --config configs/NAME.py --weights FILE --out DIR

Prints one row per result set; under `--out` go `metrics.json`, `protocol.json` (what
they depend on: sigmas, crowd thresholds), COCO result files, the loss curve of the run
and overlays of the first N images. With `--analyse` also where poses are wrong,
`errors.json` and `errors.png`. With `--test-dev` nothing but the file that COCO's
server takes.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from logocap_jax.cli.entry import run_script

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of a run; its best checkpoint is evaluated."
)
_WEIGHTS = flags.DEFINE_string(
    "weights", None, "Weights to evaluate instead: any file `logocap convert` reads."
)
_OUT = flags.DEFINE_string("out", None, "Where to write; default: the workdir.")
_SPLIT = flags.DEFINE_string("split", None, "Split; default: the config's.")
_DRAW = flags.DEFINE_integer("draw", 0, "Number of images to draw poses on.")
_ANALYSE = flags.DEFINE_bool("analyse", False, "Say where poses are wrong, and how.")
_PEOPLE_ONLY = flags.DEFINE_bool(
    "people-only", False, "Score only images in which people have labelled keypoints."
)
_CROWD_THRESHOLDS = flags.DEFINE_list(
    "crowd-thresholds",
    None,
    "CrowdPose: crowd indices where easy ends and hard begins, such as 0.1,0.8; "
    "default: those of the official evaluation.",
)
_TEST_DEV = flags.DEFINE_bool(
    "test-dev", False, "Write a submission to COCO's server instead; scores nothing."
)
_ALGORITHM = flags.DEFINE_string(
    "algorithm", "logocap-jax", "What a submission calls the method."
)


def _evaluate() -> None:
    out = _OUT.value or _WORKDIR.value
    if (_WORKDIR.value is None) == (_WEIGHTS.value is None) or out is None:
        raise ValueError(
            f"got --workdir={_WORKDIR.value} --weights={_WEIGHTS.value} --out={out}; "
            "expected --workdir, or --weights and --out"
        )
    workdir = Path(_WORKDIR.value) if _WORKDIR.value else None
    weights = Path(_WEIGHTS.value) if _WEIGHTS.value else None
    if _TEST_DEV.value:
        from logocap_jax.experiment.submission import submit_test_dev

        submit_test_dev(
            _CONFIG.value,
            workdir=workdir,
            weights=weights,
            out=Path(out),
            algorithm=_ALGORITHM.value,
        )
        return
    from logocap_jax.experiment.evaluation import evaluate_from_config

    evaluate_from_config(
        _CONFIG.value,
        workdir=workdir,
        weights=weights,
        out=Path(out),
        split=_SPLIT.value or _CONFIG.value.data.eval_split,
        num_drawn=_DRAW.value,
        people_only=_PEOPLE_ONLY.value,
        analyse=_ANALYSE.value,
        crowd_thresholds=_crowd_thresholds(),
    )


def _crowd_thresholds() -> tuple[float, float] | None:
    given = _CROWD_THRESHOLDS.value
    if given is None:
        return None
    try:
        easy_below, hard_from = map(float, given)
    except ValueError as error:
        raise ValueError(
            f"got --crowd-thresholds={','.join(given)}, expected two numbers: 0.1,0.8"
        ) from error
    return easy_below, hard_from


if __name__ == "__main__":
    run_script(_evaluate, required=["config"])
