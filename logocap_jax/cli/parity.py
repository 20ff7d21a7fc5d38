"""Compare this project with arrays that the PyTorch reference computed.

Takes a folder of cases beside their weights, or a folder of such folders; see
docs/parity.md. Prints one table per case and exits with 1 if a comparison fails.
"""

import argparse
import pathlib

from logocap_jax.atomic import check_target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("dir", type=pathlib.Path, metavar="DIR")
    add("--overwrite", action="store_true", help="replace any file of that name")
    add("--json", type=pathlib.Path, help="write the results here, too")
    add(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the networks; bfloat16 is reported without pass marks",
    )


def run(args: argparse.Namespace) -> int:
    """Compare all cases on the CPU; return 1 if a comparison fails.

    Raises:
      ValueError: no cases, or a case or its weights are malformed.
    """
    from logocap_jax.evaluation.results import write_json
    from logocap_jax.parity import runner, table
    from logocap_jax.parity.compare import first_failure

    if args.json:
        check_target(args.json, ours=r'^\{\s*"dtype": ', overwrite=args.overwrite)
    results = []
    for case_results in runner.run_cases(args.dir, dtype=args.dtype):
        print(table.format_case(case_results), end="\n\n", flush=True)
        results += case_results
    print(table.format_verdict(results))
    if args.json:
        write_json(args.json, table.to_json(results, dtype=args.dtype), indent=2)
    return 0 if first_failure(results) is None else 1
