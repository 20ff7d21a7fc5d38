"""Input: how fast images become batches, how many bytes they have, and the memory.

Rows `read` to `example` are of one thread of this process. A `pipeline` row goes from
files to batches on the host, as training takes them, with that many input workers.
"""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `logocap benchmark input` takes."""
    from logocap_jax.cli.settings import add_config

    parser.add_argument(
        "--data-dir", help="COCO's layout, or a prepared data set; else the config's"
    )
    add_config(parser)
    parser.add_argument(
        "--workers", default="0,1,2", help="input workers; 0: threads of this process"
    )
    parser.add_argument(
        "--batches", type=int, default=10, help="in a sample of the pipeline's time"
    )
    parser.add_argument("--rounds", type=int, default=5, help="samples of each time")
    parser.add_argument("--json", type=Path, help="write everything here, too")
    parser.add_argument("--compare", type=Path, help="with what --json wrote earlier")


def run(args: argparse.Namespace) -> int:
    """Measure and print.

    Raises:
      ValueError: if the config, the data or a number is unusable.
    """
    from logocap_jax.experiment.configs import load_config
    from logocap_jax.measure import input_rates, options, record, table

    for name in ("batches", "rounds"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name}: got {getattr(args, name)}, expected >= 1")
    folder = [] if args.data_dir is None else [f"data.dir={args.data_dir}"]
    config = load_config(args.config, [*args.set, *folder])
    workers = options.split(args.workers, _workers)
    earlier = None if args.compare is None else record.read_record(args.compare)
    source = input_rates.open_training_data(config)
    rows = input_rates.measure_stages(config, source, rounds=args.rounds)
    pipelines = [
        input_rates.measure_pipeline(
            config, source, count, batches=args.batches, rounds=args.rounds
        )
        for count in workers
    ]
    rows += [pipeline.row for pipeline in pipelines]
    print(*table.format_rows(rows), "", sep="\n")
    for pipeline in pipelines:
        print(*pipeline.lines(), sep="\n")
    if earlier is not None:
        print(*record.compare(rows, earlier), sep="\n")
    for warning in table.busy_rows(rows):
        print(warning, file=sys.stderr)
    if args.json is not None:
        about = record.describe(record.own_command(), config)
        figures = [pipeline.to_json() for pipeline in pipelines]
        record.write_record(args.json, about | {"pipelines": figures}, rows)
    return 0


def _workers(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"--workers: got {text!r}, expected numbers such as 0,1,2")
    return int(text)
