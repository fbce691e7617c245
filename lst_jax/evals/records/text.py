"""Rows of records for the terminal."""

from collections.abc import Sequence

from lst_jax.core import text_table
from lst_jax.evals.records.kind import Row


def table(rows: Sequence[Row]) -> str:
    """One line for each row, in columns; "" where there is no row."""
    return "\n".join(line.strip() for line in text_table.columns(rows)) if rows else ""
