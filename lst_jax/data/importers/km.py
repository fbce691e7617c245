"""`.km` files, as HuBERT's labels are written: a line of units for each recording of the list beside it.

    train.tsv   /data/audio               train.km   71 71 93
                a/u1.flac<TAB>480                    5 5 5 9

are the utterances a/u1 and so on, without words. The list has the audio's folder, then a path and its samples per line.
A shard `train_2_8.km` has the third of eight parts of `train.tsv`. Public facts: fairseq, `examples/hubert/simple_kmeans`
(README, `dump_km_label.py`) and `examples/wav2vec/wav2vec_manifest.py`.
"""

import pathlib
import re
from collections.abc import Iterator

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data import line_files
from lst_jax.data.importers import base, gslm
from lst_jax.data.importers.formats import Option, Path, UnitFormat, Units
from lst_jax.data.records import Utterance
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

SUFFIX, LIST_SUFFIX = ".km", ".tsv"
_SHARD = re.compile(r"(.+)_(\d+)_(\d+)")


def read(path: Path, units: Units, on_bad: base.OnBad) -> Iterator[Utterance]:
    """The utterances of a file of such lines.

    Raises: DataError where the list is missing or has another length; RejectedItem naming file and line, by default.
    """
    place = to_place(path)
    names = _names(place, units.options["tsv"] if "tsv" in units.options else None)
    lines = list(line_files.lines(place, skip_bad=True))
    if len(lines) != len(names):
        raise DataError(
            f"{place}: has {len(lines)} lines for the {len(names)} recordings of its list; give the list of these units "
            "with --tsv"
        )

    def parse(item: tuple[str, str | RejectedItem, str]) -> tuple[str, Utterance]:
        place, line, name = item
        return place, gslm.utterance_of(name, base.text_of(line), units.codebook_size, units.source)

    items = ((place, (place, line, name)) for (_, place, line), name in zip(lines, names, strict=True))
    return base.unique(base.converted(items, parse, on_bad), on_bad)


def part_of_shard(total: int, rank: int, shards: int) -> slice:
    """The lines of a list that shard `rank` of `shards` has. Example: part_of_shard(10, 1, 4) -> slice(2, 5)"""
    return slice(round(total / shards * rank), round(total / shards * (rank + 1)))


def _names(path: Place, given: str | None) -> list[str]:
    """Paths of the recordings, relative to the list's folder, in the order of the lines."""
    name = pathlib.PurePath(path.name)
    stem = name.with_suffix("").stem if name.suffix in line_files.COMPRESSED else name.stem
    shard = _SHARD.fullmatch(stem)
    candidates = [path.with_name(stem + LIST_SUFFIX), *([path.with_name(shard[1] + LIST_SUFFIX)] if shard else [])]
    found = to_place(given) if given else next((file for file in candidates if objects.look(file)), None)
    if found is None:
        raise DataError(
            f"{path}: has no {candidates[-1].name} beside it to name its recordings; give the list with --tsv"
        )
    rows = [line for _, _, line in line_files.lines(found)][1:]
    names = [row.split("\t")[0].strip() for row in rows if row.strip()]
    if shard and found.name != stem + LIST_SUFFIX and int(shard[2]) < int(shard[3]):
        names = names[part_of_shard(len(names), int(shard[2]), int(shard[3]))]
    return names


FORMAT = UnitFormat(
    "km",
    ".km lines of units beside a .tsv list",
    read,
    options=(
        Option(
            "tsv", "the list of the recordings, where it does not lie beside the .km file", metavar="FILE", path=True
        ),
    ),
    patterns=(f"*{SUFFIX}",),
)
