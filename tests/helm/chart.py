"""Runs helm and kubeconform over the chart. tests/setup/helm.sh makes both ready."""

import os
import subprocess
from functools import lru_cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/tracegate"
VALUES = Path(__file__).parent / "values"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tracegate"
# The oldest that Chart.yaml takes, and the newest that there are schemas of.
KUBERNETES = ["1.30.0", "1.37.0"]
SETS = sorted(path.stem for path in VALUES.glob("*.yaml"))


def program(name):
    path = CACHE / "bin" / name
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"{path} is missing; tests/setup/helm.sh builds it")
    return str(path)


def run(*command, text=None):
    return subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True, timeout=120)


def helm(verb, *arguments, values=None, kubernetes=KUBERNETES[-1]):
    """`values` is the name of a set, or values themselves that are laid over the minimal set."""
    files, text = [], None
    if isinstance(values, str):
        files = ["-f", VALUES / f"{values}.yaml"]
    elif values is not None:
        files, text = ["-f", VALUES / "minimal.yaml", "-f", "-"], yaml.safe_dump(values)
    name = [] if verb == "lint" else ["tracegate"]
    return run(program("helm"), verb, *name, CHART, "-n", "mlops", "--kube-version", kubernetes, *files, *arguments, text=text)


@lru_cache(maxsize=None)
def _rendered_set(name, arguments):
    return _text(helm("template", *arguments, values=name))


def _text(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


def text(values, *arguments):
    """What `helm template` prints."""
    if isinstance(values, str):
        return _rendered_set(values, arguments)
    return _text(helm("template", *arguments, values=values))


class Objects(list):
    """The rendered objects."""

    def one(self, kind, name=None):
        found = [item for item in self if item["kind"] == kind and name in (None, item["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} of {kind} {name or ''}"
        return found[0]

    def none(self, kind):
        return all(item["kind"] != kind for item in self)

    @property
    def pod(self):
        return self.one("StatefulSet")["spec"]["template"]["spec"]

    @property
    def container(self):
        (container,) = self.pod["containers"]
        return container

    @property
    def environment(self):
        return {variable["name"]: variable for variable in self.container.get("env", [])}

    @property
    def toml(self):
        return next(item["data"]["tracegate.toml"] for item in self if item["kind"] == "ConfigMap" and "tracegate.toml" in item["data"])


class NoDuplicates(yaml.SafeLoader):
    """A key that stands twice in an object is an error, and not the second one's gain."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key stands twice, line {node.start_mark.line + 1}: {keys}"
        return super().construct_mapping(node, deep)


def objects(values, *arguments):
    return Objects(item for item in yaml.load_all(text(values, *arguments), NoDuplicates) if item)


def refused(values):
    """Why helm refuses these values."""
    done = helm("template", values=values)
    assert done.returncode != 0, f"taken: {values}"
    return done.stderr


def kubeconform(rendered, kubernetes):
    schemas = CACHE / "kubernetes-schemas" / kubernetes
    location = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    return run(
        program("kubeconform"), "-strict", "-summary", "-kubernetes-version", kubernetes,
        "-schema-location", location, "-", text=rendered,
    )
