"""Set-up shared by all tests: eight virtual CPU devices, and every annotated shape checked at every call."""

import os
import shutil
import tempfile

if "LST_TESTS_ON" not in os.environ:  # see tests/gpu
    # all but the first: the tests compile more than they compute
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + (
        " --xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
        " --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false"
    )
    os.environ["JAX_PLATFORMS"] = "cpu"
# XLA runs two collectives of a program at once, each waiting for all eight devices: with its eight threads, that is a
# deadlock on a busy machine, and an abort after a minute
os.environ["PJRT_NPROC"] = "24"
# where transformers copies a model's own code, once a process: not into the cache of whoever runs the tests
os.environ["HF_MODULES_CACHE"] = tempfile.mkdtemp(prefix="lst_tests_modules_")
os.environ["HF_HUB_OFFLINE"] = "1"

import hypothesis
import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from jaxtyping import install_import_hook

install_import_hook("lst_jax", "beartype.beartype")

hypothesis.settings.register_profile("shared", deadline=None)  # the machine may be busy
hypothesis.settings.load_profile("shared")


def pytest_unconfigure(config):
    """Leaves nothing behind."""
    shutil.rmtree(os.environ["HF_MODULES_CACHE"], ignore_errors=True)


CACHE_SETTINGS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory):
    """What the runs of a module have in common is compiled by the first of them: compiling is most of a tiny run."""
    before = {name: getattr(jax.config, name) for name in CACHE_SETTINGS}
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


LONGEST_FIRST = (
    "test_readme.py",
    "test_jobs.py",
    "test_sharding.py",
    "test_train.py",
    "test_step.py",
    "test_recipes.py",
    "test_stack.py",
)


def pytest_collection_modifyitems(items):
    """Files go to processes whole, as they share what they compile; the longest must not be the last to begin."""
    rank = {name: i for i, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))
