"""Tables for a terminal."""

from collections.abc import Sequence

from lst_jax.core.console import printable


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = (1,)) -> list[str]:
    """Lines of aligned columns; rows may end early. Control characters in a cell are escaped.

    Args: `right` are the columns, from 0, that are aligned right.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    return [
        "  "
        + "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        for row in rows
    ]
