"""Options of the compiler: whose they are, and that one which a compiler does not know ends nothing."""

from types import SimpleNamespace

import jax
import pytest

from lst_jax.core.errors import ConfigError
from lst_jax.cost import compiler_options
from lst_jax.cost.accelerators import registry, tpus
from lst_jax.recipes.load import load_recipe

CPU = jax.local_devices()[0]
KNOWN = {"xla_cpu_enable_fast_min_max": True}


def test_a_run_has_the_options_of_its_chip_unless_it_says_its_own():
    v6e = SimpleNamespace(device_kind="TPU v6e")
    assert compiler_options.asked_for(None, v6e) == tpus.V6E.compiler_options != {}
    assert compiler_options.asked_for("xla_a=true  xla_b=2", v6e) == {"xla_a": True, "xla_b": "2"}
    assert compiler_options.asked_for("", v6e) == {}


def test_the_words_of_options_are_what_the_field_takes():
    options = dict(tpus.V6E.compiler_options)
    assert compiler_options.asked_for(compiler_options.in_words(options), CPU) == options


def test_machines_without_tpus_have_no_options():
    for kind in ("cpu", "NVIDIA H100 80GB HBM3"):
        assert compiler_options.asked_for(None, SimpleNamespace(device_kind=kind)) == {}


def test_options_that_a_compiler_does_not_know_are_left_out_and_said():
    asked = {"xla_no_such_option": True} | KNOWN | {"xla_cpu_enable_fast_math": "perhaps"}
    accepted, refused = compiler_options.accepted(asked, CPU)
    assert accepted == KNOWN
    assert [line.split(":")[0] for line in refused] == [
        "compiler option xla_no_such_option=true",
        "compiler option xla_cpu_enable_fast_math=perhaps",
    ]
    assert all("left out, as this compiler says" in line and "\n" not in line for line in refused)


@pytest.mark.parametrize("text", ["xla_a", "xla_a=", "--xla_a=true"])
def test_a_word_that_is_no_option_is_refused(text):
    with pytest.raises(ConfigError, match=r"train\.compiler_options=.*must be NAME=VALUE"):
        load_recipe("configs/demo.py", [f"train.compiler_options={text}"])


@pytest.mark.parametrize("name", registry.tpu_names())
def test_the_tpu_compiler_knows_every_option_of_the_table(name):
    pytest.importorskip("libtpu")
    from lst_jax.cost import topology

    tpu = registry.tpu(name)
    device = topology.devices(f"{name}:{tpu.topologies[-1]}")[0]
    assert compiler_options.accepted(tpu.compiler_options, device) == (tpu.compiler_options, [])
