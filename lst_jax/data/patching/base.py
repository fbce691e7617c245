"""What a boundary rule and a patching strategy are: the two kinds of object that decide where patches lie.

A *boundary rule* cuts one run of speech into patches. A *patching strategy* chooses the rule of each document while a
run trains, and the one rule that is used at inference. Members are one file each; `registry` lists them.
"""

import abc
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from lst_jax.config import Config, PatchingConfig
from lst_jax.core.strict import fail

DEFAULT_SIZE = 4  # units per static patch where the name of a system gives none (paper §3.1)


class SpeechRun(NamedTuple):
    """One run of speech as rules see it: its length, and its words, counted in units from the run's first unit."""

    units: int
    word_start: np.ndarray  # int [words]
    word_end: np.ndarray  # int [words], exclusive
    piece_chars: Sequence[tuple[int, ...]] = ()  # characters of each text piece of each word, if the rule reads them


Boundaries = tuple[np.ndarray, np.ndarray]  # bool [units] each: a patch starts here; a patch is known to end here


def run_without_words(units: int) -> SpeechRun:
    """A run of so many units whose words are not known, or do not matter."""
    return SpeechRun(units, np.zeros(0, np.int64), np.zeros(0, np.int64))


def boundaries_at(units: int, *starts: np.ndarray) -> Boundaries:
    """Patches that start at unit 0 and at each of `starts`. The end of every patch is known."""
    start = np.zeros(units + 1, bool)
    start[0] = start[-1] = True
    for some in starts:
        start[some] = True
    return start[:-1], start[1:]


def word_edges(run: SpeechRun) -> np.ndarray:
    """Marks, bool [units], the run's first unit and each unit where a word starts or the unit after a word lies."""
    return boundaries_at(run.units, run.word_start, run.word_end)[0]


class BoundaryRule(abc.ABC):
    """How one run of speech is cut into patches.

    A rule may not look at what its patches will be used to predict: a patch may end early only where that is known
    from within the patch. It is asked once per run of speech, so it works on whole arrays.
    """

    name: str  # as evaluation records and reports spell it
    fixed_size: int | None = None  # units of every patch but a run's last one, which is how generation ends a patch;
    # None where the size depends on words, which a model that generates does not have
    needs_words: bool = False  # patches follow aligned words, so speech without words cannot be cut
    reads_text_pieces: bool = False  # `boundaries` reads `SpeechRun.piece_chars`
    takes_marker: bool = False  # the marker before a run is the first token of its first patch; the rule must restart
    restarts: bool = False  # A segment that begins inside a run counts its patches from its own first unit, so a
    # document may be cut at any word edge. Otherwise it may only be cut where a patch starts too.

    @abc.abstractmethod
    def boundaries(self, run: SpeechRun) -> Boundaries:
        """Where the patches of the run start, and where they are known to end."""

    def patch(self, run: SpeechRun, may_cut: np.ndarray) -> tuple[Boundaries, np.ndarray]:
        """The boundaries, and those marks of `may_cut` (bool [units]) at which this rule lets a document be cut."""
        bounds = self.boundaries(run)
        return bounds, may_cut if self.restarts else may_cut & bounds[0]

    def with_noise(self, frames: float, rng: np.random.Generator) -> "BoundaryRule":
        """The rule with every boundary of aligned words moved by U[-frames, frames]; itself where there is none."""
        return self

    @property
    def description(self) -> str:
        """The rule in words, for tables."""
        return f"patches {self.name}"


class Strategy(abc.ABC):
    """Which boundary rule each document of a run takes, bound to the run's `data.patching`.

    A member gives `name` and `inference_rule`. What else it overrides is what is special about it: the defaults are
    those of a strategy with one rule for every document.
    """

    name: ClassVar[str]  # the value of `data.patching.strategy`
    patches_speech: ClassVar[bool] = True  # False: every token is a patch of one, as models without local networks read
    draws_words: ClassVar[bool] = False  # some documents have patches that follow aligned words
    pattern: ClassVar[str | None] = None  # a regular expression of the names of systems with this strategy
    usage: ClassVar[tuple[str, ...]] = ()  # how an error message spells those names

    def __init__(self, config: PatchingConfig):
        """Binds the strategy to the settings of a run."""
        self.config = config

    @property
    @abc.abstractmethod
    def inference_rule(self) -> BoundaryRule:
        """The rule at inference: one for all documents, whatever the step."""

    def aligned_probability(self, step: int) -> float:
        """P(u): the probability that a document opened at training step `step` follows aligned words (paper §3.1)."""
        return float(self.inference_rule.needs_words)

    def draw(self, step: int, rng: Callable[[], np.random.Generator]) -> BoundaryRule:
        """The rule of a document opened at `step`. `rng` is called only if there is something to draw."""
        return self.inference_rule

    @property
    def label(self) -> str:
        """What sweeps and reports call runs with this strategy."""
        return self.name

    @property
    def mean_patch(self) -> int | float:
        """Units per patch for which rows are sized: those of the longest patches that a run ends in or stays with."""
        return self.config.static_size

    @property
    def schedule(self) -> str:
        """How P(u) changes over a run, in words; empty where it does not."""
        return ""

    def unfinished(self, steps: int) -> str:
        """In one line, what P(u) does not reach in a run of so many steps, and the fix; empty where it reaches all."""
        return ""

    def check(self, config: Config) -> None:
        """Checks the rules of this strategy. Raises: ConfigError for the first field that breaks one."""
        data = config.data
        if self.config.marker_opens_patch and not self.inference_rule.takes_marker:
            fail(
                "data.patching.marker_opens_patch",
                self.config.marker_opens_patch,
                f"is about static patches, and strategy={self.name!r} does not end in them",
                "use False",
            )
        if self.config.boundary_noise_ms and not self.draws_words:
            fail(
                "data.patching.boundary_noise_ms",
                self.config.boundary_noise_ms,
                f"moves aligned boundaries, and strategy={self.name!r} has none",
                "use 0.0",
            )
        if data.unit_tokenizer is not None and self.patches_speech:
            fail(
                "data.unit_tokenizer",
                data.unit_tokenizer,
                f"its unit pieces are patches already, and data.patching.strategy={self.name!r} patches units",
                'set it to None, or use strategy "none"',
            )

    @classmethod
    def fields_of(cls, found: re.Match) -> dict[str, Any]:
        """Fields of `PatchingConfig` that a system's name decides, from its match with `pattern`."""
        return {}
