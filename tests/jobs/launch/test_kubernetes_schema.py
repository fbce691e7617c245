"""What a JobSet makes of its manifest, Jobs and pods, is what Kubernetes' own OpenAPI schema has, in strict form."""

import copy

import pytest
from test_rendered import JOBSET_CASES, job_spec

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate: make test-extras")
VERSIONS = ("1.31", "1.37")  # the oldest that GKE has had in this project's time, and the newest


def of_kind(kind: str, job: dict) -> dict:
    """The object that the controller makes of the Job's specification."""
    if kind == "Job":
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": job}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, **job["template"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["Job", "Pod"])
@pytest.mark.parametrize("case", JOBSET_CASES)
def test_jobs_and_pods_have_only_what_kubernetes_has(case, kind, version):
    kubernetes_validate.validate(of_kind(kind, job_spec(case)), version, strict=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda job: job.update(completionsMode="Indexed"),
        lambda job: job["template"]["spec"].update(dnsPolicy=5),
        lambda job: job["template"]["spec"]["containers"][0].pop("name"),
        lambda job: job["template"]["spec"]["volumes"][0]["emptyDir"].update(mediun="Memory"),
        lambda job: job["podFailurePolicy"]["rules"][1]["onExitCodes"].update(values=["1"]),
    ],
)
def test_mistakes_are_found(change):
    job = copy.deepcopy(job_spec("v5p_gke"))
    change(job)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(of_kind("Job", job), VERSIONS[-1], strict=True)
