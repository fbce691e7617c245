"""A plan in words and tables."""

from lst_jax.core.text_table import columns
from lst_jax.cost.compiler_options import in_words as in_words_of_options
from lst_jax.cost.estimate import Estimate
from lst_jax.cost.kinds import HIDDEN, WORK
from lst_jax.cost.plan import Plan
from lst_jax.cost.search import parts_that_fit
from lst_jax.runs.ledger import in_words

GIB = 2**30
COLUMNS = (
    "recipe",
    "topology",
    "mesh",
    "parts",
    "remat",
    "HBM",
    "step",
    "MFU",
    "products and kernels",
    "network exposed",
    "step ≥",
    "MFU ≤",
    "bound by",
    "chip-hours",
    "compiled in",
)


def verdict(plan: Plan) -> str:
    """One line: whether it fits, and what it costs or what to change."""
    memory = f"{plan.hbm_bytes / GIB:.1f} of {plan.hbm_capacity / GIB:.1f} GiB per device"
    if not plan.fits:
        return f"does not fit: needs {memory}; {advice(plan)}"
    return (
        f"fits: {memory}; a step takes {plan.step_sec:.3g} s by estimate, MFU {plan.mfu:.0%} (at least "
        f"{plan.bound_sec:.3g} s for {bound_by(plan)}, MFU at most {plan.mfu_bound:.0%}); {plan.steps:,} steps: "
        f"{in_words(plan.steps * plan.step_sec)}, {plan.chip_hours:,.0f} chip-hours"
    )


def advice(plan: Plan) -> str:
    """Which field to change, and to what, for a step that does not fit."""
    more = parts_that_fit(plan)
    if more is not None:
        return f"--set train.accumulate={more}, which divides what rows need, or let --search find the fastest"
    if plan.remat != "full":
        return '--set model.remat="full", or let --search find the fastest'
    return f"take more than {plan.devices} devices, or lower data.rows={plan.rows}"


def bound_by(plan: Plan) -> str:
    """The floor that is the highest."""
    return max(plan.floors_sec, key=plan.floors_sec.__getitem__)


def row(plan: Plan) -> list[str]:
    """A line of the table of several plans; see `COLUMNS`."""
    where = plan.topology if plan.slices == 1 else f"{plan.slices} × {plan.topology}"
    head = [
        f"`{plan.recipe}`",
        where,
        " × ".join(map(str, plan.mesh.values())),
        str(plan.accumulate),
        plan.remat,
        f"{plan.hbm_bytes / GIB:.1f} of {plan.hbm_capacity / GIB:.1f} GiB",
    ]
    if not plan.fits:
        return [*head, "does not fit", *[""] * 7, f"{plan.compile_sec:.0f} s"]
    return [
        *head,
        f"{plan.step_sec:.3g} s",
        f"{plan.mfu:.0%}",
        f"{plan.estimate.useful_share:.0%}",
        exposed(plan.estimate),
        f"{plan.bound_sec:.3g} s",
        f"{plan.mfu_bound:.0%}",
        bound_by(plan),
        f"{plan.chip_hours:,.0f}",
        f"{plan.compile_sec:.0f} s",
    ]


def exposed(estimate: Estimate) -> str:
    """Which share of the network's time nothing hides. Example: "12 of 80 ms" """
    return f"{1e3 * estimate.exposed_sec:.3g} of {1e3 * (estimate.exposed_sec + estimate.kind_sec(HIDDEN)):.3g} ms"


def estimate_table(estimate: Estimate) -> list[list[str]]:
    """Milliseconds of a step: a row for each kind of work, a column for each part of the model."""
    nested = estimate.nested()
    kinds = [kind for kind in WORK if any(kind in by_kind for by_kind in nested.values())]

    def cell(seconds: float) -> str:
        return f"{1e3 * seconds:.2f}" if seconds else ""

    rows = [
        [kind, *(cell(by_kind.get(kind, 0.0)) for by_kind in nested.values()), cell(estimate.kind_sec(kind))]
        for kind in kinds
    ]
    total = ["a step, without what is hidden", *(cell(estimate.part_sec(part)) for part in nested)]
    return [["ms by estimate", *nested, "all"], *rows, [*total, cell(estimate.step_sec)]]


def page(plan: Plan) -> str:
    """Everything about one plan, for a terminal."""
    where = f"{plan.slices} × {plan.topology}: {plan.devices} devices"
    mesh = ", ".join(f"{axis} {parts}" for axis, parts in plan.mesh.items())
    lines = [
        f"{plan.recipe} on {where}; mesh {mesh}; {plan.rows} rows in {plan.accumulate} parts, remat {plan.remat}",
        "",
        verdict(plan),
        "",
    ]
    lines += columns(
        [
            ["", "parameters", "GiB per device"],
            *([name, f"{count:,}", f"{plan.state_bytes[name] / GIB:.2f}"] for name, count in plan.parameters.items()),
            ["all", f"{sum(plan.parameters.values()):,}", f"{sum(plan.state_bytes.values()) / GIB:.2f}"],
        ]
    )
    if not plan.fits:
        return "\n".join(lines)
    lines += ["", *columns(estimate_table(plan.estimate))]
    if plan.uncounted_kernels:
        lines.append(f"by their bytes alone, as nothing says their FLOPs: {', '.join(plan.uncounted_kernels)}")
    lines += [
        "",
        *columns(
            [
                ["a step takes at least", "seconds", "for"],
                [
                    "arithmetic",
                    f"{plan.floors_sec['arithmetic']:.4f}",
                    f"{(plan.matrix_flops + plan.kernel_flops) / 1e12:,.1f} TFLOP per device, "
                    f"{plan.kernel_flops / 1e12:,.1f} of them in kernels, {plan.eight_bit_flops / 1e12:,.1f} in 8 bits",
                ],
                ["memory", f"{plan.floors_sec['memory']:.4f}", f"{plan.bytes_accessed / GIB:,.1f} GiB to and from HBM"],
                ["network", f"{plan.floors_sec['network']:.4f}", f"{len(plan.collective_bytes)} kinds of collectives"],
            ]
        ),
    ]
    lines += [
        "",
        *columns(
            [
                ["collectives", "GiB per step"],
                *([name, f"{total / GIB:.3f}"] for name, total in plan.collective_bytes.items()),
            ]
        ),
    ]
    useful = plan.analytic_flops / plan.devices
    lines += [
        "",
        f"{plan.tokens:,.0f} tokens in {plan.units:,.0f} patch positions per step: {useful / 1e12:,.1f} TFLOP per "
        f"device by module, {useful / (plan.matrix_flops + plan.kernel_flops):.0%} of what is computed",
        f"kernels: {', '.join(f'{name} ({calls} calls)' for name, calls in plan.kernels.items()) or 'none'}",
        f"the largest collective moves {plan.largest_collective / 2**20:,.1f} MiB, the largest parameter has "
        f"{plan.largest_parameter / 2**20:,.1f} MiB",
        f"a checkpoint has {plan.checkpoint_bytes / GIB:.1f} GiB; the run reads {plan.steps * plan.tokens:.3g} "
        f"tokens in {plan.steps:,} steps; compiled in {plan.compile_sec:.0f} s",
        *plan.refused_options,
        f"compiler options: {in_words_of_options(plan.compiler_options) or 'none'}",
    ]
    return "\n".join(lines)
