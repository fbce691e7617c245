"""The systems that the paper compares (§3.1, §7), by the names that recipes take as arguments.

base                                     no patches, no local modules: every token is a unit position
bpe[SIZE]                                base, its speech in SIZE (1000, the codebook's size or more) SentencePiece
                                         pieces of units
static[P]                                patches of P units (4)
ALIGNED                                  aligned, aligned-merged, bpe-aligned or bpe-aligned-merged: a word or a
                                         text piece a patch, silence in patches of its own or merged into them
mixed[P][-ALIGNED]                       each document static or ALIGNED (aligned), at even odds
curriculum[P][-from-ALIGNED][-to-mixed]  from ALIGNED to static patches, or to half of each; what "" means
bypass[-SYSTEM]                          any of these but base and bpe, with text going past the local modules
"""

import dataclasses
import re
from typing import Any

from lst_jax.core.errors import ConfigError

DEFAULT = "curriculum"
MERGED_PATCH = 9.4  # units, paper Table 6
PIECES = 1000  # paper §7
ALIGNED = "(?:bpe-)?aligned(?:-merged)?"
PATCHED = re.compile(
    rf"base|bpe(?P<pieces>[1-9]\d*)?|static(?P<p>[1-9]\d*)?|(?P<all>{ALIGNED})|"
    rf"mixed(?P<q>[1-9]\d*)?(?:-(?P<some>{ALIGNED}))?|"
    rf"curriculum(?P<r>[1-9]\d*)?(?:-from-(?P<first>{ALIGNED}))?(?P<to_mixed>-to-mixed)?"
)


@dataclasses.dataclass(frozen=True)
class System:
    """What a name says: the kind of model, the patches, and how many pieces of units there are, if any."""

    name: str
    kind: str  # as in `ModelConfig.architecture`
    strategy: str
    static_size: int
    aligned_to: str
    silence: str
    final_probability: float
    pieces: int | None

    @property
    def mean_patch(self) -> int | float:
        """Units a patch as far as rows are concerned: of the longest patches that a run ends in or stays with."""
        if self.kind == "base":
            return 1
        return MERGED_PATCH if (self.strategy, self.silence) == ("aligned", "merged") else self.static_size

    def patching(self, steps: int) -> dict[str, Any]:
        """The fields of `PatchingConfig` for a run of so many steps; a curriculum has a third of them each (§3.1)."""
        return dict(
            strategy=self.strategy,
            static_size=self.static_size,
            aligned_to=self.aligned_to,
            silence=self.silence,
            boundary_noise_ms=0.0,
            tau1=steps // 3,
            tau2=2 * steps // 3,
            final_probability=self.final_probability,
        )


def parse(name: str, units: int, where: str) -> System:
    """The system of this name over a codebook of `units`.

    Raises: ConfigError that begins with `where`.
    """
    name = name or DEFAULT
    bypass = re.fullmatch(r"bypass(?:-(?!base|bpe\d*$)(.+))?", name)
    patched = name if bypass is None else bypass[1] or DEFAULT
    found = PATCHED.fullmatch(patched)
    if found is None:
        raise ConfigError(
            f"{where}: no such system; use base, bpe[SIZE], static[P], aligned, aligned-merged, "
            "bpe-aligned, bpe-aligned-merged, mixed[P][-ALIGNED], "
            "curriculum[P][-from-ALIGNED][-to-mixed] or bypass[-SYSTEM]"
        )
    word = re.match("[a-z]+", patched)[0]
    pieces = int(found["pieces"] or PIECES) if word == "bpe" and not found["all"] else None
    if pieces is not None and pieces < units:
        raise ConfigError(f"{where}: each of the {units} units is a piece; use bpe{units} at least")
    base = not found["all"] and word in ("base", "bpe")
    aligned = found["all"] or found["some"] or found["first"] or "aligned"
    return System(
        name=name,
        kind="base" if base else "lst_bypass" if bypass else "lst",
        strategy="aligned" if found["all"] else "none" if base else word,
        static_size=int(found["p"] or found["q"] or found["r"] or 4),
        aligned_to="bpe" if aligned.startswith("bpe") else "word",
        silence="merged" if aligned.endswith("merged") else "separate",
        final_probability=0.5 if found["to_mixed"] else 0.0,
        pieces=pieces,
    )
