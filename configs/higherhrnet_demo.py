"""HigherHRNet as a small net on drawn people, with the budget of `demo`.

logocap prepare synthetic --out demo/data --train 1500 --val 120 --size 192 --seed 0
logocap train --config higherhrnet_demo --workdir demo/higherhrnet
logocap eval --config higherhrnet_demo --workdir demo/higherhrnet --out demo --draw 12

Tags weigh a hundred times as much as the reference's: with its weights they do not
begin to part before a quarter of this budget, with these after a twentieth. Not run to
its end.
"""

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import change_method, load_config


def get_config() -> ConfigDict:
    config = load_config("demo")
    change_method(config, "higherhrnet")
    config.method.head_blocks = 1
    config.method.push_weight = 0.1
    config.method.pull_weight = 0.1
    return config
