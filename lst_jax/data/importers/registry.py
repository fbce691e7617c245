"""The formats that `lst import`, `lst export` and `lst prepare speech --aligner` know, and how a new one is added.

To add one, write its reader and register it, here or in a module of your own:

    register(UnitFormat("words_per_line", "text files of units", read=read_lines))
"""

from lst_jax.data.importers import (
    ctm,
    gslm,
    km,
    librispeech,
    lst_release,
    moshi,
    slamkit,
    textgrid,
    unit_lines,
    whisper,
)
from lst_jax.data.importers.formats import AlignmentFormat, UnitFormat

UNIT_FORMATS: dict[str, UnitFormat] = {}
ALIGNMENT_FORMATS: dict[str, AlignmentFormat] = {}


def register(form: UnitFormat | AlignmentFormat) -> None:
    """Adds a format. Raises: ValueError where it is not complete, or its name is taken."""
    reader = form.read if isinstance(form, UnitFormat) else form.open
    if not (form.name.isidentifier() and form.what and callable(reader)):
        raise ValueError(f"import format {form.name!r}: a name that is one word, what it is, and a reader are needed")
    if form.name in UNIT_FORMATS or form.name in ALIGNMENT_FORMATS:
        raise ValueError(f"import format {form.name!r}: the name is registered already")
    if isinstance(form, UnitFormat):
        UNIT_FORMATS[form.name] = form
    else:
        ALIGNMENT_FORMATS[form.name] = form


def formats_with(option: str) -> list[str]:
    """Names of the alignment formats that have an option called so."""
    return [form.name for form in ALIGNMENT_FORMATS.values() if option in {o.name for o in form.options}]


for _form in (
    lst_release.FORMAT,
    slamkit.FORMAT,
    unit_lines.FORMAT,
    gslm.FORMAT,
    km.FORMAT,
    moshi.FORMAT,
    textgrid.FORMAT,
    ctm.FORMAT,
    librispeech.FORMAT,
    whisper.FORMAT,
):
    register(_form)
