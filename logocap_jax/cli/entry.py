"""What `train.py` and `eval.py` share at their front door."""

import argparse
import logging
import re
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import ConfigDict

from logocap_jax.cli import hosts


def run_script(body: Callable[[], int | None], *, required: Sequence[str]) -> None:
    """Run a script's body; what goes wrong ends in one line and an exit code.

    The code is that of the error (see `training/errors.py`), 2 for any other mistake
    of the user's, or 128 plus the number of the signal that ended the script.

    Args:
      body: what to do once the flags are parsed; returns the exit code, or None for 0.
      required: flags that must be given.
    """
    flags.mark_flags_as_required(required)
    app.run(lambda _: _run(body), flags_parser=_parse_flags)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    try:
        _check_overrides(argv)
        rest = flags.FLAGS(argv)
    except (flags.Error, ValueError) as error:
        _fail(error)
    if len(rest) > 1:
        _fail(f"got the arguments {rest[1:]}, expected flags only")
    return rest


def _check_overrides(argv: Sequence[str]) -> None:
    """Check that the config is there and has the keys set by `--config.KEY=VALUE`.

    On either mistake `config_flags` fails late or with a traceback.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", "-config", nargs="?")
    known, others = parser.parse_known_args(argv)
    if known.config is None:
        return  # reported as a required flag
    file, _, _ = known.config.partition(":")  # the rest is for its `get_config`
    if not Path(file).is_file():
        raise ValueError(f"got --config={known.config}, expected a file; see configs/")
    config = flags.FLAGS["config"].parser.parse(known.config)
    for argument in others:
        key = re.match(r"--?(?:noconfig|config)\.([\w.]+)", argument)
        if key:
            _check_key(config, key[1])


def _check_key(config: ConfigDict, key: str) -> None:
    *groups, name = key.split(".")
    path = "config"
    for part in (*groups, name):
        if not isinstance(config, ConfigDict) or part not in config:
            known = sorted(config) if isinstance(config, ConfigDict) else "nothing"
            raise ValueError(
                f"got --config.{key}, but {path} has no {part!r}; it has {known}"
            )
        config, path = config[part], f"{path}.{part}"


def _run(body: Callable[[], int | None]) -> int | None:
    verbosity = flags.FLAGS.verbosity
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax tells of every file
    if verbosity <= 0:
        _hush_orbax()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    ours = logging.getLogger("logocap_jax")
    ours.addHandler(handler)
    # With --verbosity=1 a mistake is told with its traceback.
    ours.setLevel(logging.DEBUG if verbosity > 0 else logging.INFO)
    ours.propagate = False
    try:
        if not hosts.join():
            ours.setLevel(logging.WARNING)
        return body()
    except (ValueError, OSError) as error:
        ours.debug("where it was found", exc_info=True)
        _fail(error, getattr(error, "exit_code", 2))
    except KeyboardInterrupt:
        _fail("interrupted", 128 + signal.SIGINT)


def _hush_orbax() -> None:
    """Let Orbax raise its errors without telling of each by the page as well."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Writes that have not begun when the first one fails.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        # Said by writes that are still under way when the first one has failed.
        if str(unraisable.exc_value) != "Event loop is closed":
            sys.__unraisablehook__(unraisable)

    sys.unraisablehook = hook


def _fail(error: object, code: int = 2) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(code)
