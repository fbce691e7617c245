"""Runs the steps of the Dockerfile where no Docker engine is: in a tree of Debian, which chroot makes the root.

    debootstrap --variant=minbase --include=python3,python3-pip,ca-certificates bookworm TREE
    python tests/image/run_in_chroot.py TREE --target tpu --data DATA

The tree stands for python:3.11-slim: Debian 12 has Python 3.11, too. Then `lst --help` and two steps of the demo run as the
image's user, with the tree read-only, DATA (a folder with demo/) at data/, and only /tmp to write to. It needs root.
"""

import argparse
import fnmatch
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
# Debian keeps pip from its own packages, which python:3.11-slim does not have
OF_THE_TREE = {"PIP_BREAK_SYSTEM_PACKAGES": "1", "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin", "HOME": "/root"}
OF_THE_NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
SMALL = "--set train.steps=2 --set eval.batches=1 --set eval.completion_items=4 --set optim.warmup_steps=1"
SMALL += " --set data.patching.tau1=1 --set data.patching.tau2=2"


def steps(target: str) -> list[tuple[str, str]]:
    """The instructions that make a stage, those of the stages below it first."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text()).replace("\\\n", " ")
    stages = {}
    for stage in re.split(r"(?m)^FROM ", text)[1:]:
        head, *lines = stage.strip().splitlines()
        base, name = head.split(" AS ")
        stages[name] = stages.get(base, []) + [tuple(line.split(" ", 1)) for line in lines if line.strip()]
    return stages[target]


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets the builder have a path of the top folder."""
    sent = True
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        if rule and not rule.startswith("#") and fnmatch.fnmatch(path, rule.lstrip("!")):
            sent = rule.startswith("!")
    return sent


class Tree:
    """The tree while its steps are run: folder, environment and user."""

    def __init__(self, root: pathlib.Path):
        """Takes over how this machine reaches the network."""
        self.root, self.workdir, self.user, self.env = root, "/", "0", dict(OF_THE_TREE)
        for name in OF_THE_NETWORK:
            if pathlib.Path(name).is_file():
                (root / name[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(name, root / name[1:])

    def apply(self, instruction: str, argument: str) -> None:
        """Does what Docker does for an instruction. Raises: CalledProcessError, and KeyError for an unknown one."""
        {
            "ENV": self._env,
            "WORKDIR": self._workdir,
            "RUN": self._run,
            "COPY": self._copy,
            "USER": self._user,
            "CMD": print,
        }[instruction](argument)

    def _env(self, argument: str) -> None:
        self.env |= dict(word.split("=", 1) for word in shlex.split(argument))

    def _workdir(self, argument: str) -> None:
        self.workdir = argument
        (self.root / argument[1:]).mkdir(parents=True, exist_ok=True)

    def _user(self, argument: str) -> None:
        self.user = argument

    def _copy(self, argument: str) -> None:
        *sources, target = argument.split()
        folder = self.root / self.workdir[1:]
        for source in sources:
            for path in ROOT.glob(source):
                assert is_sent(path.name), f"{path}: .dockerignore leaves it out"
                if path.is_dir():
                    ignored = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(path, folder / target, dirs_exist_ok=True, ignore=ignored)
                else:
                    shutil.copy(path, folder / target)

    def _run(self, argument: str) -> None:
        self.command(argument)

    def command(self, line: str, mounts: str = "") -> None:
        """Runs a line of the shell in the tree as its user, in a mount namespace of its own. Raises: CalledProcessError."""
        print(f"as user {self.user}: {line}", flush=True)
        root = shlex.quote(str(self.root))
        env = shlex.join(f"{name}={value}" for name, value in self.env.items())
        inner = shlex.quote(f"cd {self.workdir} && {line}")
        script = (
            f"set -e; mount --bind {root} {root}; cd {root}; {mounts} mount -t proc proc proc; mount --rbind /dev dev; "
        )
        script += f"exec chroot --userspec={self.user}:{self.user} {root} env -i {env} /bin/sh -c {inner}"
        subprocess.run(["unshare", "--mount", "/bin/sh", "-c", script], check=True)


def main() -> None:
    """Builds, then runs. The exit code is not 0 where a step fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", type=pathlib.Path)
    parser.add_argument("--target", choices=("tpu", "cuda"), default="tpu")
    parser.add_argument("--data", type=pathlib.Path, required=True)
    args = parser.parse_args()
    tree = Tree(args.tree.resolve())
    for instruction, argument in steps(args.target):
        tree.apply(instruction, argument)
    folder = f"{tree.workdir[1:]}/data"
    (tree.root / folder).mkdir(exist_ok=True)
    data = shlex.quote(str(args.data.resolve()))
    mounts = f"mount --bind {data} {folder}; mount -o remount,bind,ro {shlex.quote(str(tree.root))}; mount -t tmpfs tmpfs tmp;"
    tree.env["JAX_PLATFORMS"] = "cpu"
    for line in (
        "lst --help",
        "! touch /app/written",
        f"lst train /tmp/run --config configs/demo.py {SMALL}",
        "lst doctor --run /tmp/run --config configs/demo.py",
    ):
        tree.command(line, mounts)


if __name__ == "__main__":
    sys.exit(main())
