"""Evaluate a trained method: `logocap eval`, from a checkout.

python eval.py --config configs/NAME.py --workdir DIR [--out DIR] [--draw N]
python eval.py --config configs/NAME.py --weights FILE --out DIR
"""

import sys

from logocap_jax.cli import main

if __name__ == "__main__":
    sys.exit(main(["eval", *sys.argv[1:]]))
