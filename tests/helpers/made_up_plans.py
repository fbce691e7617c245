"""Plans that nobody compiled."""

from lst_jax.cost.plan import Plan
from lst_jax.recipes.load import load_recipe

GIB = 2**30
CONFIG = load_recipe("configs/demo.py")


def make_plan(config=CONFIG, gib=10.0, arithmetic=2.0, network=0.5, **changes):
    """A plan of 16 devices with 16 GiB each and 8 rows a device, 1 GiB of state."""
    replica, tensor = config.mesh.replica or 1, config.mesh.tensor
    fields = dict(
        recipe="r",
        config_hash="0",
        topology="v5e:4x4",
        slices=1,
        devices=16,
        chips=16,
        mesh={"replica": replica, "data": 16 // tensor // replica, "tensor": tensor},
        rows=128 // tensor,
        accumulate=config.train.accumulate,
        remat=config.model.remat,
        parameters={"all": 1000},
        state_bytes={"all": GIB},
        hbm_bytes=int(gib * GIB),
        hbm_capacity=16 * GIB,
        analytic_flops=16e12,
        matrix_flops=1.5e12,
        eight_bit_flops=0.25e12,
        kernel_flops=0.5e12,
        bytes_accessed=1e9,
        kernels={"splash": 3},
        collective_bytes={"all-gather over data": 2e9},
        collective_sec={"all-gather over data": 0.2},
        largest_collective=2**20,
        largest_parameter=2**20,
        estimate_sec={
            "global transformer": {
                "matrix products": arithmetic,
                "collectives exposed": 0.5,
                "collectives hidden": 3.0,
            },
            "loss": {"loss": 0.25},
        },
        uncounted_kernels=["told"],
        floors_sec={"arithmetic": arithmetic, "memory": 1.0, "network": network},
        peak_flops=16e12 / 1.22,
        tokens=5e5,
        units=4e5,
        steps=3600,
        checkpoint_bytes=12000,
        compiler_options={"xla_a": "true"},
        refused_options=["compiler option xla_b=1: left out"],
        compile_sec=9.0,
    )
    return Plan(**fields | changes)
