"""HLO text: types as they lie in memory, instructions in all their forms, and how often loops run."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from lst_jax.cost import hlo
from lst_jax.cost.hlo import Array

TPU_LOOP = (Path(__file__).parent / "hlo" / "loop.hlo").read_text()


def loops(text):
    """How often each loop of a program runs, by the computation it is in."""
    program = hlo.parse(text)
    return [
        hlo.trip_count(program, where, what)
        for where in program.computations.values()
        for what in where.instructions.values()
        if what.opcode == "while"
    ]


def without_counts(text):
    """The text as the TPU compiler writes it: the CPU's says how often a loop runs."""
    assert "known_trip_count" in text
    return re.sub(r'"known_trip_count":\{"n":"\d+"\},?', "", text)


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
    assert hlo.arrays(type_text) == (expected,)
    assert (expected.bytes, expected.stored_bytes) == (size, stored)


def test_a_tuple_is_its_arrays_one_after_the_other():
    found = hlo.arrays("((bf16[2]{0}), /*index=1*/(f32[3]{0:T(128)}, u32[]{:S(2)}))")
    assert [(a.dtype, a.dims, a.space) for a in found] == [("bf16", (2,), 0), ("f32", (3,), 0), ("u32", (), 2)]


def test_instructions_are_read_in_all_their_forms():
    program = hlo.parse(TPU_LOOP)
    assert program.entry == "main"
    assert list(program.computations) == ["fused_limit", "body.1", "condition.1", "sparse", "main"]
    main, body = program.computations["main"], program.computations["body.1"]
    assert list(main.instructions) == ["x", "start", "limit", "splash.1", "init", "loop", "result"]
    assert main.root.name == "result" and body.root.operands == ("next", "limit.1", "x.1")
    assert main.instructions["start"].literal == "1"
    splash = main.instructions["splash.1"]  # its attributes are broken over three lines
    assert "block_q" in splash.attributes and 'op_name="attention/pallas_call"' in splash.attributes
    assert main.instructions["loop"].called("body", "condition") == ["condition.1", "body.1"]
    assert [(user.name, index) for user, index in body.users()["i.1"]] == [("next", 0)]


def test_a_loop_that_no_one_counted_is_counted_from_its_condition():
    assert loops(TPU_LOOP) == [7]  # 1, 4, … below 20


@pytest.mark.parametrize(
    "changed",
    [
        ("add(%i.1, %three)", "multiply(%i.1, %three)"),  # not a steady step
        ("direction=LT", "direction=NE"),  # begins again once it is past its end
        ("constant(10)", "rng-get-and-update-state()"),
        ("add(%i.1, %three)", "add(%i.1, %limit.1)"),  # one number moves by another; still by a constant
    ],
)
def test_a_count_is_given_only_where_it_is_sure(changed):
    expected = 2 if "%limit.1)" in changed[1] else None
    assert loops(TPU_LOOP.replace(*changed)) == [expected]


def test_counts_of_scans_and_nested_loops_are_those_that_the_compiler_knows():
    def step(x, _):
        return jax.lax.fori_loop(3, 11, lambda i, x: x @ x, x), None

    text = jax.jit(lambda x: jax.lax.scan(step, x, None, length=5)[0]).lower(jnp.ones((8, 8))).compile().as_text()
    assert sorted(loops(text)) == sorted(loops(without_counts(text))) == [5, 8]


def test_a_loop_over_none_is_counted_as_none():
    assert loops(TPU_LOOP.replace("constant(1)", "constant(20)")) == [0]


def test_a_loop_that_data_ends_has_no_count():
    text = jax.jit(lambda x, n: jax.lax.fori_loop(0, n, lambda i, x: x @ x, x)).lower(jnp.ones((8, 8)), 3).compile()
    assert loops(text.as_text()) == [None]
