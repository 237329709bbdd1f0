"""The Dockerfile, what it is given to build of, and the files of the image, in which the program really runs."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import chart
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients"))

from harness import processes  # noqa: E402

USER = 65532


def instructions():
    """Each instruction of the Dockerfile and its arguments, by stage."""
    stages, pending = [], ""
    for line in (chart.ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        pending += line.rstrip("\\")
        if not line.endswith("\\"):
            name, _, arguments = pending.partition(" ")
            if name == "FROM":
                stages.append([])
            stages[-1].append((name, arguments))
            pending = ""
    return stages


def test_hadolint_finds_nothing():
    done = chart.run(chart.program("hadolint"), "--failure-threshold", "style", chart.ROOT / "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_the_image_is_made_of_nothing_and_runs_as_nobody():
    build, image = instructions()
    assert ("FROM", "scratch") == image[0]
    given = dict(image)
    assert given["USER"] == f"{USER}:{USER}"
    # The environment beats the file of settings: a variable in the image would beat everybody's.
    assert "ENV" not in given and "ARG" not in given
    assert json.loads(given["ENTRYPOINT"]) == ["/usr/local/bin/tracegate"]
    assert json.loads(given["CMD"]) == ["serve", "--config", "/etc/tracegate/tracegate.toml"]
    run = next(arguments for name, arguments in build if name == "RUN")
    assert "--locked" in run and "--release" in run


def test_the_chart_runs_the_image_as_it_is_meant():
    rendered = chart.objects("minimal")
    assert rendered.container["args"] == ["serve", "--config", "/etc/tracegate/tracegate.toml"]
    assert "command" not in rendered.container
    security = rendered.pod["securityContext"]
    assert security["runAsUser"] == security["runAsGroup"] == security["fsGroup"] == USER


def context():
    """The files that `.dockerignore` leaves: the last pattern that matches a file or a directory above it decides."""
    patterns = [line for line in (chart.ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=chart.ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        parts = Path(name).parts
        above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        kept = True
        for pattern in patterns:
            bare = pattern.removeprefix("!")
            forms = [bare, bare.replace("**/", "")] if "**/" in bare else [bare]
            if any(fnmatch.fnmatchcase(path, form) for path in above for form in forms):
                kept = pattern.startswith("!")
        if kept:
            yield name


# They say themselves that they are compiled for tests only.
FOR_TESTS = re.compile(r"(^|/)(tests|proof)(/|\.rs$)|^src/config/describe\.rs$|^src/layers\.rs$")


def test_the_program_takes_in_no_file_that_the_build_does_not_see():
    files = set(context())
    taken = {}
    for name in files:
        if name.startswith("src/") and not FOR_TESTS.search(name):
            text = (chart.ROOT / name).read_text()
            # Down to the tests that stand at the end of a file.
            text = text.partition("#[cfg(test)]\nmod tests {")[0]
            for path in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', text):
                taken[os.path.normpath(Path(name).parent / path)] = name
            for path in re.findall(r'sqlx::migrate!\("([^"]+)"\)', text):
                taken[path] = name
    assert "policies/levels.csv" in taken and "migrations/postgres" in taken
    for path, name in taken.items():
        assert path in files or any(file.startswith(path + "/") for file in files), f"{name} takes in {path}"


def test_the_build_sees_what_it_needs_and_nothing_else(tmp_path):
    files = list(context())
    tops = {name.split("/")[0] for name in files}
    assert tops == {"Cargo.toml", "Cargo.lock", "src", "migrations", "policies", "benches", "container"}
    manifest = tomllib.loads((chart.ROOT / "Cargo.toml").read_text())
    for name in [f"benches/{bench['name']}.rs" for bench in manifest["bench"]] + ["src/main.rs", "policies/levels.csv"]:
        assert name in files
    for name in files:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(chart.ROOT / name, target)
    # Cargo takes the manifest with these files, and no others.
    command = ["cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changing the root directory needs root")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    directory = tmp_path_factory.mktemp("image") / "image"
    done = chart.run(chart.ROOT / "container/assemble.sh", processes.tracegate_binary(), directory)
    assert done.returncode == 0, done.stderr
    return directory


@needs_root
def test_the_image_has_no_shell_and_nothing_that_its_user_can_change(image):
    programs = [path for path in image.rglob("*") if path.is_file() and os.access(path, os.X_OK) and ".so" not in path.name]
    assert [path.relative_to(image).as_posix() for path in programs] == ["usr/local/bin/tracegate"]
    assert not (image / "bin/sh").exists() and not (image / "usr/bin").exists()
    for path in image.rglob("*"):
        status = path.lstat()
        mutable = status.st_uid == USER or status.st_mode & 0o002
        assert not mutable or path.relative_to(image).as_posix() in {"var/lib/tracegate", "tmp"}, path
        assert not status.st_mode & 0o6000, f"{path} changes who runs it"


@needs_root
def test_the_program_runs_in_it_as_nobody(image):
    """The image as its root, its user, and its settings, but for the port."""
    log = image.parent / "log"
    command = ["chroot", f"--userspec={USER}:{USER}", image, "/usr/local/bin/tracegate", "serve", "--config", "/etc/tracegate/tracegate.toml", "--json"]
    environment = {"TRACEGATE__SERVER__LISTEN": "127.0.0.1:0"}
    with log.open("wb") as errors:
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=errors, env={**environment, "PATH": os.environ["PATH"]})
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        assert processes.answers(json.loads(line)["url"] + "/readyz")
        assert (image / "var/lib/tracegate/state.db").stat().st_uid == USER
    finally:
        process.terminate()
        # It is the first process in a pod, where only signals that it takes arrive.
        assert process.wait(30) == 0
        process.stdout.close()
