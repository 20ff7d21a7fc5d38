"""Runs from configs: what `logocap train` and `logocap eval` do with one."""

import contextlib

from logocap_jax.experiment.evaluation import evaluate
from logocap_jax.experiment.run import resolve
from logocap_jax.experiment.training import train


def train_from_config(config, workdir):
    return train(resolve(config, train=True), workdir)


def evaluate_from_config(config, *, out, split, **options):
    evaluate(resolve(config, split=split), out, **options)


def restore_last(config, workdir):
    """The last state of a run, read as evaluation reads it."""
    run = resolve(config)
    with contextlib.closing(run.open_checkpoints(workdir, data=None)) as checkpoints:
        return checkpoints.restore_last(run.state_shapes())
