"""Report the needs of a training step on a mesh, before there is one.

Compiles the step of a config for the devices of a topology, v5e:16x16, v5p:4x4x4,
h200:8 or cpu:8, and prints memory, operations, bytes and collectives. TPUs need libtpu
(pip install 'logocap-jax[tpu-plan]') but no TPU, GPUs JAX for CUDA (pip install
'logocap-jax[cuda]') but no GPU. See docs/scaling.md. The exit code is 1 if there is a
warning.
"""

import argparse
import pathlib

from logocap_jax.atomic import check_target
from logocap_jax.cli.settings import add_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_config(parser)
    add = parser.add_argument
    add(
        "--topology",
        required=True,
        help="such as v5e:16x16, v5p:4x4x4, h200:8 or cpu:8",
    )
    add("--overwrite", action="store_true", help="replace any file of that name")
    add("--json", type=pathlib.Path, help="write the plan here, too")
    add(
        "--one-batch",
        action="store_true",
        help="half the time: do not compile for another batch to see what grows",
    )


def run(args: argparse.Namespace) -> int:
    """Plan one step; return 1 if there is a warning.

    Raises:
      ValueError: if the config, a setting or the topology is unusable.
    """
    if args.json:
        check_target(args.json, ours=r'^\{\s*"topology": ', overwrite=args.overwrite)

    from logocap_jax.evaluation.results import write_json
    from logocap_jax.experiment.settings import load_config
    from logocap_jax.measure import plan
    from logocap_jax.measure.topologies import parse_topology

    topology = parse_topology(args.topology)
    config = load_config(args.config, args.set)
    made = plan.make_plan(config, topology, compare=not args.one_batch)
    print(plan.format_plan(made))
    if args.json:
        write_json(args.json, plan.to_json(made), indent=2)
    return 1 if made.warnings else 0
