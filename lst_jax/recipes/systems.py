"""The systems that the paper compares (§3.1, §7), by the names that recipes take as arguments.

base                                     no patches and no local networks: every token is a patch
bpe[SIZE]                                base, with its speech in SIZE unit pieces of SentencePiece (default: 1000; at
                                         least the codebook's size)
static[P]                                patches of P units (default: 4)
ALIGNED                                  aligned, aligned-merged, bpe-aligned or bpe-aligned-merged: a word or a text
                                         piece per patch, with silence in patches of its own or merged into them
mixed[P][-ALIGNED]                       each document static or ALIGNED (default: aligned), at even odds
curriculum[P][-from-ALIGNED][-to-mixed]  from ALIGNED to static patches, or to half of each; "" means curriculum
bypass[-SYSTEM]                          any of these but base and bpe, with text going past the local networks

Each registered patching strategy gives its own part of this grammar (`Strategy.pattern`); base, bpe and bypass are ours.
"""

import dataclasses
import re
from typing import Any

from lst_jax.config import PatchingConfig
from lst_jax.core.errors import ConfigError
from lst_jax.data.patching import STRATEGIES, Curriculum, NoPatches, Strategy, strategy_of
from lst_jax.data.patching.base import DEFAULT_SIZE

DEFAULT = Curriculum.name
UNIT_PIECES = 1000  # paper §7
UNPATCHED = re.compile(r"base|bpe(?P<pieces>[1-9]\d*)?")


@dataclasses.dataclass(frozen=True)
class System:
    """What a name says: the architecture, the patching, and the number of unit pieces, if any."""

    name: str
    kind: str  # as in `ModelConfig.architecture`
    strategy: type[Strategy]
    fields: dict[str, Any]  # of `PatchingConfig`, as far as the name decides them
    pieces: int | None

    @property
    def mean_patch(self) -> int | float:
        """Units per patch for which rows are sized."""
        return strategy_of(PatchingConfig(**self.patching(0))).mean_patch

    def patching(self, steps: int) -> dict[str, Any]:
        """The fields of `PatchingConfig` for a run of so many steps. A curriculum has three parts of one length (§3.1)."""
        unchanged = dict(
            strategy=self.strategy.name,
            static_size=DEFAULT_SIZE,
            aligned_to="word",
            silence="separate",
            boundary_noise_ms=0.0,
            tau1=steps // 3,
            tau2=2 * steps // 3,
            final_probability=0.0,
        )
        return unchanged | self.fields


def parse(name: str, units: int, where: str) -> System:
    """The system of this name over a codebook of `units`.

    Raises: ConfigError that begins with `where`.
    """
    name = name or DEFAULT
    if found := UNPATCHED.fullmatch(name):
        pieces = int(found["pieces"] or UNIT_PIECES) if name.startswith("bpe") else None
        if pieces is not None and pieces < units:
            raise ConfigError(f"{where}: each of the {units} units is a piece; use bpe{units} at least")
        return System(name, "base", NoPatches, {}, pieces)
    bypass = re.fullmatch(r"bypass(?:-(.+))?", name)
    patched = name if bypass is None else bypass[1] or DEFAULT
    for strategy in STRATEGIES.values():
        if strategy.pattern is not None and (found := re.fullmatch(strategy.pattern, patched)):
            return System(name, "lst" if bypass is None else "lst_bypass", strategy, strategy.fields_of(found), None)
    known = ["base", "bpe[SIZE]", *(usage for strategy in STRATEGIES.values() for usage in strategy.usage)]
    raise ConfigError(f"{where}: no such system; use {', '.join(known)} or bypass[-SYSTEM]")
