"""The commands of gcloud, xpk and kubectl in documents and rendered jobs, and the options that these programs have.

`cloud_commands.json` holds the options, read from the programs themselves. To read them again, and let the programs parse
every command, give a Google Cloud CLI, the Python of an environment with xpk, and a kubectl:

python tests/helpers/cloud_commands.py GOOGLE_CLOUD_SDK PYTHON_WITH_XPK KUBECTL
"""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
TABLE = pathlib.Path(__file__).with_suffix(".json")
PROGRAMS = ("gcloud", "xpk", "kubectl")
DOCUMENTS = ("README.md", "docs/operations.md")
# what each program says of a word that it does not know, or of one that is missing
REFUSALS = re.compile(
    r"unrecognized arguments|Invalid (choice|value)|invalid choice|argument .*: (Must|expected|required)"
    r"|the following arguments are required|unknown (flag|command|shorthand)|requires at least|unknown_args"
)


def blocks(document: str) -> list[str]:
    """The texts of the fenced blocks of bash in a document, without their indentation."""
    text = (ROOT / document).read_text()
    found = re.findall(r"^( *)```bash\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"(?m)^{indent}", "", body) for indent, body in found]


def simple_commands(script: str) -> list[list[str]]:
    """The words of each command of a script, those behind pipes and within $(…) too. Lines of comments are left out.

    Example: "a x | b $(c 'y z')" -> [["a", "x"], ["b", "$"], ["c", "y z"]]
    """
    script = re.sub(r"(?m)^ *#.*$", "", script.replace("\\\n", " "))
    reader = shlex.shlex(re.sub(r" 2>\S+", "", script), posix=True, punctuation_chars="();<>|&\n")
    reader.whitespace, reader.commenters, reader.whitespace_split = " \t", "", True
    found: list[list[str]] = [[]]
    for word in reader:
        if set(word) <= set("();<>|&\n"):
            found.append([])
        elif found[-1] or not (word in ("do", "{", "}", "then") or re.fullmatch(r"\w+=.*", word)):
            found[-1].append(word)
    return [words for words in found if words]


def of_programs(script: str) -> list[list[str]]:
    """Those of the programs of `PROGRAMS`. Variables of the shell get a value that every option takes."""
    names = {"split": "train", "role": "roles/storage.objectUser", "machines": "serviceAccount:a@b.com"}
    commands = [words for words in simple_commands(script) if words[0] in PROGRAMS]
    return [[re.sub(r"\$(\w+)", lambda name: names.get(name[1], "1"), word) for word in words] for words in commands]


def split(words: list[str]) -> tuple[str, list[str], list[str]]:
    """(the command, its positional words, the names of its options). The command is the longest that the table knows."""
    known = json.loads(TABLE.read_text())[words[0]]["commands"]
    before_dashes = words[: words.index("--")] if "--" in words else words
    count = next((n for n in range(len(words), 1, -1) if " ".join(words[1:n]) in known), 1)
    rest = before_dashes[count:]
    options = [word.partition("=")[0] for word in rest if word.startswith("-") and word != "-"]
    return " ".join(words[1:count]), [word for word in rest if not word.startswith("-") or word == "-"], options


def scripts() -> list[str]:
    """All that names commands of clouds: blocks of documents, and rendered scripts."""
    golden = sorted((ROOT / "tests/jobs/launch/golden").glob("*/*.sh"))
    return [block for name in DOCUMENTS for block in blocks(name)] + [path.read_text() for path in golden]


GCLOUD_OPTIONS = """
import sys
sys.path[:0] = [sys.argv[1] + "/lib", sys.argv[1] + "/lib/third_party"]
import gcloud, json
from googlecloudsdk import gcloud_main
top = gcloud_main.CreateCLI([])._TopElement()
def options(words):
    for count in range(len(words), 0, -1):
        try:
            found = top.LoadSubElementByPath(words[:count])
        except Exception:
            found = None
        if found is not None and not found.is_group:
            return words[:count], sorted({o for a in found.GetAllAvailableFlags() for o in a.option_strings})
print(json.dumps([options(words) for words in json.load(sys.stdin)]))
"""
XPK_OPTIONS = """
import argparse, json, sys
from importlib import metadata
from xpk.parser.core import set_parser
parser = argparse.ArgumentParser()
set_parser(parser)
def options(words):
    node, path = parser, []
    for word in words:
        groups = [a for a in node._actions if isinstance(a, argparse._SubParsersAction)]
        if not groups or word not in groups[0].choices:
            break
        node, path = groups[0].choices[word], [*path, word]
    return path, sorted({o for a in node._actions for o in a.option_strings})
found = []
for words in json.load(sys.stdin):
    parser.parse_args(words)
    found.append(options(words))
print(json.dumps([metadata.version("xpk"), found]))
"""


def main(sdk: str, python_with_xpk: str, kubectl: str) -> None:
    """Writes the table. Ends with an error where a program refuses a command."""
    commands = [words for script in scripts() for words in of_programs(script)]
    each = {name: [words[1:] for words in commands if words[0] == name] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as home:
        env = os.environ | {"HOME": home, "CLOUDSDK_CONFIG": home, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
        gcloud = _answer([sys.executable, "-W", "ignore", "-c", GCLOUD_OPTIONS, sdk], each["gcloud"], env)
        version, xpk = _answer([python_with_xpk, "-c", XPK_OPTIONS], each["xpk"], env)
        for words in each["gcloud"]:
            _parse([sys.executable, "-W", "ignore", f"{sdk}/lib/gcloud.py", *words], env)
        for words in each["kubectl"]:
            _parse([kubectl, *words], env)
        shown = _run([kubectl, "version", "--client"], env)
        inherited = set(re.findall(r"--[a-z-]+", _run([kubectl, "options"], env)))
    options = {}
    for words in each["kubectl"]:
        name = next(n for n in range(len(words), 0, -1) if not any(w.startswith("-") for w in words[:n]))
        while "Usage:" not in (text := _run([kubectl, *words[:name], "--help"], os.environ)) and name > 1:
            name -= 1
        path = _usage(text, words[:name])
        listed = re.findall(r"^ +(?:(-\w), )?(--[a-z-]+)[=\[]", text, re.MULTILINE)
        options[" ".join(path)] = sorted({o for pair in listed for o in pair if o} | inherited)
    table = {
        "gcloud": {"version": pathlib.Path(sdk, "VERSION").read_text().strip(), "commands": _named(gcloud)},
        "xpk": {"version": version, "commands": _named(xpk)},
        "kubectl": {"version": re.findall(r"v([\d.]+)", shown)[0], "commands": options},
    }
    TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
    print(f"{len(commands)} commands were parsed by gcloud, xpk and kubectl; wrote {TABLE}")


def _named(found: list) -> dict[str, list[str]]:
    return {" ".join(path): options for path, options in found}


def _usage(text: str, words: list[str]) -> list[str]:
    """The words of the command in kubectl's line of usage. Example: ["get", "pods"] -> ["get"]."""
    usage = text.rpartition("Usage:")[2]
    return [word for n, word in enumerate(words) if f"kubectl {' '.join(words[: n + 1])} " in usage]


def _run(command: list[str], env) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    return done.stdout + done.stderr


def _answer(command: list[str], question, env):
    done = subprocess.run(command, env=env, input=json.dumps(question), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _parse(command: list[str], env) -> None:
    said = _run(command, env)
    print(shlex.join(command)[-150:], "->", said.strip().splitlines()[:1])
    if REFUSALS.search(said):
        sys.exit(f"{shlex.join(command)}: {said}")


if __name__ == "__main__":
    main(*sys.argv[1:])
