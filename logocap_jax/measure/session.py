"""A benchmark from its options to its tables and files."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from logocap_jax.device_memory import DoesNotFitError
from logocap_jax.experiment.configs import load_config
from logocap_jax.experiment.run import resolve
from logocap_jax.measure import inference, training
from logocap_jax.measure.devices import find_devices
from logocap_jax.measure.options import (
    Setting,
    all_settings,
    positive,
    split,
)
from logocap_jax.measure.record import (
    compare,
    describe,
    own_command,
    read_record,
    write_record,
)
from logocap_jax.measure.rows import Row
from logocap_jax.measure.runs import Effort, tell
from logocap_jax.measure.table import (
    busy_rows,
    format_headline,
    format_ratios,
    format_rows,
)
from logocap_jax.measure.topologies import parse_topology
from logocap_jax.methods.base import Variables
from logocap_jax.weights.files import load_weights

_Measure = Callable[[Setting], list[Row]]


def run_inference(args: argparse.Namespace) -> int:
    """Measure inference.

    Returns:
      1 if a setting did not fit, else 0.

    Raises:
      ValueError: if the options make no sense together.
    """
    session = _Session(args)
    config, effort = session.config, session.effort
    people = split(args.people, positive("--people")) or [config.method.num_slots]
    only = split(args.only, str)
    settings = list(all_settings(args, config, batch=1, side=config.eval.short_side))
    variables = _variables(config, args.weights, shapes_only=effort.compile_only)

    def measure(setting: Setting) -> list[Row]:
        return inference.benchmark_inference(
            *(config, setting, variables),
            people=people,
            only=only,
            share_canvases=args.share_canvases,
            effort=effort,
        )

    return session.run(settings, measure, inference.ADVICE)


def run_training(args: argparse.Namespace) -> int:
    """Measure training.

    Returns:
      1 if a setting did not fit, else 0.

    Raises:
      ValueError: if the options make no sense together.
    """
    session = _Session(args)
    config, effort = session.config, session.effort
    batch, side = config.batch_size, config.data.input_size
    settings = list(all_settings(args, config, batch=batch, side=side))

    def measure(setting: Setting) -> list[Row]:
        return training.benchmark_training(
            config, setting, people=args.people, effort=effort
        )

    return session.run(settings, measure, training.ADVICE)


def _variables(
    config: ConfigDict, weights: Path | None, *, shapes_only: bool
) -> Variables:
    method = resolve(config).method
    shapes: Variables = jax.eval_shape(method.init, jax.random.key(0))
    if weights is not None:
        if not weights.exists():
            raise ValueError(f"{weights}: no such weights, expected a file or a folder")
        return load_weights(weights, expected=shapes)
    return shapes if shapes_only else _fill(shapes)


def _find_device(args: argparse.Namespace) -> Any:
    """The device of `--topology`; None where that is not given."""
    if args.topology is None:
        return None
    topology = parse_topology(args.topology)
    if topology.size != 1 or not args.compile_only:
        raise ValueError(
            f"--topology: got {args.topology}, expected one device, such as h200:1 or "
            "v5e:1x1, and --compile-only"
        )
    (device,) = find_devices(topology)
    return device


def _fill(shapes: Variables) -> Variables:
    """Values that keep activations finite; `method.init` compiles for half a minute."""
    rng = np.random.default_rng(0)

    def fill(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if len(leaf.shape) > 1:
            scale = 1 / np.sqrt(np.prod(leaf.shape[:-1]))
            return rng.normal(0, scale, leaf.shape).astype(np.float32)
        ones = path[-1].key in ("scale", "var")
        return np.full(leaf.shape, float(ones), np.float32)

    return jax.tree_util.tree_map_with_path(fill, shapes)


class _Session:
    """What both have in common.

    Attributes:
      config: the config, changed as asked.
      effort: how much is done.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        """Read and check the options.

        Raises:
          ValueError: if one is unusable.
        """
        if args.rounds < 1:
            raise ValueError(f"--rounds: got {args.rounds}, expected 1 or more")
        if args.json is not None and not args.json.absolute().parent.is_dir():
            raise ValueError(f"{args.json}: no such folder")
        self.config = load_config(args.config, args.set)
        self.effort = Effort(
            args.rounds,
            args.seconds,
            args.compile_only,
            args.peak_tflops,
            _find_device(args),
        )
        self._json = args.json
        self._earlier = None if args.compare is None else read_record(args.compare)

    def run(self, settings: Sequence[Setting], measure: _Measure, advice: str) -> int:
        """Measure and print each setting; returns the exit code."""
        about = describe(own_command(), self.config, self.effort.device)
        print(format_headline(about), flush=True)
        rows: list[Row] = []
        too_large: dict[str, str] = {}
        for setting in settings:
            tell(str(setting))
            try:
                found = measure(setting)
            except DoesNotFitError as error:
                too_large[str(setting)] = str(error)
                tell(f"error: {setting}: {error}; {advice}")
            else:
                rows += found
                print(*format_rows(found), *format_ratios(found), sep="\n", flush=True)
            if self._json is not None:  # each time: what comes next may be cut short
                write_record(self._json, about | {"too_large": too_large}, rows)
        for line in busy_rows(rows):
            tell(line)
        if self._earlier is not None:
            print(*compare(rows, self._earlier), sep="\n")
        return 1 if too_large else 0
