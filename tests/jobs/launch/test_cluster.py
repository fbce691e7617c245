"""Descriptions of clusters: read strictly, and refused in one line that names the field and the fix."""

import dataclasses
import json
import pathlib
import tomllib

import make_golden
import pytest

from lst_jax.core.errors import ConfigError
from lst_jax.jobs.launch.cluster import load_cluster
from lst_jax.jobs.launch.job import make_job, run_in

EXAMPLES = sorted((make_golden.ROOT / "launch").glob("*"))


def changed(tmp_path: pathlib.Path, example: str, **fields) -> pathlib.Path:
    """An example with other values of `section__field` or `field`, as JSON; `...` removes one."""
    mapping = tomllib.loads((make_golden.ROOT / "launch" / example).read_text())
    for key, value in fields.items():
        *sections, name = key.split("__")
        inner = mapping
        for section in sections:
            inner = inner.setdefault(section, {})
        if value is ...:
            del inner[name]
        else:
            inner[name] = value
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(mapping))
    return path


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_every_example_is_a_cluster_and_is_rendered_by_a_golden_case(path):
    load_cluster(path)
    assert f"launch/{path.name}" in {cluster for cluster, _, _ in make_golden.CASES.values()}


def test_toml_and_json_say_the_same(tmp_path):
    assert load_cluster(changed(tmp_path, "v5p_gke.toml")) == load_cluster(make_golden.ROOT / "launch/v5p_gke.toml")


@pytest.mark.parametrize(
    "kind, topology, chips_per_host, chips, hosts",
    [  # cloud.google.com/tpu/docs, by kind
        ("v4", "2x2x1", 4, 4, 1),
        ("v4", "4x4x8", 4, 128, 32),
        ("v5p", "2x2x2", 4, 8, 2),
        ("v5p", "16x16x24", 4, 6144, 1536),
        ("v5e", "1x1", 1, 1, 1),
        ("v5e", "2x4", 8, 8, 1),
        ("v6e", "2x4", 4, 8, 2),
        ("v6e", "16x16", 4, 256, 64),
    ],
)
def test_chips_and_hosts_follow_from_the_topology(tmp_path, kind, topology, chips_per_host, chips, hosts):
    tpu = load_cluster(
        changed(tmp_path, "v5p_gke.toml", kind=kind, tpu__topology=topology, tpu__chips_per_host=chips_per_host)
    ).tpu
    assert (tpu.chips, tpu.hosts) == (chips, hosts)


@pytest.mark.parametrize(
    "example, fields, message",
    [
        ("v5p_gke", dict(kind="v5"), "kind='v5': must be one of v4, v5e, v5p, v6e, tpu7x, gpu; nearest: v5"),
        ("v5p_gke", dict(kind="tpu v7"), "kind='tpu v7': must be one of"),
        ("v5p_gke", dict(tpu__slice=2), "tpu.slice=2: unknown field; nearest: tpu.slices"),
        ("v5p_gke", dict(kubernets={}), "kubernets={}: unknown field; nearest: kubernetes"),
        ("v5p_gke", dict(tpu__slices=...), "tpu.slices=None: missing; it has no default: add it"),
        ("v5p_gke", dict(tpu__slices="2"), "tpu.slices='2': must be int, not str"),
        ("v5p_gke", dict(tpu__slices=0), "tpu.slices=0: must be at least 1; use 1"),
        (
            "v5p_gke",
            dict(tpu__topology="8x8"),
            "tpu.topology='8x8': a slice of v5p has 3 sides, not 2; use one such as 4",
        ),
        ("v6e_queued", dict(tpu__topology="4x4x4"), "tpu.topology='4x4x4': a slice of v6e has 2 sides, not 3"),
        ("v5e_xpk", dict(tpu__topology="16x8"), "tpu.topology='16x8': v5e has no such slice; use one of 1x1, 2x2"),
        ("v5p_gke", dict(tpu__topology="4x4x6"), "v5p has no such slice; use one of 2x2x1"),
        ("v5p_gke", dict(tpu__topology="8x4x4"), "v5p has no such slice; use one of 2x2x1"),
        ("v5p_gke", dict(tpu__topology="4x4x0"), "tpu.topology='4x4x0': must be chips along each side"),
        ("v5p_gke", dict(tpu__topology="64"), "tpu.topology='64': must be chips along each side"),
        (
            "v5p_gke",
            dict(tpu__chips_per_host=8),
            "tpu.chips_per_host=8: must make whole hosts of v5p out of the 64 chips",
        ),
        ("v5p_gke", dict(tpu__chips_per_host=0), "tpu.chips_per_host=0: must make whole hosts"),
        ("v5e_xpk", dict(tpu__topology="1x1"), "chips_per_host=4: must make whole hosts of v5e out of .* 1x1; use 1"),
        ("v5e_xpk", dict(tpu__topology="4x4", tpu__chips_per_host=8), "tpu.chips_per_host=8: .*; use 4"),
        ("v6e_queued", dict(tpu__reservation="mine"), "tpu.reservation='mine': has no meaning for tpu.capacity=.spot"),
        ("v5p_gke", dict(kubernetes__mount=...), "kubernetes.mount=None: a bucket and the folder"),
        ("v5p_gke", dict(kubernetes__image=""), "kubernetes.image='': must be the name of an image.*make image IMAGE="),
        ("v5p_gke", dict(kubernetes__image="My Image"), "kubernetes.image='My Image': must be the name of an image"),
        ("v5p_gke", dict(kubernetes__image="a/b:"), "kubernetes.image='a/b:': must be the name of an image"),
        ("v5p_gke", dict(kubernetes__image=...), "kubernetes.image=None: missing"),
        ("v5p_gke", dict(kubernetes__host_network=True), "host_network=True: gives pods the rights of their node"),
        ("tpu7x_gke", dict(kubernetes__ttl_seconds=-1), "kubernetes.ttl_seconds=-1: must not be negative"),
        ("tpu7x_gke", dict(kubernetes__priority="High!"), "kubernetes.priority='High!': must be lower-case letters"),
        ("v6e_flex", dict(kubernetes__pull_secret="a b"), "kubernetes.pull_secret='a b': must be lower-case letters"),
        ("v6e_flex", dict(kubernetes__secrets=["A=b"]), "kubernetes.secrets.0='A=b': must be NAME=SECRET/KEY"),
        ("v6e_flex", dict(kubernetes__secrets=["SLURM_A=b/c"]), "kubernetes.secrets.0='SLURM_A=b/c': JAX finds this"),
        ("v6e_flex", dict(tpu__max_run_seconds=60), "tpu.max_run_seconds=60: must be from 600 to 604800"),
        ("v6e_flex", dict(tpu__capacity="spot"), "tpu.max_run_seconds=86400: has no meaning for tpu.capacity=.spot"),
        ("v5p_gke", dict(kubernetes__mount="data"), "kubernetes.mount='data': must be an absolute path; use /data"),
        ("v5p_gke", dict(workdir="app"), "workdir='app': must be an absolute path; use /app"),
        ("v5p_gke", dict(workdir="/a\nb"), "must be one line of printable characters"),
        ("v5p_gke", dict(run_root="s3://bucket/runs"), "run_root=s3://bucket/runs: runs and checkpoints lie on this"),
        ("v5p_gke", dict(grace_seconds=5), "grace_seconds=5: must be at least 30"),
        ("v5p_gke", dict(max_restarts=-1), "max_restarts=-1: must not be negative"),
        ("v5p_gke", dict(env=["A-B=1"]), "env.0='A-B=1': must be NAME=value; use A_B=value"),
        (
            "v5p_gke",
            dict(env=["A=1", "JAX_PROCESS_ID=0"]),
            "env.1='JAX_PROCESS_ID=0': JAX finds this itself; leave it out",
        ),
        ("v5p_gke", dict(env=["MEGASCALE_NUM_SLICES=2"]), "JAX finds this itself"),
        ("v5p_gke", dict(tpu=...), "tpu=None: needed for kind=.v5p.; add a section"),
        ("gpu_slurm", dict(slurm=...), "slurm=None: needed for kind=.gpu."),
        ("gpu_slurm", dict(slurm__nodes=0), "slurm.nodes=0: must be at least 1"),
        ("gpu_slurm", dict(slurm__time="a day"), "slurm.time='a day': must be a time limit"),
        ("gpu_slurm", dict(slurm__partition="gpu --evil"), "slurm.partition='gpu --evil': must be letters"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_field_and_fix(tmp_path, example, fields, message):
    path = changed(tmp_path, f"{example}.toml", **fields)
    with pytest.raises(ConfigError, match=message) as error:
        load_cluster(path)
    assert "\n" not in str(error.value) and str(error.value).startswith(f"{path}: ") and "; " in str(error.value)


@pytest.mark.parametrize("name, text", [("c.toml", "name = "), ("c.json", "{"), ("c.toml", "\x00")])
def test_a_file_that_is_neither_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_cluster(tmp_path / name)
    with pytest.raises(ConfigError, match="no such cluster description"):
        load_cluster(tmp_path / "none.toml")


def test_rows_are_a_multiple_of_the_devices_of_all_slices(tmp_path):
    cluster = load_cluster(make_golden.ROOT / "launch/v5p_gke.toml")  # 2 x 64 chips; the 1B has 128 rows
    assert make_job("r", "configs/lst.py:1b", cluster, None).cluster.devices == 128
    three = dataclasses.replace(cluster, tpu=dataclasses.replace(cluster.tpu, slices=3))
    with pytest.raises(ConfigError, match="data.rows=128: must be a multiple of 192: 192 parts of the mesh"):
        make_job("r", "configs/lst.py:1b", three, None)


@pytest.mark.parametrize(
    "run, name, message",
    [
        ("r", "My_Job!", "name='My_Job!': .*; give --name my-job"),
        ("r", "9" * 50, "give --name lst"),
        ("r", "a" * 41, f"give --name {'a' * 40}"),
        ("-r", None, "RUN='-r': "),
        ("a\nb", None, "RUN="),
        ("s3://b/r", None, "s3://b/r: runs and checkpoints lie on this machine or in gs://"),
    ],
)
def test_names_that_no_target_takes_are_refused(run, name, message):
    cluster = load_cluster(make_golden.ROOT / "launch/v5p_gke.toml")
    with pytest.raises(ConfigError, match=message):
        make_job(run, "configs/lst.py:1b", cluster, name)


@pytest.mark.parametrize(
    "example, target, fields, message",
    [
        ("gpu_slurm", "jobset", {}, "kind='gpu': --to jobset is for TPUs; use --to slurm"),
        ("v5p_gke", "slurm", {}, "kind='v5p': --to slurm is for GPUs; use --to jobset"),
        ("v6e_queued", "jobset", {}, r"kubernetes=None: needed by --to jobset; add a section \[kubernetes\]"),
        ("v5p_gke", "queued-resource", {}, "google=None: needed by --to queued-resource"),
        ("v6e_queued", "queued-resource", dict(google__runtime_version=...), "google.runtime_version=None: needed"),
        ("v6e_queued", "queued-resource", dict(tpu__topology="2x4"), "outside of GKE, 2x4 is one host; use 8"),
        ("v5e_xpk", "xpk", dict(tpu__topology="2x2"), "tpu.topology='2x2': xpk has no such slice of v5e; use another"),
        ("v5e_xpk", "xpk", dict(tpu__topology="2x4", tpu__chips_per_host=8), "=8: xpk makes hosts of 4; use 4"),
        ("v5e_xpk", "xpk", dict(kubernetes__privileged=False), "kubernetes.privileged=False: xpk's pods have it"),
        ("v5e_xpk", "xpk", dict(kubernetes__host_network=False), "kubernetes.host_network=False: xpk's pods have"),
        ("v5e_xpk", "xpk", dict(kubernetes__secrets=["A=b/c"]), "kubernetes.secrets=.*: xpk has no option for it"),
        ("v5e_xpk", "xpk", dict(kubernetes__priority="urgent"), "'urgent': xpk has other classes; use one of very-low"),
        ("v5e_xpk", "xpk", dict(kubernetes__bucket="b", kubernetes__mount="/b"), "kubernetes.bucket='b': xpk mounts"),
    ],
)
def test_a_target_says_what_it_needs(tmp_path, example, target, fields, message):
    cluster = load_cluster(changed(tmp_path, f"{example}.toml", **fields))
    with pytest.raises(ConfigError, match=message):
        make_golden.RENDER[target](make_job("r", "configs/lst.py:7b", cluster, None))


@pytest.mark.parametrize(
    ("root", "run", "place"),
    [
        ("gs://b/runs", "1b", "gs://b/runs/1b"),
        ("/data/runs", "gs://b/1b", "gs://b/1b"),
        ("gs://b/runs", "/data/1b", "/data/1b"),
        ("runs", "a/1b", "runs/a/1b"),
    ],
)
def test_a_run_lies_in_the_run_root_unless_it_is_a_whole_place(root, run, place):
    assert str(run_in(root, run)) == place


def test_what_an_image_is_called_follows_registries(tmp_path):
    for name in ("image", "a/b", "localhost:5000/a/b:1", "a.dev/p/i:1", f"a.dev/p/i@sha256:{'0' * 64}", "a/b_c:v1.2-x"):
        assert load_cluster(changed(tmp_path, "v5p_gke.toml", kubernetes__image=name)).kubernetes.image == name


def test_the_largest_slices_of_xpk_are_asked_for_by_their_topology(tmp_path):
    path = changed(tmp_path, "v5e_xpk.toml", kind="v5p", tpu__topology="4x4x16", tpu__slices=1)
    (text,) = make_golden.RENDER["xpk"](make_job("r", "configs/lst.py:7b", load_cluster(path), None)).values()
    assert "--tpu-type=v5p-4x4x16 " in text


def test_a_slice_of_more_cubes_than_xpk_has_is_refused():
    job = make_job("r", "configs/lst.py:1b", load_cluster(make_golden.ROOT / "launch/tpu7x_gke.toml"), None)
    tpu = dataclasses.replace(job.cluster.tpu, topology="16x16x36")  # 144 cubes, the most
    large = dataclasses.replace(job, cluster=dataclasses.replace(job.cluster, tpu=tpu))
    assert "--tpu-type=tpu7x-16x16x36 " in "".join(make_golden.RENDER["xpk"](large).values())
    larger = dataclasses.replace(
        large, cluster=dataclasses.replace(job.cluster, tpu=dataclasses.replace(tpu, topology="16x16x40"))
    )
    with pytest.raises(ConfigError, match="tpu.topology='16x16x40': xpk has no such slice of tpu7x"):
        make_golden.RENDER["xpk"](larger)


def test_flex_start_is_asked_for_as_each_program_has_it(tmp_path):
    flex = dict(tpu__capacity="flex-start", tpu__max_run_seconds=3600)
    queued = load_cluster(changed(tmp_path, "v6e_queued.toml", **flex))
    (text,) = make_golden.RENDER["queued-resource"](make_job("r", "configs/lst.py:1b", queued, None)).values()
    assert (
        "gcloud alpha compute tpus queued-resources create" in text
        and "gcloud compute tpus queued-resources ssh" in text
    )
    assert "--provisioning-model=flex-start" in text and "--max-run-duration=3600s" in text
    (text,) = make_golden.RENDER["xpk"](
        make_job("r", "configs/lst.py:7b", load_cluster(changed(tmp_path, "v5e_xpk.toml", **flex)), None)
    ).values()
    assert "--flex " in text
