"""A corpus of speech of any length made up from few recordings, in Parquet files as the Hugging Face hub stores them.

Each file holds a recording once per row group, however many rows repeat it: Parquet stores repeated values in a
dictionary. So 10,000 hours need a gigabyte, and readers still get the bytes of every row.
"""

import math
import pathlib
from collections.abc import Sequence

GROUP_ROWS = 10_000


def write_speech(
    folder: pathlib.Path, recordings: Sequence[tuple[bytes, str]], rows: int, files: int, group_rows: int = GROUP_ROWS
) -> list[pathlib.Path]:
    """Writes `rows` utterances as People's Speech has them: id, audio {bytes, path}, duration_ms, text.

    The rows take the recordings, (content of an audio file, its words), in turn. Equal arguments give equal bytes.
    Returns: the files, train-00000-of-NNNNN.parquet and so on, of equally many rows but for the last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    per_file = math.ceil(rows / files)
    paths = [folder / f"train-{number:05d}-of-{files:05d}.parquet" for number in range(files)]
    for number, path in enumerate(paths):
        first = min(rows, number * per_file)
        _write(path, recordings, range(first, min(rows, first + per_file)), group_rows)
    return paths


def _write(path: pathlib.Path, recordings: Sequence[tuple[bytes, str]], numbers: range, group_rows: int) -> None:
    import pyarrow
    import pyarrow.parquet

    sounds, texts = (pyarrow.array([one[column] for one in recordings]) for column in (0, 1))
    names = pyarrow.array([f"{which}.flac" for which in range(len(recordings))])
    writer = None
    for start in range(0, max(1, len(numbers)), group_rows):
        some = numbers[start : start + group_rows]
        which = pyarrow.array([number % len(recordings) for number in some], pyarrow.int32())
        taken = [pyarrow.DictionaryArray.from_arrays(which, column) for column in (sounds, names, texts)]
        columns = {
            "id": pyarrow.array([f"made-up/{number:09d}" for number in some], pyarrow.string()),
            "audio": pyarrow.StructArray.from_arrays(taken[:2], ["bytes", "path"]),
            "duration_ms": pyarrow.array([1000] * len(some), pyarrow.int32()),
            "text": taken[2],
        }
        table = pyarrow.table(columns)
        if writer is None:
            options = {"store_schema": False, "dictionary_pagesize_limit": 1 << 30}
            writer = pyarrow.parquet.ParquetWriter(path, table.schema, **options)
        writer.write_table(table, row_group_size=group_rows)
    writer.close()
