"""Fuzz targets for a while: `python -m tests.fuzz SECONDS [TARGET ...]`.

Ends with code 1 at the first case that is a problem, which it prints; put it into
`corpus/` or into a test of its own.
"""

import argparse
import logging
import random
import resource
import time

from tests.fuzz.targets import TARGETS

MEMORY_LIMIT = 6 << 30


def main() -> None:
    """Run the targets, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, help="for each target")
    named = {target.__name__: target for target in TARGETS}
    parser.add_argument("targets", nargs="*", choices=[*named, []], metavar="TARGET")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_intermixed_args()
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    chance = random.Random(args.seed)
    for target in [named[name] for name in args.targets] or TARGETS:
        fuzz_one = target.hypothesis.fuzz_one_input  # type: ignore[attr-defined]
        count, slowest = 0, 0.0
        end = time.monotonic() + args.seconds
        while (start := time.monotonic()) < end:
            fuzz_one(chance.randbytes(chance.choice([100, 500, 2000])))
            slowest = max(slowest, time.monotonic() - start)
            count += 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{target.__name__}: {count} inputs in {args.seconds:.0f} s, the slowest "
            f"in {slowest:.2f} s; peak memory {peak:.2f} GiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
