"""Compiled modules: types as they lie in memory, instructions in all their forms, and how often loops run."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from hlo_text import program

from lst_jax.cost import hlo
from lst_jax.cost.hlo import Array
from lst_jax.cost.trips import trip_count

TPU_LOOP = (Path(__file__).parent / "hlo" / "loop.hlo").read_text()


def loops(read):
    """How often each loop of a program runs, by the computation it is in."""
    return [
        trip_count(read, where, what)
        for where in read.computations.values()
        for what in where.instructions.values()
        if what.opcode == "while"
    ]


def compiled(function, *args):
    return jax.jit(function).lower(*args).compile()


def without_counts(text):
    """The text as the TPU compiler writes it: the CPU's says how often a loop runs."""
    assert "known_trip_count" in text
    return re.sub(r'"known_trip_count":\{"n":"\d+"\}', '"unknown":0', text)


@pytest.mark.parametrize(
    "type_text, expected, size, stored",
    [
        ("f32[]", Array("f32", (), (), (), 0), 4, 4),
        (
            "bf16[25,100,2048]{1,2,0:T(8,128)(2,1)S(1)}",
            Array("bf16", (25, 100, 2048), (1, 2, 0), (8, 128), 1),
            25 * 100 * 2048 * 2,
            25 * 128 * 2048 * 2,
        ),
        ("s32[5]{0:T(1024)S(5)}", Array("s32", (5,), (0,), (1024,), 5), 20, 4096),
        ("f8e4m3fn[16,<=4]{1,0}", Array("f8e4m3fn", (16, 4), (1, 0), (), 0), 64, 64),
        ("token[]", Array("token", (), (), (), 0), 0, 0),
    ],
)
def test_a_type_says_how_an_array_lies_in_memory(type_text, expected, size, stored):
    assert arrays(type_text) == (expected,)
    assert (expected.bytes, expected.stored_bytes) == (size, stored)


def arrays(type_text):
    text = f"ENTRY %main (x: f32[]) -> f32[] {{\n  %y = {type_text} parameter(0)\n  ROOT %z = f32[] constant(0)\n}}"
    return program(text).computations["main"].instructions["y"].arrays


def test_a_tuple_is_its_arrays_one_after_the_other():
    found = arrays("((bf16[2]{0}), /*index=1*/(f32[3]{0:T(128)}, u32[]{:S(2)}))")
    assert [(a.dtype, a.dims, a.space) for a in found] == [("bf16", (2,), 0), ("f32", (3,), 0), ("u32", (), 2)]


def test_instructions_are_read_in_all_their_forms():
    read = program(TPU_LOOP)
    assert read.entry == "main"
    assert list(read.computations) == ["fused_limit", "body.1", "condition.1", "sparse", "main"]
    main, body = read.computations["main"], read.computations["body.1"]
    assert list(main.instructions) == ["x", "start", "limit", "splash.1", "init", "loop", "result"]
    assert main.root.name == "result" and body.root.operands == ("next", "limit.1", "x.1")
    assert list(main.instructions["start"].message.literal.s32s) == [1]
    splash = main.instructions["splash.1"]
    assert splash.target == "tpu_custom_call" and splash.op_name == "attention/pallas_call"
    assert "block_q" in splash.attributes["kernel_metadata"]
    assert body.instructions["next"].backend == {"flag_configs": []} and splash.backend == {}
    assert main.instructions["loop"].called == ("body.1", "condition.1")
    assert [(user.name, index) for user, index in body.users()["i.1"]] == [("next", 0)]


def test_a_compiled_program_is_read_in_the_order_in_which_it_is_scheduled():
    """Each instruction stands in the order of the text, which prints schedules."""

    def function(x):
        return jax.lax.scan(lambda x, _: (jnp.tanh(x @ x) + x.sum(), None), x, None, length=3)[0]

    executable = compiled(function, jnp.ones((8, 8)))
    read = hlo.parse(hlo.serialized(executable))
    places = [executable.as_text().index(f" %{name} = ") for name in read.computations[read.entry].instructions]
    assert places == sorted(places) and len(places) > 3


def test_a_loop_that_no_one_counted_is_counted_from_its_condition():
    assert loops(program(TPU_LOOP)) == [7]  # 1, 4, … below 20


@pytest.mark.parametrize(
    "changed",
    [
        ("add(%i.1, %three)", "multiply(%i.1, %three)"),  # not a steady step
        ("direction=LT", "direction=NE"),  # begins again once it is past its end
        ("constant(10)", "rng-get-and-update-state(), delta=1"),
        ("add(%i.1, %three)", "add(%i.1, %limit.1)"),  # one number moves by another; still by a constant
    ],
)
def test_a_count_is_given_only_where_it_is_sure(changed):
    expected = 2 if "%limit.1)" in changed[1] else None
    assert loops(program(TPU_LOOP.replace(*changed))) == [expected]


def test_counts_of_scans_and_nested_loops_are_those_that_the_compiler_knows():
    def step(x, _):
        return jax.lax.fori_loop(3, 11, lambda i, x: x @ x, x), None

    executable = compiled(lambda x: jax.lax.scan(step, x, None, length=5)[0], jnp.ones((8, 8)))
    uncounted = program(without_counts(executable.as_text()))
    assert sorted(loops(hlo.parse(hlo.serialized(executable)))) == sorted(loops(uncounted)) == [5, 8]


def test_a_loop_over_none_is_counted_as_none():
    assert loops(program(TPU_LOOP.replace("constant(1)", "constant(20)"))) == [0]


def test_a_loop_that_data_ends_has_no_count():
    executable = compiled(lambda x, n: jax.lax.fori_loop(0, n, lambda i, x: x @ x, x), jnp.ones((8, 8)), 3)
    assert loops(hlo.parse(hlo.serialized(executable))) == [None]
