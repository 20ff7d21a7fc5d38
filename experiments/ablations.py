"""Train and score the rows of the paper's ablations, and make their table.

    python -m experiments.ablations --data demo/data --base demo --seeds 0,1,2 \
        --out runs/ablations

Each run is a command of `train.py`, or of `eval.py` for what is read off a run of
another row; it is shown. `--base w32`, the default, takes the paper's model instead of
a small one, and what follows `--` goes to all commands. Run the same command again to
go on: what is finished is kept. The table is written anew after each row: `table.md`,
and `rows.json` with every number.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from configs.ablations import BASES, SIDES, TABLE_1, TABLE_1_OF, VARIANTS, Variant
from logocap_jax.atomic import replacing
from logocap_jax.tables import format_table

Metrics = Mapping[str, Mapping[str, float | None]]

_HEADER = [
    *("variant", "what", "paper", "AP", "difference"),
    *SIDES.values(),
    "seeds",
]


class Row(NamedTuple):
    """The scores of one variant, trained with one seed."""

    variant: str  #: its name
    seed: int  #: of the run
    metrics: Metrics  #: by result set and metric, 0..1
    #: The same on images with people; None where that was not scored.
    people_only: Metrics | None = None


def format_tables(rows: Sequence[Row], variants: Mapping[str, Variant]) -> str:
    """Lay out runs as Markdown: one line per variant, in the order of `variants`.

    AP in percent: mean over seeds and, where there are two or more, the sample standard
    deviation; `difference`: mean and spread, over seeds, of what a variant has more
    than `full` with the same seed.
    """
    lines = [_HEADER]
    reference = _by_seed(rows, TABLE_1_OF, VARIANTS[TABLE_1_OF].answer)
    for name, variant in variants.items():
        answers = _by_seed(rows, name, variant.answer)
        if not answers:
            continue
        more = [answers[seed] - reference[seed] for seed in answers.keys() & reference]
        sides = (list(_by_seed(rows, name, side).values()) for side in SIDES)
        lines.append(
            [
                f"`{name}`",
                variant.what,
                f"{variant.paper_ap:.1f}",
                _spread(list(answers.values())),
                _spread(more, sign="+"),
                *map(_spread, sides),
                str(len(answers)),
            ]
        )
    tables = [table for table in (lines, _table_1(rows)) if table]
    texts = (format_table(table, align="<", markdown=True) for table in tables)
    return "\n\n".join(texts) + "\n"


def _table_1(rows: Sequence[Row]) -> list[list[str]]:
    full = [row for row in rows if row.variant == TABLE_1_OF and row.people_only]
    title = "images with people: result set of `full`"
    lines = [[title, "paper", "AP", "in each seed"]]
    for name, (what, paper_ap) in TABLE_1.items():
        values = [
            100 * ap
            for row in full
            if row.people_only and (ap := row.people_only[name]["AP"]) is not None
        ]
        each = ", ".join(f"{value:.1f}" for value in values)
        lines.append([what, f"{paper_ap:.1f}", _spread(values), each])
    return lines if full else []


def _by_seed(rows: Sequence[Row], variant: str, answer: str) -> dict[int, float]:
    """AP of a result set in percent, by seed; nothing where there is none."""
    scored = ((row, row.metrics.get(answer)) for row in rows if row.variant == variant)
    return {
        row.seed: 100 * ap
        for row, metrics in scored
        if metrics is not None and (ap := metrics["AP"]) is not None
    }


def _spread(values: Sequence[float], *, sign: str = "") -> str:
    if not values:
        return "-"
    mean = f"{statistics.fmean(values):{sign}.1f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {statistics.stdev(values):.1f}"


_ROOT = Path(__file__).resolve().parents[1]
_CONFIG = Path("configs/ablations.py")


class Command(NamedTuple):
    """A run of a script."""

    arguments: tuple[str, ...]  #: the script and its flags
    result: Path  #: what it leaves when it is done


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for; the exit code is that of the first command to fail."""
    args, extra = _parse(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for seed in args.seeds:
        for name in args.variants:
            for command in commands(name, seed, args, extra):
                code = _run(command, args.out)
                if code:
                    print(f"error: {' '.join(command.arguments)}: exit code {code}")
                    return code
            rows.append(_read(name, seed, args.out))
            _write(rows, args.out)
    print((args.out / "table.md").read_text())
    return 0


def commands(
    name: str, seed: int, args: argparse.Namespace, extra: Sequence[str]
) -> Iterator[Command]:
    """The commands that train and score a row; `extra` are further flags."""
    trained = _trained_as(name)
    run = _folder(args.out, trained, seed)
    shared = (
        f"--workdir={run}",
        f"--config.data.dir={args.data}",
        f"--config.seed={seed}",
        *extra,
    )

    def config(variant: str) -> str:
        return f"--config={_CONFIG}:{variant},{args.base}"

    yield Command(("train.py", config(trained), *shared), run / "trained")
    if name != trained:
        out = _folder(args.out, name, seed)
        score = ("eval.py", config(name), *shared, f"--out={out}")
        yield Command(score, out / "metrics.json")
    if name == TABLE_1_OF:
        out = run / "people_only"
        score = ("eval.py", config(name), *shared, f"--out={out}", "--people-only")
        yield Command(score, out / "metrics.json")


def _folder(out: Path, name: str, seed: int) -> Path:
    return out / name / f"seed{seed}"


def _trained_as(name: str) -> str:
    """The first row that is trained with the same settings."""
    wanted = VARIANTS[name].trained_with
    return next(n for n, other in VARIANTS.items() if other.trained_with == wanted)


def _run(command: Command, out: Path) -> int:
    """Run a command, unless it is done; note how long it took."""
    if command.result.exists():
        return 0
    print(f"\n$ python {' '.join(command.arguments)}", flush=True)
    began = time.monotonic()
    # Seeds share what is compiled.
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(out / "compiled"))
    done = subprocess.run(
        [sys.executable, *command.arguments],
        cwd=_ROOT,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": cache},
    )
    if done.returncode:
        return done.returncode
    command.result.touch()
    with (out / "commands.jsonl").open("a") as log:
        seconds = round(time.monotonic() - began, 1)
        log.write(json.dumps({"command": command.arguments, "seconds": seconds}) + "\n")
    return 0


def _read(name: str, seed: int, out: Path) -> Row:
    folder = _folder(out, name, seed)
    own = name == _trained_as(name)
    metrics = last_scores(folder) if own else _read_json(folder / "metrics.json")
    people_only = folder / "people_only" / "metrics.json"
    return Row(
        name, seed, metrics, _read_json(people_only) if name == TABLE_1_OF else None
    )


def last_scores(run: Path) -> Metrics:
    """Scores of the last evaluation of a run of `train.py`.

    Raises:
      ValueError: if there was none.
    """
    lines = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    scored = [line for line in lines if any(key.startswith("eval/") for key in line)]
    if not scored:
        raise ValueError(f"{run}/metrics.jsonl: got no scores, expected a finished run")
    metrics: dict[str, dict[str, float | None]] = {}
    for key, value in scored[-1].items():
        if key.startswith("eval/"):
            _, result, metric = key.split("/")
            metrics.setdefault(result, {})[metric] = value
    return metrics


def _read_json(path: Path) -> Metrics:
    return json.loads(path.read_text())


def _write(rows: list[Row], out: Path) -> None:
    with replacing(out / "rows.json") as path:
        path.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n")
    with replacing(out / "table.md") as path:
        path.write_text(format_tables(rows, VARIANTS))


def _parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    argv = sys.argv[1:] if argv is None else list(argv)
    split = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(
        prog="python -m experiments.ablations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="data set")
    parser.add_argument("--base", choices=BASES, default="w32", help="model")
    parser.add_argument(
        "--variants", type=_names, default=tuple(VARIANTS), metavar="NAME,..."
    )
    parser.add_argument("--seeds", type=_numbers, default=(0, 1, 2), metavar="N,...")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    args = parser.parse_args(argv[:split])
    args.data, args.out = args.data.absolute(), args.out.absolute()
    return args, argv[split + 1 :]


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in VARIANTS:
            known = ", ".join(VARIANTS)
            raise argparse.ArgumentTypeError(f"got {name!r}, expected some of {known}")
    return names


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected numbers such as 0,1,2"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
