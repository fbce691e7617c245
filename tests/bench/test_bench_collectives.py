"""`lst bench collectives` without the TPU's compiler: both sets of options are planned, and the table holds them."""

from made_up_plans import make_plan

from lst_jax.bench import collectives
from lst_jax.recipes.load import load_recipe


def test_a_step_is_planned_with_and_without_the_options_of_the_chip():
    asked = []

    def make(reference, config, topology, slices):
        asked.append(config.train.compiler_options)
        return make_plan(config, network=0.2)

    measured = collectives.measure("r", load_recipe("configs/demo.py"), "v5e:4x4", make)
    assert asked == ["", None]
    *_, row = collectives.markdown(measured).splitlines()
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "the chip's", "2750.0", "44.4%", "3500.0", "500.0", "14%", "200.0", "10.0 GiB",
    ]  # fmt: skip
