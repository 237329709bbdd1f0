"""The guide's commands, taken from docs/OPERATING.md itself: they are run as they stand there, against a demo, and must print
what stands below them, but for ids, times and numbers."""

import configparser
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import processes, wire

pytestmark = pytest.mark.gate

GUIDE = (Path(__file__).resolve().parents[2] / "docs/OPERATING.md").read_text()
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What is different at each run.
VARYING = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
    # A status decides something; other numbers are times, ids of grants and versions.
    (r"\b(?!(?:200|401|403|404)\b)\d+(?:\.\d+)?(?:e-?\d+)?\b", "N"),
]


def walk(name):
    """Pairs of commands and of what they print, or `None` if that is not said."""
    text = re.search(rf"<!-- guide: {name} -->\n(.*?)<!-- /guide -->", GUIDE, re.DOTALL)[1]
    steps = []
    for kind, content in BLOCK.findall(text):
        if kind == "sh":
            steps.append([content, None])
        else:
            steps[-1][1] = content
    return steps


def normal(text):
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text)
    return text


def as_pattern(line):
    return ".*".join(re.escape(part) for part in normal(line).split("…"))


def differs(expected, printed):
    """The first line of `expected` that `printed` has not in its place; a line `…` stands for any number of lines."""
    lines, skip = normal(printed).splitlines(), False
    for line in expected.splitlines():
        if line == "…":
            skip = True
            continue
        pattern = as_pattern(line)
        while lines and skip and not re.fullmatch(pattern, lines[0]):
            lines.pop(0)
        if not lines or not re.fullmatch(pattern, lines.pop(0)):
            return line
        skip = False
    return None if skip or not lines else f"nothing more, and not: {lines[0]}"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    gate = processes.start_demo(tmp_path_factory.mktemp("guide"), None)
    yield gate
    gate.stop()


def follow(name, demo, directory):
    """Runs the steps in one shell, and says what each printed."""
    programs = directory / "bin"
    programs.mkdir()
    (programs / "tracegate").symlink_to(processes.tracegate_binary())
    steps = walk(name)
    script = ["set -u"]
    for number, (commands, _) in enumerate(steps):
        commands = commands.replace("http://127.0.0.1:5001", demo.url)
        # The index has a record a moment after its call was answered.
        commands = re.sub(r"^(tracegate audit query .*)$", r"for _ in $(seq 100); do \1 >found; [ $(wc -l <found) -gt 1 ] && break; sleep 0.1; done; cat found", commands, flags=re.MULTILINE)
        script += [f"exec >printed.{number} 2>&1", commands]
    environment = processes.clean_environment(
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
        TRACEGATE_URL=demo.url, TRACEGATE_TOKEN=demo.details["tokens"]["admin"],
        **{name.upper(): token for name, token in demo.details["tokens"].items()},
    )
    done = subprocess.run(["bash", "-c", "\n".join(script)], cwd=directory, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [(expected, (directory / f"printed.{number}").read_text()) for number, (_, expected) in enumerate(steps)]


@pytest.mark.parametrize(("name", "steps"), [("denied", 7), ("slow", 1), ("ready", 1)])
def test_the_commands_print_what_the_guide_says(name, steps, demo, tmp_path):
    outcome = follow(name, demo, tmp_path)
    assert len(outcome) == steps
    for expected, printed in outcome:
        if expected is None:
            assert printed == ""
        else:
            assert differs(expected, printed) is None, f"{differs(expected, printed)}\n--- the guide\n{expected}\n--- printed\n{printed}"


def test_what_differs_is_found():
    assert differs("a\t12\n…\nend 7\n", "a\t99\nx\ny\nend 1\n") is None
    assert differs("deny\n…\n", "allow\nx\n") == "deny"
    assert differs("403\n", "200\n") == "403"
    assert differs("a\n", "a\nb\n").startswith("nothing more")
    assert differs("a\n…\nb\n", "a\nc\n") == "b"


def test_every_command_of_the_guide_is_there():
    """`tracegate verb noun --option`, wherever it stands."""
    found = set(re.findall(r"(?:^|`|\s)tracegate ((?:[a-z-]+ ?)+)((?:--[a-z-]+|[^`\n|;])*)", GUIDE, re.MULTILINE))
    checked = 0
    for words, rest in found:
        words = words.split()
        for length in (2, 1):
            done = subprocess.run(
                [processes.tracegate_binary(), *words[:length], "--help"], capture_output=True, text=True, timeout=30, env=processes.clean_environment()
            )
            if done.returncode == 0:
                break
        else:
            # The program's name, and no command: `/var/lib/tracegate audit …` is one, `tracegate is` is not.
            continue
        checked += 1
        for option in re.findall(r"--[a-z][a-z-]+", rest):
            assert option in done.stdout, f"tracegate {' '.join(words[:length])} has no {option}"
    assert checked > 15, found


class TestTheUnit:
    unit = re.search(r"^`/etc/systemd/system/tracegate.service`:\n\n```ini\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)[1]

    def settings(self):
        parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#",))
        parser.optionxform = str
        parser.read_string(self.unit)
        return parser["Service"]

    def test_systemd_takes_it(self, tmp_path):
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            pytest.skip("no systemd here")
        file = tmp_path / "tracegate.service"
        # What it starts must be there.
        file.write_text(self.unit.replace("/usr/local/bin/tracegate", processes.tracegate_binary()))
        done = subprocess.run([analyze, "verify", "--man=no", file], capture_output=True, text=True, timeout=60)
        said = [line for line in done.stderr.splitlines() if "tracegate.service" in line]
        assert done.returncode == 0 and not said, done.stderr

    def test_it_has_no_rights_that_it_does_not_need(self):
        settings = self.settings()
        for key in ("DynamicUser", "NoNewPrivileges", "PrivateTmp", "PrivateDevices", "MemoryDenyWriteExecute", "RestrictSUIDSGID"):
            assert settings[key] == "yes", key
        assert settings["ProtectSystem"] == "strict" and settings["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"
        # No secret stands in it.
        assert "password=" not in self.unit.lower() and "://" not in self.unit.replace("file:///", "")

    def test_it_may_open_as_many_files_as_connections_need(self):
        text = (Path(__file__).resolve().parents[2] / "docs/CONFIGURATION.md").read_text()
        most = int(re.search(r"^\| `max_connections` \| number \| ([\d,]+)", text, re.MULTILINE)[1].replace(",", ""))
        assert int(self.settings()["LimitNOFILE"]) >= 2 * most

    def test_a_stop_has_the_time_that_it_takes(self):
        text = (Path(__file__).resolve().parents[2] / "docs/CONFIGURATION.md").read_text()
        seconds = int(re.search(r"^\| `shutdown_seconds` \| number \| (\d+)", text, re.MULTILINE)[1])
        assert int(self.settings()["TimeoutStopSec"]) > seconds + 5

    def test_its_settings_are_settings(self, tmp_path):
        text = re.search(r"^Build the program.*?```toml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)[1]
        file = tmp_path / "tracegate.toml"
        for path in ("/etc/tracegate", "/var/lib/tracegate", "/run/credentials"):
            text = text.replace(path, str(tmp_path / path.strip("/")))
        text = text.replace("0.0.0.0:443", "127.0.0.1:0").replace("127.0.0.1:5002", "127.0.0.1:0")
        secret = tmp_path / "run/credentials/tracegate.service/mlflow-password"
        secret.parent.mkdir(parents=True)
        secret.write_text("not a real one\n")
        tls = tmp_path / "etc/tracegate/tls"
        tls.mkdir(parents=True)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=tracegate", "-keyout", tls / "tls.key", "-out", tls / "tls.crt"],
            check=True, capture_output=True,
        )
        file.write_text(text)
        command = [processes.tracegate_binary(), "serve", "--config", file, "--json"]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=processes.clean_environment(), cwd=tmp_path)
        try:
            line = process.stdout.readline()
            assert b"https://" in line, (tmp_path / "log").read_text()
        finally:
            process.kill()
            process.wait(20)
            process.stdout.close()

    def test_a_reload_stops_nothing_also_without_tls(self, demo):
        assert "kill -HUP" in self.settings()["ExecReload"]
        os.kill(demo.pid, signal.SIGHUP)
        for _ in range(20):
            assert demo.alive(), demo.log_tail()
            assert wire.request(demo.url, "GET", "/healthz").status == 200
            time.sleep(0.05)
