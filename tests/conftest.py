"""Set-up shared by all tests: eight virtual CPU devices, and every annotated shape checked at every call."""

import os

# the last two: the tests compile more than they compute
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + (
    " --xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    " --xla_llvm_disable_expensive_passes=true")
os.environ["JAX_PLATFORMS"] = "cpu"

import hypothesis
from jaxtyping import install_import_hook

install_import_hook("lst_jax", "beartype.beartype")

hypothesis.settings.register_profile("shared", deadline=None)  # the machine may be busy
hypothesis.settings.load_profile("shared")
