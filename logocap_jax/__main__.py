"""`python -m logocap_jax`: the `logocap` command."""

import sys

from logocap_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
