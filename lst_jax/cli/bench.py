"""The arguments of `lst bench`; its parts stand in the modules that this one imports."""

from lst_jax.cli import bench_compiled, bench_machine, bench_studies

PARTS = (
    bench_machine.add_data,
    bench_machine.add_step,
    bench_machine.add_length,
    bench_compiled.add_patching,
    bench_compiled.add_collectives,
    bench_studies.add_budgets,
    bench_studies.add_systems,
    bench_studies.add_precision,
    bench_studies.add_coverage,
    bench_studies.add_align,
    bench_machine.add_torch,
    bench_machine.add_generate,
    bench_compiled.add_decode,
    bench_machine.add_convert,
    bench_machine.add_prepare,
    bench_machine.add_restore,
)


def add_arguments(subparsers) -> None:
    """Registers the command on what `ArgumentParser.add_subparsers` returned; each part sets `run`: args → exit code."""
    bench = subparsers.add_parser(
        "bench",
        help="measure this machine and this code",
        description="Measures, prints, and writes a section of docs/results.md.",
    )
    parts = bench.add_subparsers(dest="part", required=True, metavar="PART")
    for add_part in PARTS:
        add_part(parts)
