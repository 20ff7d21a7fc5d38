"""Train a method: `logocap train`, from a checkout.

python train.py --config configs/NAME.py --workdir DIR [--config.key=value ...]
"""

import sys

from logocap_jax.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
