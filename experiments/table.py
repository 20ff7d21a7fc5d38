"""Scores of many runs side by side with the paper's."""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from configs.ablations import SIDES, TABLE_1, TABLE_1_OF, VARIANTS, Variant
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
