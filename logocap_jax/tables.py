"""Tables as plain text or Markdown."""

import itertools
from collections.abc import Sequence

_GAP = "  "
_RULES = {"<": "---", ">": "---:", "^": ":---:"}


def format_table(
    rows: Sequence[Sequence[str]],
    *,
    align: str = "<>",
    min_width: int = 0,
    markdown: bool = False,
) -> str:
    """Lay out rows of text.

    Args:
      rows: cells of each row, the header first. A row of one cell is a title: it may be
        wider than the first column. Missing cells at the end of a row are empty.
      align: `<`, `>` or `^` for each column; the last one holds for all further ones.
      min_width: least width of a column of plain text, characters.
      markdown: write Markdown; columns are not padded then.

    Returns:
      Lines without a newline at the end; plain text has no trailing spaces.
    """
    columns = max(map(len, rows), default=0)
    aligns = align[:columns] + align[-1:] * (columns - len(align))
    if markdown:
        header, *others = ([*row, *[""] * (columns - len(row))] for row in rows)
        rule = [_RULES[side] for side in aligns]
        return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *others))
    cells = itertools.zip_longest(*(row for row in rows if len(row) > 1), fillvalue="")
    widths = [max(min_width, *map(len, column)) for column in cells]
    return "\n".join(_format_row(row, aligns, widths) for row in rows)


def _format_row(row: Sequence[str], aligns: str, widths: Sequence[int]) -> str:
    columns = zip(row, aligns, widths, strict=False)
    cells = (f"{cell:{side}{width}}" for cell, side, width in columns)
    return (_GAP.join(cells) if widths else "".join(row)).rstrip()
