"""Compiled programs are kept and found again, at a place of any kind; a broken place costs one line and no run."""

import jax
import jax.numpy as jnp
import pytest

from lst_jax.config import TrainConfig
from lst_jax.storage import objects
from lst_jax.storage.place import to_place
from lst_jax.train import programs


@pytest.fixture(autouse=True)
def every_program(monkeypatch):
    monkeypatch.setattr(programs, "LEAST_COMPILE_SEC", 0.0)


def counted(place, chosen="run", number=3.0):
    """What a start counts that compiles one program; `number` makes it unlike others. Returns the names kept, too."""
    place = to_place(place)
    train = TrainConfig(steps=1, compilation_cache=chosen)
    with programs.kept(place, train) as counts:
        result = jax.jit(lambda x: jnp.tanh(x * number) @ x)(jnp.ones((4, 4)))
        result.block_until_ready()
        found = counts.now()
    folder = place / programs.machine_name()
    return found, [name for name in objects.names(folder) if name.startswith("jit__lambda")]


@pytest.fixture
def own_place():
    """As where nobody has set JAX_COMPILATION_CACHE_DIR."""
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize("kind", ["disk", "bucket"])
def test_a_later_start_finds_what_an_earlier_one_compiled(kind, own_place, tmp_path, request):
    place = tmp_path / "compiled" if kind == "disk" else f"{request.getfixturevalue('bucket')}/compiled"
    first, names = counted(place)
    assert first["programs_compiled"] >= 1 and len(names) == 1
    second, _ = counted(place)
    assert second["programs_compiled"] == 0 and second["programs_found"] >= 1 and second["compile_sec"] > 0


def test_a_damaged_program_is_compiled_again_and_replaced(own_place, tmp_path):
    _, (name,) = counted(tmp_path)
    path = tmp_path / programs.machine_name() / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    again, _ = counted(tmp_path)
    assert again["programs_compiled"] == 1
    assert len(path.read_bytes()) >= len(whole) - 20 and counted(tmp_path)[0]["programs_compiled"] == 0


def test_a_place_that_cannot_be_written_is_one_line(own_place, tmp_path, capfd):
    (tmp_path / "compiled").write_text("a file where a folder belongs")
    counted(tmp_path / "compiled" / "deeper", number=5.0)
    assert capfd.readouterr().err.count("compiled programs cannot be kept") == 1


def test_the_environment_s_place_comes_before_the_run_s_and_a_chosen_one_before_both(tmp_path):
    before = jax.config.values["jax_compilation_cache_dir"]
    assert before is not None  # conftest sets it
    assert counted(tmp_path / "own")[1] == []
    with programs.kept(tmp_path / "own", TrainConfig(steps=1, compilation_cache=str(tmp_path / "shared"))):
        jax.jit(lambda x: x * 7 + jnp.sin(x))(jnp.ones(3)).block_until_ready()
    assert list((tmp_path / "shared").rglob("jit__lambda*")) and not (tmp_path / "own").exists()
    assert jax.config.values["jax_compilation_cache_dir"] == before


def test_none_keeps_nothing(own_place, tmp_path):
    found, names = counted(tmp_path, None)
    assert (found["programs_found"], found["programs_compiled"], names) == (0, 0, [])
    assert jax.config.values["jax_enable_compilation_cache"] is True
