"""Every setting can be set by values, arrives in tracegate.toml, and the real program starts with it."""

import base64
import json
import re
import signal
import ssl
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import chart
import config_keys
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients"))

from harness import postgres, processes  # noqa: E402

SECRET_FILES = "/etc/tracegate/secrets/"


def given(name):
    return yaml.safe_load((chart.VALUES / f"{name}.yaml").read_text()).get("config", {})


def tables(settings, section):
    """The tables of a section: one, or several of `[[identity.issuers]]`."""
    if "." not in section:
        return [settings.get(section, {})]
    parent, name = section.split(".")
    return settings.get(parent, {}).get(name, [])


def test_the_sets_give_every_setting():
    missing = []
    for key in config_keys.documented():
        if key.is_secret:
            continue
        if not any(key.name in table for name in chart.SETS for table in tables(given(name), key.section)):
            missing.append(f"{key.section}.{key.name}")
    assert not missing


def test_the_document_was_read():
    found = {(key.section, key.name) for key in config_keys.documented()}
    # One of each kind of table, so that a change of the document's form is not taken for a document without keys.
    assert {("server", "listen"), ("identity.issuers", "enroll"), ("identity.federation", "claims"), ("telemetry", "log")} <= found
    assert len(found) > 80 and set(config_keys.SECRET_KEYS) <= found
    assert {"server", "identity", "database", "policy", "mlflow", "lake", "audit", "limits", "telemetry"} == set(config_keys.sections())


@pytest.mark.parametrize("name", chart.SETS)
def test_what_is_given_arrives(name):
    settings = tomllib.loads(chart.objects(name).toml)
    for section, wanted in given(name).items():
        if not wanted:
            continue
        wanted = dict(wanted)
        arrived = settings[section]
        for tables_in_it in ("issuers", "federation", "certificates"):
            for table, found in zip(wanted.pop(tables_in_it, []), arrived.get(tables_in_it, []), strict=True):
                extra = {key: value for key, value in found.items() if key not in table}
                assert table == {key: found[key] for key in table}
                assert all(value.startswith(SECRET_FILES) for value in extra.values())
        for key, value in wanted.items():
            if value is None:
                # The chart's own default is taken away.
                assert key not in arrived
                continue
            assert arrived[key] == value and type(arrived[key]) is type(value), f"{section}.{key}"


def test_secrets_arrive_as_files_and_by_the_environment():
    rendered = chart.objects("full")
    settings = tomllib.loads(rendered.toml)
    assert settings["mlflow"]["password_file"] == SECRET_FILES + "mlflow-password"
    assert settings["audit"]["signing_key_file"] == SECRET_FILES + "audit-signing-key.pem"
    first, second = settings["identity"]["issuers"]
    assert first["client_secret_file"] == SECRET_FILES + "issuer-0-client-secret"
    assert second["hs256_secret_file"] == SECRET_FILES + "issuer-1-hs256-secret"
    assert tomllib.loads(chart.objects("token").toml)["mlflow"]["token_file"] == SECRET_FILES + "mlflow-token"
    assert "TRACEGATE__DATABASE__URL" in rendered.environment


def test_numbers_stay_whole():
    largest = 2**53 - 1
    settings = tomllib.loads(chart.objects({"config": {"audit": {"max_spool_bytes": largest}}}).toml)
    assert settings["audit"]["max_spool_bytes"] == largest


@pytest.mark.parametrize(
    "name", ['"quoted"', "back\\slash", "${HOME}", "{{ .Values }}", "# no comment", "a = 1", "]]", "'", "Ünïcode 🔑", " spaces ", "\\u0041", "<&>"]
)
def test_text_stays_as_it_is(name):
    issuer = {"issuer": "https://i.example", "audience": [name], "display_name": name, "group_names": {name: name}}
    settings = tomllib.loads(chart.objects({"config": {"identity": {"issuers": [issuer]}}}).toml)
    assert settings == tomllib.loads(chart.objects({}).toml) | {"identity": {"issuers": [issuer]}}


class Started:
    """`tracegate serve` with a rendered tracegate.toml. What a pod would have is put into a directory: mounts, and the
    environment."""

    def __init__(self, directory, rendered, database=None):
        self.toml = rendered.toml
        self.directory = directory
        for mount in ("/etc/tracegate/", "/vault/", "/data/"):
            self.toml = self.toml.replace(f'"{mount}', f'"{directory}{mount}')
        settings = tomllib.loads(self.toml)
        server = settings["server"]
        if "tls_certificate" in server:
            self._certificate(server)
        for table in [*settings.values(), *settings.get("identity", {}).get("issuers", [])]:
            for key, value in table.items():
                if key.endswith("_file"):
                    self._make(key, Path(value))
        # Probes ask there, in plain HTTP, whatever the main port speaks.
        self.health = f"http://127.0.0.1:{processes.free_port()}/healthz" if "health_listen" in server else None
        self.environment = {
            # Of the pod's own: a free port, and a place to write to.
            "TRACEGATE__SERVER__LISTEN": "127.0.0.1:0",
            "TRACEGATE__SERVER__DATA_DIR": str(directory / "state"),
            # Settings arrive; what they lead to is not there.
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
        }
        if self.health:
            self.environment["TRACEGATE__SERVER__HEALTH_LISTEN"] = self.health.split("/")[2]
        for name, variable in rendered.environment.items():
            if name == "TRACEGATE__AUDIT__REPLICA":
                self.environment[name] = "tracegate-0"
            elif name == "TRACEGATE__DATABASE__URL":
                self.environment[name] = database
            elif "value" in variable:
                self.environment[name] = variable["value"]
        self.file = directory / "tracegate.toml"
        self.file.write_text(self.toml)

    @staticmethod
    def _certificate(server):
        certificate, key = Path(server["tls_certificate"]), Path(server["tls_key"])
        certificate.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=tracegate", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )
        if "tls_client_ca" in server:
            Path(server["tls_client_ca"]).write_bytes(certificate.read_bytes())

    @staticmethod
    def _make(key, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if key == "signing_key_file":
            subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True)
        elif key == "keys_file":
            path.write_text('[token]\nactive = "a"\n[token.keys]\na = "' + base64.b64encode(bytes(range(32))).decode() + '"\n')
        elif key == "levels_file":
            path.write_text((chart.ROOT / "policies/levels.csv").read_text())
        elif key == "model_file":
            path.write_text((chart.ROOT / "policies/model.conf").read_text())
        else:
            path.write_text("0123456789abcdef" * 4 + "\n")

    def run(self):
        """The health of the running program, its address, and what it logged."""
        log = self.directory / "log"
        command = [processes.tracegate_binary(), "serve", "--config", self.file, "--json"]
        environment = processes.clean_environment(**self.environment)
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, env=environment, cwd=self.directory)
        try:
            line = process.stdout.readline()
            assert line, f"it did not start:\n{log.read_text()}\n{self.toml}"
            url = json.loads(line)["url"] + "/healthz"
            if self.health is None and url.startswith("https:"):
                # As kubelet: nobody verifies the certificate.
                with urllib.request.urlopen(url, context=ssl._create_unverified_context(), timeout=10) as answer:
                    return answer.status == 200, log.read_text()
            return processes.answers(self.health or url), log.read_text()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(20)
            process.stdout.close()


@pytest.fixture(scope="module")
def postgres_server(tmp_path_factory):
    server = postgres.start(tmp_path_factory.mktemp("postgres") / "server")
    yield server
    postgres.stop(server)


def empty_database(server, name):
    """The URL of a new database: each set is an installation of its own."""
    import shutil

    psql = shutil.which("psql") or max(Path("/usr/lib/postgresql").glob("*/bin/psql"))
    url = server.details["url"]
    subprocess.run([psql, url, "-qc", f'CREATE DATABASE "{name}"'], check=True)
    return re.sub(r"/postgres$", f"/{name}", url)


@pytest.mark.parametrize("name", chart.SETS)
def test_the_program_starts_with_it(name, tmp_path, request):
    rendered = chart.objects(name)
    database = None
    if "TRACEGATE__DATABASE__URL" in rendered.environment:
        database = empty_database(request.getfixturevalue("postgres_server"), name)
    healthy, log = Started(tmp_path, rendered, database).run()
    assert healthy
    first = rendered.toml.partition('first_administrator = "')[2].partition('"')[0] or "admin"
    assert f"the token of the first administrator `{first}`" in log
    # What the mounted files and the database hold is in no line of the log.
    assert "0123456789abcdef" not in log and "postgres://" not in log


def test_the_program_would_not_start_with_a_setting_it_does_not_know(tmp_path):
    # Else the test above would show nothing.
    started = Started(tmp_path, chart.objects("minimal"))
    started.file.write_text(started.toml.replace("shutdown_seconds", "shutdown_second"))
    with pytest.raises(AssertionError, match="unknown field"):
        started.run()


def test_a_pods_name_is_a_replicas_name():
    # The longest that there is: 52 characters, a dash and a number.
    rendered = chart.objects({"fullnameOverride": "x" * 80})
    name = rendered.one("StatefulSet")["metadata"]["name"]
    assert len(f"{name}-999") <= 64 and re.fullmatch(r"[A-Za-z0-9._-]+", name)


