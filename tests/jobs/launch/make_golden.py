"""Writes what `lst launch` renders now into golden/; a review then sees what changed for whom:

python tests/jobs/launch/make_golden.py && git diff tests/jobs/launch/golden
"""

import pathlib

from lst_jax.jobs.launch import targets
from lst_jax.jobs.launch.cluster import load_cluster
from lst_jax.jobs.launch.job import make_job

ROOT = pathlib.Path(__file__).parents[3]
GOLDEN = pathlib.Path(__file__).with_name("golden")
RENDER = {name: targets.target(name).render for name in targets.names()}
# folder of golden/ -> cluster, target, recipe
CASES = {
    "v5p_gke": ("launch/v5p_gke.toml", "jobset", "configs/lst.py:1b"),
    "v5p_bucket": ("launch/v5p_bucket.toml", "jobset", "configs/lst.py:7b"),
    "v6e_queued": ("launch/v6e_queued.toml", "queued-resource", "configs/lst.py:1b"),
    "v5e_xpk": ("launch/v5e_xpk.toml", "xpk", "configs/lst.py:7b"),
    "tpu7x_jobset": ("launch/tpu7x_gke.toml", "jobset", "configs/lst.py:1b"),
    "tpu7x_xpk": ("launch/tpu7x_gke.toml", "xpk", "configs/lst.py:1b"),
    "v5e_jobset": ("launch/v5e_xpk.toml", "jobset", "configs/lst.py:7b"),
    "flex_jobset": ("launch/v6e_flex.toml", "jobset", "configs/lst.py:1b"),
    "gpu_slurm": ("launch/gpu_slurm.toml", "slurm", "configs/lst.py:1b,base"),
    "odd_jobset": ("tests/jobs/launch/odd_tpu.json", "jobset", "configs/lst.py:1b"),
    "odd_queued": ("tests/jobs/launch/odd_tpu.json", "queued-resource", "configs/lst.py:1b"),
    "odd_xpk": ("tests/jobs/launch/odd_tpu.json", "xpk", "configs/lst.py:1b"),
    "odd_slurm": ("tests/jobs/launch/odd_gpu.json", "slurm", "configs/lst.py:1b"),
}
ODD_RUN = 'it\'s $(HOME) "a" `b`; \\n'


def rendered(case: str) -> dict[str, str]:
    """File name -> text, of one case."""
    cluster, target, recipe = CASES[case]
    run = ODD_RUN if case.startswith("odd") else "paper"
    return RENDER[target](make_job(run, recipe, load_cluster(ROOT / cluster), None))


if __name__ == "__main__":
    for case in CASES:
        for name, text in rendered(case).items():
            path = GOLDEN / case / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(path)
