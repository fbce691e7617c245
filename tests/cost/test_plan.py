"""Plans: what is said of one, what is searched, and one that is really compiled."""

import importlib.util
import json

import pytest
from made_up_plans import CONFIG, GIB, make_plan

from lst_jax.cli import main
from lst_jax.config import config_hash
from lst_jax.core.errors import ConfigError
from lst_jax.cost import plan_text
from lst_jax.cost.plan import DOES_NOT_FIT, UNITS
from lst_jax.cost.search import REMAT, best, changes, parts_that_fit, search
from lst_jax.recipes.load import load_recipe


def test_a_plan_that_fits_says_what_the_run_costs_by_estimate_and_at_least():
    said = plan_text.verdict(make_plan())
    assert said.startswith(
        "fits: 10.0 of 16.0 GiB per device; a step takes 2.75 s by estimate, MFU 44% (at least 2 s for"
    )
    assert "arithmetic, MFU at most 61%)" in said
    assert "3,600 steps: 2 h 45 min, 44 chip-hours" in said and "\n" not in said


def test_the_step_of_a_plan_is_what_is_computed_and_what_is_exposed_of_the_network():
    plan = make_plan()
    assert plan.step_sec == 2.0 + 0.5 + 0.25 and plan.bound_sec == 2.0
    assert plan.estimate.exposed_sec == 0.5 and plan.estimate.useful_share == 2.0 / 2.75
    assert plan_text.exposed(plan.estimate) == "500 of 3.5e+03 ms"
    mapping = json.loads(json.dumps(plan.to_mapping()))
    assert mapping["step_sec"] == 2.75 and mapping["estimate_sec"]["loss"] == {"loss": 0.25}


@pytest.mark.parametrize(
    "changes, fix",
    [
        (dict(gib=31.0), "--set train.accumulate=4"),  # 29 GiB beside the state, and 14 of room: more than two parts
        (dict(gib=30.0), "--set train.accumulate=2"),
        (dict(gib=30.0, accumulate=8, remat="attention"), '--set model.remat="full"'),  # a row at a time already
        (dict(gib=30.0, accumulate=8, remat="full"), "take more than 16 devices, or lower data.rows=128"),
    ],
)
def test_a_plan_that_does_not_fit_says_which_field_to_change_and_to_what(changes, fix):
    plan = make_plan(**changes)
    said = plan_text.verdict(plan)
    assert not plan.fits and said.startswith(f"does not fit: needs {changes['gib']:.1f} of 16.0 GiB per device; {fix}")


def test_the_page_holds_every_figure():
    page = plan_text.page(make_plan())
    estimated = ("2000.00", "collectives hidden", "by their bytes alone, as nothing says their FLOPs: told")
    counted = (
        "all-gather over data",
        "splash (3 calls)",
        "1.000",
        "0.5 of them in kernels, 0.2 in 8 bits",
        "compiled in 9 s",
    )
    for figure in (*estimated, *counted):
        assert figure in page, figure
    assert len(plan_text.row(make_plan())) == len(plan_text.row(make_plan(gib=30.0))) == len(plan_text.COLUMNS)


def needs(gib_of_remat, seconds_of_remat, network=0.1):
    """What a device needs by policy, divided by the parts; and how long a step takes."""
    made = []

    def make(config):
        made.append(config)
        if config.mesh.tensor == 4:
            raise ConfigError("mesh.tensor=4: must divide the heads")
        gib = 2 + gib_of_remat[config.model.remat] / config.train.accumulate / config.mesh.tensor
        return make_plan(config, gib, seconds_of_remat[config.model.remat] + 0.01 * config.train.accumulate, network)

    return make, made


def test_the_search_takes_the_fewest_parts_that_fit_and_the_policy_that_is_fastest():
    make, made = needs(
        {"none": 100, "dots": 20, "attention": 8, "full": 4}, {"none": 2.0, "dots": 2.2, "attention": 2.6, "full": 2.7}
    )
    found = best(list(search(CONFIG, make)))
    assert (found.remat, found.accumulate, found.mesh["tensor"]) == ("none", 8, 1)
    assert all(config.mesh.tensor == 1 for config in made)  # the network bounds nothing
    assert [c.train.accumulate for c in made if c.model.remat == "attention"] == [1]


def test_the_search_stops_at_a_policy_that_only_recomputes_more():
    make, made = needs(
        {"none": 9, "dots": 8, "attention": 7, "full": 6}, {"none": 2.0, "dots": 1.9, "attention": 2.6, "full": 2.7}
    )
    assert best(list(search(CONFIG, make))).remat == "dots"
    assert {config.model.remat for config in made} == {"none", "dots", "attention"}


def test_the_search_tries_replicas_within_a_slice_while_they_fit_and_its_choice_is_words_for_a_run():
    make, _ = needs(dict.fromkeys(REMAT, 8), {"none": 2.0, "dots": 2.2, "attention": 2.6, "full": 2.7})

    def faster_with_four(config):
        replica = config.mesh.replica or 1
        plan = make(config)
        changed = {2: dict(arithmetic=2.5), 4: dict(arithmetic=1.0), 8: dict(gib=17.0)}.get(replica)
        return make_plan(config, **changed) if changed else plan

    plans = list(search(CONFIG, faster_with_four))
    assert [plan.mesh["replica"] for plan in plans] == [1, 1, 2, 4, 8]
    found = best(plans)
    assert changes(found) == (
        "mesh.replica=4", "mesh.data=4", "mesh.tensor=1", 'model.remat="none"', "train.accumulate=1",
    )  # fmt: skip
    as_run = load_recipe("configs/demo.py", changes(found))
    assert (as_run.mesh.replica, as_run.model.remat) == (4, "none") and config_hash(as_run) == config_hash(CONFIG)


def test_the_search_splits_tensors_where_nothing_else_fits():
    make, _ = needs(
        dict.fromkeys(("none", "dots", "attention", "full"), 200),
        dict.fromkeys(("none", "dots", "attention", "full"), 2.0),
    )
    found = best(list(search(CONFIG, make)))
    assert found.fits and found.mesh["tensor"] == 2


def test_the_search_says_that_nothing_divides():
    def make(config):
        raise ConfigError("data.rows=3: must be a multiple of 16")

    with pytest.raises(ConfigError, match="--search: no mesh of these devices divides"):
        best(list(search(CONFIG, make)))


def test_parts_divide_the_rows_of_a_device():
    assert parts_that_fit(make_plan(gib=60.0)) == 8  # 4.1 would do, 8 rows have no 5, 6 or 7 parts
    assert parts_that_fit(make_plan(gib=60.0, state_bytes={"all": 9 * GIB})) is None  # no room beside the state


@pytest.mark.parametrize(
    "said, gib",
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (31.09G) exceeds "
            "available HBM (15.75G).",
            31.09,
        ),
        ("Compilation failure: Ran out of memory in memory space hbm. Used 18.64G of 15.75G hbm. Exceeded ...", 18.64),
    ],
)
def test_what_the_compiler_says_of_memory_is_understood(said, gib):
    number, unit = DOES_NOT_FIT.search(said).groups()
    assert float(number) * UNITS[unit] == pytest.approx(gib * GIB)


def test_without_the_compiler_it_says_how_to_get_it(capsys):
    if importlib.util.find_spec("libtpu"):
        pytest.skip("it is here")
    assert main.main(["plan", "--config", "configs/demo.py", "--topology", "v5e:2x2"]) == 2
    assert "pip install --editable '.[tpu]'" in capsys.readouterr().err


def test_a_recipe_is_compiled_for_described_devices(capsys):
    """The collectives are those of FSDP: every parameter gathered twice, its gradient met once, nothing larger."""
    pytest.importorskip("libtpu")
    words = [
        "plan",
        "--config",
        "configs/lst.py:420m",
        "--topology",
        "v5e:2x2",
        "--set",
        "data.rows=4",
        "--set",
        "model.global_transformer.layers=2",
        "--set",
        "model.patch_decoder.layers=2",
        "--quick",
        "--json",
    ]
    assert main.main(words) == 0
    (plan,) = json.loads(capsys.readouterr().out)
    assert plan["fits"] and plan["mesh"] == {"replica": 1, "data": 4, "tensor": 1}
    assert any("flat_attention" in name for name in plan["kernels"])
    assert plan["largest_collective"] <= plan["largest_parameter"]
    parameters = sum(plan["parameters"].values())
    moved = sum(plan["collective_bytes"].values())
    assert 3 * 2 * parameters < moved < 3.6 * 2 * parameters  # bfloat16, but for the table of tokens and the vectors
    assert plan["bound_sec"] == max(plan["floors_sec"].values()) < plan["step_sec"]
    assert 0 < plan["mfu"] < plan["mfu_bound"] <= 1 and plan["mfu_bound"] > 0.1
    parts = {"global transformer", "patch decoder", "patch encoder", "loss", "optimizer"}
    assert parts <= plan["estimate_sec"].keys()
