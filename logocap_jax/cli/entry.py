"""What `train.py` and `eval.py` share at their front door."""

import logging
import sys
from collections.abc import Callable

from absl import app
from absl import logging as absl_logging


def run_script(body: Callable[[], None], argv: list[str]) -> None:
    """Run a script's body; a mistake of the user's ends in one line, exit code 2.

    Args:
      body: what to do.
      argv: what absl left of the command line: the script's name.
    """
    if len(argv) > 1:
        raise app.UsageError(f"got the arguments {argv[1:]}, expected flags only")
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax tells of every file
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    ours = logging.getLogger("logocap_jax")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False
    try:
        body()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
