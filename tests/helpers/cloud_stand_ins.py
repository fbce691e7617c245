"""What stands in for a cloud: `python cloud_stand_ins.py bucket NAME` makes a bucket of the test's server of this machine,
and `python cloud_stand_ins.py pods < MANIFEST` starts a process for each slice of a JobSet, instead of a pod for each host.
"""

import json
import os
import pathlib
import subprocess
import sys
import urllib.request

import jsonschema
import yaml

from lst_jax.bench.slow_bucket import free_port

SCHEMA = pathlib.Path(__file__).parents[1] / "jobs/launch/jobset_schema.json"
PROGRAMS = ("gcloud", "kubectl", "xpk", "docker")
KEEP = '#!/bin/sh\necho "$(basename "$0") $*" >> calls\n'
# after which words a program has an effect or an answer -> what it does then
EFFECTS = {
    "gcloud": [("projects describe *", "echo 123"), ("storage buckets create *", "{here} bucket my-bucket")],
    "kubectl": [("apply *", "{here} pods")],
    # the compiler of `lst plan` is an extra of its own; all other commands are run
    "lst": [("plan *", 'echo "lst $*" >> calls'), ("*", 'exec {python} -m lst_jax "$@"')],
}


def write(folder: pathlib.Path) -> None:
    """Writes the programs; each adds its words as a line to the file `calls`, except `lst`."""
    folder.mkdir()
    here = f"{sys.executable} {__file__}"
    for name in (*PROGRAMS, "lst"):
        cases = [
            f"  {pattern.replace(' *', '*').replace(' ', '?')}) {effect} ;;"
            for pattern, effect in EFFECTS.get(name, ())
        ]
        body = "\n".join(['case "$*" in', *cases, "esac\n"]).format(here=here, python=sys.executable)
        (folder / name).write_text((KEEP if name in PROGRAMS else "#!/bin/sh\n") + body)
        (folder / name).chmod(0o755)


def make_bucket(name: str) -> None:
    """Makes an empty bucket. Raises: URLError where the server is not there."""
    url = f"{os.environ['STORAGE_EMULATOR_HOST']}/storage/v1/b?project=my-project"
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(url, json.dumps({"name": name}).encode(), headers)).read()


def run_pods(manifest: str) -> int:
    """Starts the processes of a JobSet and waits for them. Returns: the largest exit code.

    Raises: ValidationError where the API of JobSets does not have what the manifest has.
    """
    job = yaml.safe_load(manifest)
    jsonschema.validate(job, json.loads(SCHEMA.read_text()))
    (replicated,) = job["spec"]["replicatedJobs"]
    (container,) = replicated["template"]["spec"]["template"]["spec"]["containers"]
    slices, hosts = replicated["replicas"], replicated["template"]["spec"]["parallelism"]
    *command, processes = container["command"]
    assert command[-1] == "--processes" and processes == str(slices * hosts)
    words = [*command, str(slices), "--coordinator", f"127.0.0.1:{free_port()}", "--process-id"]
    pods = [subprocess.Popen([*words, str(index)]) for index in range(slices)]
    return max(abs(pod.wait()) for pod in pods)


if __name__ == "__main__":
    sys.exit(make_bucket(sys.argv[2]) if sys.argv[1] == "bucket" else run_pods(sys.stdin.read()))
