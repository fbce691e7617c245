"""Which column of a table holds what: by the user's word, or by its name where that leaves no doubt.

Example: names ("", "Model Size", "tokens_B", "Val Loss") -> N is column 1, D is column 2 times 1e9, L is column 3.
"""

import dataclasses
import re
from collections.abc import Collection

from lst_jax.core.errors import ConfigError, DataError
from lst_jax.laws import amounts, sheets
from lst_jax.laws.sheets import Sheet

# Names as `_plain` writes them. Losses of training come second to those of evaluation only by the user's word.
NAMES = {
    "params": (
        *("n", "params", "parameters", "nparams", "numparams", "nparameters", "numparameters", "paramcount"),
        *("parametercount", "modelparams", "modelparameters", "modelsize", "size", "nonembeddingparams"),
        *("totalparams", "numberofparameters"),
    ),
    "tokens": (
        *("d", "tokens", "ntokens", "numtokens", "tokencount", "trainingtokens", "traintokens", "tokensseen"),
        *("totaltokens", "datasize", "datasetsize", "numberoftokens", "trainedtokens"),
    ),
    "flops": (
        *("c", "flop", "flops", "compute", "trainingflop", "trainingflops", "trainflop", "trainflops", "totalflop"),
        *("totalflops", "trainingcompute", "traincompute", "computeflop", "computeflops"),
    ),
    "loss": (
        *("l", "loss", "valloss", "validloss", "validationloss", "evalloss", "evaluationloss", "testloss", "finalloss"),
        *("heldoutloss", "trainloss", "trainingloss", "losstext", "lossspeech", "crossentropy", "nll"),
    ),
    "run": ("run", "runname", "runid", "name", "id", "experiment"),
    "system": ("system",),
    "seconds": ("seconds",),
}
LETTERS = {"params": "N", "tokens": "D", "flops": "C", "loss": "L"}
BIG_IN_A_UNIT = 1e6  # a value above this in a column whose name says "M" or more has no such unit


@dataclasses.dataclass(frozen=True)
class Columns:
    """What the user says of a table; None = look for it. Units multiply a column's cells, which then have none."""

    loss: str | None = None
    params: str | None = None
    tokens: str | None = None
    flops: str | None = None
    system: str | None = None
    run: str | None = None
    params_unit: float | None = None
    tokens_unit: float | None = None
    flops_unit: float | None = None
    decimal: str | None = None

    @property
    def given(self) -> bool:
        """Whether anything is said."""
        return any(getattr(self, field.name) is not None for field in dataclasses.fields(self))


@dataclasses.dataclass(frozen=True)
class Found:
    """A column by its index; `unit` multiplies its cells, and `is_stated` says that it is the user's."""

    what: str
    index: int
    name: str
    unit: float = 1.0
    is_stated: bool = False


def find(sheet: Sheet, columns: Columns) -> dict[str, Found]:
    """The columns of a table by what they hold; "params", "loss", and "tokens" or "flops" are always there.

    Raises: ConfigError of an option; DataError where a column is missing, or two may be meant.
    """
    found = {}
    stated = {what: _named(sheet, what, name) for what in NAMES if (name := getattr(columns, what, None)) is not None}
    for what in NAMES:
        index = stated[what] if what in stated else _guessed(sheet, what, set(stated.values()))
        if index is not None:
            unit = getattr(columns, f"{what}_unit", None)
            in_name = 1.0 if what in ("loss", "run", "system", "seconds") else _plain(sheet.names[index])[1]
            found[what] = Found(what, index, sheet.names[index], in_name if unit is None else unit, unit is not None)
        elif getattr(columns, f"{what}_unit", None) is not None:
            raise ConfigError(f"--{what}-unit: {sheet.path} has no such column; add --{what}-column NAME")
    for what in ("params", "loss"):
        if what not in found:
            raise _no_column(sheet, what)
    if "tokens" not in found and "flops" not in found:
        raise _no_column(sheet, "tokens")
    used: dict[int, str] = {}
    for what, column in found.items():
        if column.index in used:
            raise ConfigError(
                f"--{what}-column {column.name}: is the column of {used[column.index]} already; give each its own"
            )
        used[column.index] = what
    return found


def _named(sheet: Sheet, what: str, name: str) -> int:
    """The column of this name: as it is, or else in small letters."""
    for same in (sheets.one_line, lambda text: sheets.one_line(text).casefold()):
        at = [i for i, other in enumerate(sheet.names) if same(other) == same(name)]
        if len(at) > 1:
            raise ConfigError(f"--{what}-column {name}: {sheet.path} has {len(at)} columns of this name; rename one")
        if at:
            return at[0]
    raise ConfigError(
        f"--{what}-column {name}: {sheet.path} has no such column; its columns are {sheet.described_names()}"
    )


def _guessed(sheet: Sheet, what: str, taken: Collection[int]) -> int | None:
    at = [i for i, name in enumerate(sheet.names) if _plain(name)[0] in NAMES[what] and i not in taken]
    if what == "run":
        return at[0] if at else None
    if len(at) > 1:
        names = " or ".join(repr(sheet.names[i]) for i in at)
        raise DataError(f"{sheet.path}: {what} may be {names}; say which with --{what}-column")
    return at[0] if at else None


def _plain(name: str) -> tuple[str, float]:
    """A name in small letters without spaces and signs, and the unit that it ends in.

    Example: "Tokens (B)" -> ("tokens", 1e9); "n_params" -> ("nparams", 1.0); "FLOPs (1e18)" -> ("flops", 1e18).
    """
    parted = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    words = [word for word in re.split(r"[^a-z0-9+.]+", parted.casefold()) if word]
    unit = 1.0
    if len(words) > 1 and re.fullmatch(rf"{'|'.join(amounts.UNITS)}|1e\+?\d\d?", words[-1]):
        unit = amounts.unit(words.pop())
        if len(words) > 1 and words[-1] == "in":
            words.pop()
    elif words and (scale := amounts.flop_unit(words[-1])):
        unit, words[-1] = scale, "flops"
        if len(words) > 1 and words[0] in ("flop", "flops", "compute"):  # "compute (ZFLOP)"
            words.pop()
    return "".join(words), unit


def _no_column(sheet: Sheet, what: str) -> DataError:
    meant = {"tokens": "of tokens or FLOPs", "loss": "of losses", "params": "of parameters"}[what]
    only = "; separate the cells by commas, semicolons or tabs" if len([n for n in sheet.names if n]) == 1 else ""
    return DataError(
        f"{sheet.path}: no column {meant} among {sheet.described_names()}; say which it is with --{what}-column{only}"
    )
