"""Set-up shared by all tests: eight virtual CPU devices, and every annotated shape checked at every call."""

import gc
import os
import pathlib
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
# What the runs of a process and of its commands have in common is compiled once: compiling is most of a tiny run. Each
# process of pytest has a folder of its own, as JAX does not write these files whole or not at all.
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="lst_tests_compiled_")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.02"

import fake_gcs
import hypothesis
import pytest
from fsspec.spec import AbstractFileSystem
from jaxtyping import install_import_hook

ROOT = pathlib.Path(__file__).parents[1]


def modules_with_shapes() -> list[str]:
    """The modules whose annotations state shapes. All others are left alone: checking them doubles the tests' time."""
    files = [file for file in (ROOT / "lst_jax").rglob("*.py") if "lst_jax.core.shapes" in file.read_text()]
    return [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]


install_import_hook(modules_with_shapes(), "beartype.beartype")

hypothesis.settings.register_profile("shared", deadline=None)  # the machine may be busy
hypothesis.settings.load_profile("shared")


# tracing makes millions of small objects that stay: looking for cycles among them took a fifth of its time
gc.set_threshold(100_000, 20, 100)


def pytest_unconfigure(config):
    """Leaves nothing behind."""
    for name in ("HF_MODULES_CACHE", "JAX_COMPILATION_CACHE_DIR"):
        shutil.rmtree(os.environ[name], ignore_errors=True)


LONGEST_FIRST = (
    "test_convert.py",
    "test_train.py",
    "test_jobs.py",
    "test_mesh.py",
    "test_recipes.py",
    "test_sharding.py",
    "test_bucket_runs.py",
    "test_sweep_command.py",
    "test_adaptation.py",
    "test_lst.py",
    "test_stack.py",
    "test_scorer.py",
)


def pytest_collection_modifyitems(items):
    """Files go to processes whole, as they share what they compile; the longest must not be the last to begin."""
    rank = {name: i for i, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture(scope="session")
def bucket(tmp_path_factory):
    """The address of a bucket of this machine. Skips the test where its server cannot run."""
    with fake_gcs.serving(tmp_path_factory.mktemp("gcs")) as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield f"gs://{fake_gcs.slow_bucket.BUCKET}"


@pytest.fixture
def no_appends(monkeypatch):
    """Adding to an object of a bucket is an error of the test."""
    monkeypatch.setattr("fsspec.spec.AbstractFileSystem.open", fake_gcs.refusing(AbstractFileSystem.open))
