"""A GKE JobSet: a Job for each slice, a pod for each of its hosts, all restarted together.

A Job fails for good only by its pod failure policy (reason PodFailurePolicy); any other failure, a preempted node's
too, ends in backoffLimit 0 and lets the JobSet begin anew.

The pods are what github.com/AI-Hypercomputer/xpk (June 2026, commands/workload.py) makes of them on TPUs: on the network
of their host, privileged, and with memory for /dev/shm, where containers otherwise have 64 MB.
"""

from typing import Any

import yaml

from lst_jax.jobs.launch.job import Job, need, stop_codes
from lst_jax.jobs.launch.target import Target

CONTAINER = "train"
VOLUME = "bucket"
SHARED_MEMORY = "shared-memory"
# A bucket renames a folder object by object, and by default not at all; a name that was not there is looked for again.
MOUNT_OPTIONS = "implicit-dirs,rename-dir-limit=200000,metadata-cache:negative-ttl-secs:0"
# GKE's FUSE driver is a container of its own; "0" takes its small limits away, else a large checkpoint may end it.
SIDECAR = {
    "gke-gcsfuse/volumes": "true",
    "gke-gcsfuse/cpu-limit": "0",
    "gke-gcsfuse/memory-limit": "0",
    "gke-gcsfuse/ephemeral-storage-limit": "0",
}
# Node pools of flex-start have this label, and with queued provisioning this taint as well.
FLEX_LABEL, FLEX_TAINT = "cloud.google.com/gke-flex-start", "cloud.google.com/gke-queued"
FLEX_SECONDS = "provreq.kueue.x-k8s.io/maxRunDurationSeconds"  # Kueue hands it on to GKE


class _Flow(list):
    """A list on one line, as far as it fits."""


class _Dumper(yaml.SafeDumper):
    """Knows `_Flow`."""


_Dumper.add_representer(
    _Flow, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)


def render(job: Job) -> dict[str, str]:
    """The files of a job: name -> text. Raises: ConfigError where the cluster's description lacks something."""
    tpu, pods = need(job, "tpu", "jobset"), need(job, "kubernetes", "jobset")
    metadata = {"name": job.name, "namespace": pods.namespace}
    if pods.queue is not None:
        metadata["labels"] = {"kueue.x-k8s.io/queue-name": pods.queue}
    # a slice is a node pool: no two Jobs may share one
    metadata["annotations"] = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    if tpu.max_run_seconds is not None:
        metadata["annotations"][FLEX_SECONDS] = str(tpu.max_run_seconds)
    ttl = {} if pods.ttl_seconds is None else {"ttlSecondsAfterFinished": pods.ttl_seconds}
    manifest = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {
            **ttl,
            "failurePolicy": {
                "maxRestarts": job.cluster.max_restarts,
                "rules": [
                    {"name": "personMustAct", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
                ],
            },
            "replicatedJobs": [{"name": "slice", "replicas": tpu.slices, "template": {"spec": _job_spec(job)}}],
        },
    }
    text = yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    head = "\n".join([*job.comments, f"# kubectl apply -f {job.name}.yaml"])
    return {f"{job.name}.yaml": f"{head}\n{text}"}


def _job_spec(job: Job) -> dict[str, Any]:
    hosts = job.cluster.tpu.hosts
    return {
        "parallelism": hosts,
        "completions": hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "podFailurePolicy": {
            "rules": [
                # first: the code of a pod whose node is taken away means nothing
                {"action": "Count", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": _Flow(stop_codes())},
                },
            ]
        },
        "template": _pod_template(job),
    }


def _pod_template(job: Job) -> dict[str, Any]:
    tpu, pods = job.cluster.tpu, job.cluster.kubernetes
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": job.cluster.grace_seconds,
        "nodeSelector": _node_selector(job),
    }
    if tpu.capacity == "flex-start":
        spec["tolerations"] = [{"key": FLEX_TAINT, "operator": "Exists", "effect": "NoSchedule"}]
    if pods.on_host_network:  # names of the other pods are found nevertheless
        spec |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    if pods.service_account is not None:
        spec["serviceAccountName"] = pods.service_account
    if pods.priority is not None:
        spec["priorityClassName"] = pods.priority
    if pods.pull_secret is not None:
        spec["imagePullSecrets"] = [{"name": pods.pull_secret}]
    container = _container(job)
    container["volumeMounts"] = [{"name": SHARED_MEMORY, "mountPath": "/dev/shm"}]
    spec["containers"] = [container]
    spec["volumes"] = [{"name": SHARED_MEMORY, "emptyDir": {"medium": "Memory"}}]
    if pods.bucket is None:
        return {"spec": spec}
    container["volumeMounts"].append({"name": VOLUME, "mountPath": pods.mount})
    attributes = {"bucketName": pods.bucket, "mountOptions": MOUNT_OPTIONS}
    spec["volumes"].append(
        {"name": VOLUME, "csi": {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": attributes}}
    )
    return {"metadata": {"annotations": SIDECAR}, "spec": spec}


def _node_selector(job: Job) -> dict[str, str]:
    """The labels of the nodes that the pods may run on."""
    tpu, pods = job.cluster.tpu, job.cluster.kubernetes
    selector = {
        "cloud.google.com/gke-tpu-accelerator": job.cluster.generation.gke_name,
        "cloud.google.com/gke-tpu-topology": tpu.topology,
    }
    if tpu.capacity == "spot":
        selector["cloud.google.com/gke-spot"] = "true"
    if tpu.capacity == "flex-start":
        selector[FLEX_LABEL] = "true"
    if tpu.reservation is not None:
        selector["cloud.google.com/reservation-name"] = tpu.reservation
    if pods.placement_policy is not None:
        selector["cloud.google.com/placement-policy-name"] = pods.placement_policy
    return selector


def _container(job: Job) -> dict[str, Any]:
    pods = job.cluster.kubernetes
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": pods.image,
        "workingDir": job.cluster.workdir,
        "command": [_literal(word) for word in job.command],  # no shell between: SIGTERM arrives at Python
    }
    settings = (setting.partition("=") for setting in job.cluster.env)
    env: list[dict[str, Any]] = [{"name": name, "value": _literal(value)} for name, _, value in settings]
    for name, _, secret in (setting.partition("=") for setting in pods.secrets or ()):
        secret_name, _, key = secret.partition("/")
        env.append({"name": name, "valueFrom": {"secretKeyRef": {"name": secret_name, "key": key}}})
    if env:
        container["env"] = env
    if pods.privileged is not False:
        container["securityContext"] = {"privileged": True}
    container["resources"] = {"limits": {"google.com/tpu": job.cluster.tpu.chips_per_host}}
    return container


def _literal(word: str) -> str:
    """Kubernetes replaces $(NAME) in commands and environments, and $$ is its way to write $."""
    return word.replace("$(", "$$(")


TARGET = Target("jobset", "a GKE JobSet, for TPUs", render)
