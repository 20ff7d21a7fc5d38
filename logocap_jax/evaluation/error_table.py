"""Error reports side by side, as text."""

from collections.abc import Iterator, Mapping

from logocap_jax.evaluation.analysis import KINDS
from logocap_jax.evaluation.error_report import ErrorReport
from logocap_jax.evaluation.table import format_percent
from logocap_jax.tables import format_table

Reports = Mapping[str, ErrorReport]


def format_reports(reports: Reports) -> str:
    """Lay out error reports as plain text, numbers in percent but for counts.

    Args:
      reports: by name of the result set, in the order to show; at least one.

    Returns:
      A table with a column per set, and one with a row per keypoint; without a newline
      at the end.
    """
    parts = (_summary(reports), _by_keypoint(reports))
    return "\n\n".join(format_table(list(rows), min_width=6) for rows in parts)


def _summary(reports: Reports) -> Iterator[list[str]]:
    columns = list(reports.values())
    yield ["", *reports]
    yield ["AP", *(format_percent(report.ap) for report in columns)]
    yield ["people to find", *(str(report.people) for report in columns)]
    yield ["  without a pose", *(str(report.people_missed) for report in columns)]
    yield ["poses", *(str(report.poses) for report in columns)]
    yield ["  that are nobody's", *(str(report.poses_unmatched) for report in columns)]
    for title, parts in (
        ("AP by square root of area, px", [report.by_size for report in columns]),
        ("AP by people in the image", [report.by_people for report in columns]),
        ("keypoints of found people", [report.shares() for report in columns]),
    ):
        yield [title]
        for name in parts[0]:
            yield [f"  {name}", *(format_percent(part[name]) for part in parts)]


def _by_keypoint(reports: Reports) -> Iterator[list[str]]:
    titles = ["AP", *KINDS[1:]]
    yield ["", *(cell for name in reports for cell in [name, *[""] * (len(KINDS) - 1)])]
    yield ["", *titles * len(reports)]
    columns = list(reports.values())
    for name in columns[0].kinds:
        cells = [
            value
            for report in columns
            for value in [
                report.by_keypoint[name],
                *(report.share_of(name, kind) for kind in KINDS[1:]),
            ]
        ]
        yield [name, *map(format_percent, cells)]
