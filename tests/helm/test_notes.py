"""What helm prints after an installation: only a cluster makes helm print it, so it is rendered as an object."""

import re
import shutil
import sys
from functools import lru_cache
from pathlib import Path

import chart
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients"))

from harness import processes  # noqa: E402

OBJECT = """
apiVersion: v1
kind: ConfigMap
metadata: {name: notes}
data:
  notes: {{ include "notes" . | toJson }}
"""


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    place = tmp_path_factory.mktemp("notes") / "tracegate"
    shutil.copytree(chart.CHART, place)
    text = (place / "templates/NOTES.txt").read_text()
    (place / "templates/_notes.tpl").write_text('{{- define "notes" -}}\n' + text + "{{- end }}\n")
    (place / "templates/notes.yaml").write_text(OBJECT)

    @lru_cache(maxsize=None)
    def render(name):
        done = chart.run(
            chart.program("helm"), "template", "tracegate", place, "-n", "mlops", "--kube-version", chart.KUBERNETES[-1],
            "-f", chart.VALUES / f"{name}.yaml", "--show-only", "templates/notes.yaml",
        )
        assert done.returncode == 0, done.stderr
        return yaml.safe_load(done.stdout)["data"]["notes"]

    return render


@pytest.mark.parametrize("name", chart.SETS)
def test_it_names_the_first_administrator_and_says_what_to_do_with_the_token(notes, name):
    text = notes(name)
    first = "root@example.com" if name == "full" else "admin"
    assert f"The first administrator, `{first}`" in text
    workload = chart.objects(name).one("StatefulSet")["metadata"]["name"]
    assert f"logs {workload}-0 | grep -A1 'first administrator'" in text
    assert "<no value>" not in text and "%!" not in text


def test_commands_are_there(notes):
    commands = set(re.findall(r"^  tracegate ([a-z]+ [a-z]+)(.*)$", notes("minimal"), re.MULTILINE))
    assert {command for command, _ in commands} == {"token create", "token list"}
    for command, rest in commands:
        help_text = chart.run(processes.tracegate_binary(), *command.split(), "--help")
        assert help_text.returncode == 0
        assert all(option in help_text.stdout for option in re.findall(r"--[a-z-]+", rest))


def test_it_warns_where_there_is_a_way_around(notes):
    unprotected = "nothing here keeps others from the MLflow server"
    assert unprotected in notes("token") and unprotected in notes("files")
    assert unprotected not in notes("typical") and unprotected not in notes("minimal")


def test_it_warns_of_tokens_in_the_clear(notes):
    clear = "the Ingress has no `tls`"
    assert clear in notes("full") and clear not in notes("typical") and clear not in notes("minimal")


def test_it_says_where_the_state_is(notes):
    assert "State is SQLite" in notes("minimal") and "State is SQLite" not in notes("typical")


def test_it_says_who_may_call(notes):
    only = "Only pods in mlops may call"
    assert only in notes("minimal") and only not in notes("typical") and only not in notes("files")
