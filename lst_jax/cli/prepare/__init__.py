"""`lst prepare`: one file per part of the command, each with its arguments and one call."""

from lst_jax.cli.prepare import (
    speech,
    spoken_task,
    synthesise,
    text,
    tokenizer,
    unit_tokenizer,
    units_convert,
    units_fit,
    world,
)

PARTS = (units_fit, units_convert, speech, text, tokenizer, unit_tokenizer, synthesise, spoken_task, world)


def add_arguments(subparsers) -> None:
    """Adds the command to what `ArgumentParser.add_subparsers` returned. Each part sets `run`: args → exit code."""
    prepare = subparsers.add_parser(
        "prepare",
        help="make records from recordings and texts",
        description="Makes directories of records from recordings with transcripts, or "
        "from texts. Any of it can be interrupted and run again.",
    )
    parts = prepare.add_subparsers(dest="part", required=True, metavar="PART")
    for part in PARTS:
        part.add_arguments(parts)
