"""From a config's model to a submission to COCO's server."""

import logging
from pathlib import Path

import jax
from ml_collections import ConfigDict

from logocap_jax.evaluation.submission import check_algorithm_name, write_submission
from logocap_jax.experiment import build
from logocap_jax.experiment.inference import find_poses

_LOG = logging.getLogger(__name__)


def submit_test_dev(
    config: ConfigDict,
    *,
    workdir: Path | None,
    weights: Path | None,
    out: Path,
    algorithm: str,
) -> None:
    """Find the poses of COCO's test-dev and write what its server takes.

    One process writes. Nothing is scored: nobody has the annotations.

    Args:
      config: see `configs/common.py`; its data folder holds
        `annotations/image_info_test-dev2017.json` and `test2017/`.
      workdir: a run, of which the best checkpoint is taken (or, without one, the last).
      weights: weights to take instead.
      out: folder to write in.
      algorithm: what the submission calls the method.

    Raises:
      ValueError: if there is no model, it does not fit the config, images are not
        there, or the name cannot be part of a file's.
    """
    check_algorithm_name(algorithm)
    batches = build.make_batches(config, "test-dev")
    found = find_poses(config, batches, workdir=workdir, weights=weights)
    if jax.process_index() > 0:
        return
    out.mkdir(parents=True, exist_ok=True)
    path = write_submission(out, found.sets[found.answer], algorithm=algorithm)
    _LOG.info("%d images of test-dev: %s", len(batches.source), path)
