"""Time columns of `lst bench patching`, without the TPU's compiler: programs are shared, and tables say what they hold."""

from lst_jax.bench import patching_time
from lst_jax.recipes.load import load_recipe


def measured(step_sec, tokens, by_part):
    return {
        "step_sec": step_sec,
        "tokens": tokens,
        "sec_per_token": step_sec / tokens,
        "useful_share": 0.5,
        "by_part": by_part,
        "uncounted_kernels": [],
    }


def test_systems_that_differ_in_patching_alone_share_a_program():
    static, curriculum, base = (
        patching_time.program_of(load_recipe(f"configs/lst.py:1b,{name}")) for name in ("static", "curriculum", "base")
    )
    assert static == curriculum != base
    assert static.data.rows == 2 and static.model.global_transformer.layers == 25


def test_a_token_costs_the_step_over_the_real_tokens_beside_base():
    found = {
        "base": measured(0.2, 8000, {"global transformer": {"matrix products": 0.2}}),
        "static": measured(
            0.3, 10_000, {"patch decoder": {"copies": 0.1, "collectives hidden": 9.0}, "loss": {"loss": 0.2}}
        ),
    }
    lines = patching_time.markdown(found).splitlines()
    cells = {line.split(" | ")[0].strip("| "): [cell.strip(" |") for cell in line.split(" | ")] for line in lines}
    header = cells["ms per step"]
    assert cells["base"][header.index("global transformer")] == "200.0"
    assert cells["LST, static patches of 4"][header.index("patch decoder")] == "100.0"
    assert cells["LST, static patches of 4"][-2:] == ["30.00", "1.200"]
