"""The small net of the demo, for experiments: an epoch from a common start.

    logocap prepare synthetic --out runs/drawn --train 1500 --val 120 \
        --size 192 --seed 7
    logocap train --config ablations:baseline,demo --workdir runs/start \
        --config.data.dir=runs/drawn --config.epochs=5.0 \
        --config.lr_milestones='(2.0,2.8,3.4,3.9,4.3,4.7)'
    python -m experiments.ablations --data runs/drawn --base drawn -- \
        --config.init_from=runs/start

As the paper's models start from a backbone that knows ImageNet, these start from a net
that finds initial poses of drawn people. Results: docs/experiments.md.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import load_config


def get_config() -> ConfigDict:
    config = load_config("demo")
    config.epochs = 1.0
    config.learning_rate = 4e-3
    config.lr_milestones = (0.4, 0.6, 0.75, 0.9)
    config.eval_every = 1.0
    return config
