"""The chart lints, renders and validates, and what it renders is what is meant.

`UPDATE_GOLDEN=1` writes the golden renderings and the settings' part of the schema anew.
"""

import json
import os
import sys
import tomllib
from pathlib import Path

import chart
import config_keys
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients"))

from harness import processes  # noqa: E402

GOLDEN = Path(__file__).parent / "golden"
# They are files of the chart, which other tests hold against the rendering.
WITHOUT_FILES = ("--set", "metrics.dashboard.enabled=false", "--set", "metrics.prometheusRule.enabled=false")


@pytest.mark.parametrize("values", chart.SETS)
@pytest.mark.parametrize("kubernetes", chart.KUBERNETES)
def test_it_lints(values, kubernetes):
    done = chart.helm("lint", "--strict", values=values, kubernetes=kubernetes)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 chart(s) failed" in done.stdout


@pytest.mark.parametrize("values", chart.SETS)
@pytest.mark.parametrize("kubernetes", chart.KUBERNETES)
def test_every_object_is_as_kubernetes_defines_it(values, kubernetes):
    rendered = chart.text(values)
    done = chart.kubeconform(rendered, kubernetes)
    assert done.returncode == 0, done.stdout + done.stderr
    count = len(chart.objects(values))
    assert f"Valid: {count}, Invalid: 0, Errors: 0, Skipped: 0" in done.stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("readOnlyRootFilesystem:", "readOnlyRootFileSystem:"),
        ("scrapeTimeout:", "scrapeTimeOut:"),
        ("parentRefs:", "parents:"),
        ("          expr:", "          expression:"),
        ("containerPort: 8443", "containerPort: https"),
    ],
)
def test_the_validation_finds_what_is_wrong(right, wrong):
    rendered = chart.text("full")
    assert right in rendered
    assert chart.kubeconform(rendered.replace(right, wrong), chart.KUBERNETES[-1]).returncode != 0


@pytest.mark.parametrize("values", ["minimal", "typical", "full"])
def test_golden(values):
    rendered = chart.text(values, *WITHOUT_FILES)
    file = GOLDEN / f"{values}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(rendered)
    assert rendered == file.read_text(), "the rendering changed; look at it, and run again with UPDATE_GOLDEN=1"


def test_the_schema_takes_the_settings_that_there_are():
    schema = json.loads(config_keys.SCHEMA.read_text())
    wanted = config_keys.config_schema()
    if os.environ.get("UPDATE_GOLDEN"):
        schema["properties"]["config"] = wanted
        config_keys.SCHEMA.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
    assert schema["properties"]["config"] == wanted, "settings changed; run again with UPDATE_GOLDEN=1"


def test_the_schema_is_strict_and_knows_every_value():
    schema = json.loads(config_keys.SCHEMA.read_text())
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) - {"global"} == set(values)


def test_the_chart_is_of_the_version_of_the_program():
    manifest = (chart.ROOT / "Cargo.toml").read_text()
    version = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())["appVersion"]
    assert f'\nversion = "{version}"\n' in manifest


class TestThePod:
    @pytest.fixture(params=chart.SETS)
    def rendered(self, request):
        return chart.objects(request.param)

    def test_it_has_no_rights_that_it_does_not_need(self, rendered):
        assert rendered.pod["automountServiceAccountToken"] is False
        for account in (item for item in rendered if item["kind"] == "ServiceAccount"):
            assert account["automountServiceAccountToken"] is False
        whole = rendered.pod["securityContext"]
        assert whole["runAsNonRoot"] is True and whole["runAsUser"] > 0 and whole["runAsGroup"] > 0
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        own = rendered.container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["readOnlyRootFilesystem"] is True
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in own
        assert not any(rendered.pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
        assert not any("hostPath" in volume for volume in rendered.pod["volumes"])

    def test_kubernetes_sets_no_variable_that_nobody_meant(self, rendered):
        # A Service `tracegate--mlflow` would give TRACEGATE__MLFLOW_SERVICE_HOST, which is no setting: no start.
        assert rendered.pod["enableServiceLinks"] is False

    def test_its_probes_are_apart(self, rendered):
        container = rendered.container
        asked = {name: dict(container[name]["httpGet"]) for name in ("startupProbe", "livenessProbe", "readinessProbe")}
        # A database or an MLflow server that is away must take replicas out, and restart none.
        assert [asked[name].pop("path") for name in asked] == ["/healthz", "/healthz", "/readyz"]
        assert asked["startupProbe"] == asked["livenessProbe"] == asked["readinessProbe"]
        settings = tomllib.loads(rendered.toml)["server"]
        speaks_tls = "tls_certificate" in settings
        if "health_listen" in settings:
            assert asked["startupProbe"] == {"port": "health"}
        else:
            # Kubelet has no certificate to show.
            assert not settings.get("tls_client_required")
            assert asked["startupProbe"] == ({"port": "https", "scheme": "HTTPS"} if speaks_tls else {"port": "http"})
        startup = container["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 300

    def test_it_listens_where_it_is_asked(self, rendered):
        settings = tomllib.loads(rendered.toml)["server"]
        main = "https" if "tls_certificate" in settings else "http"
        keys = {main: "listen", "health": "health_listen"}
        listening = {name: int(settings[key].rsplit(":", 1)[1]) for name, key in keys.items() if key in settings}
        assert {port["name"]: port["containerPort"] for port in rendered.container["ports"]} == listening
        for service in (item for item in rendered if item["kind"] == "Service"):
            ports = {port["name"]: port for port in service["spec"]["ports"]}
            assert all(port["targetPort"] == name for name, port in ports.items())
            assert ports[main]["appProtocol"] == main
            # Who calls Tracegate by its Service reaches no metrics.
            assert ("health" in ports) == ("health" in listening and service["metadata"]["name"].endswith("-replicas"))

    def test_it_is_given_the_time_that_a_stop_takes(self, rendered):
        seconds = int(next(line for line in rendered.toml.splitlines() if line.startswith("shutdown_seconds")).split("=")[1])
        pause = rendered.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        # Calls in flight, and the 5 s that the index has for what waits.
        assert rendered.pod["terminationGracePeriodSeconds"] > pause + seconds + 5

    def test_the_state_is_on_the_volume_and_all_else_is_read_only(self, rendered):
        mounts = {mount["name"]: mount for mount in rendered.container["volumeMounts"]}
        (claim,) = rendered.one("StatefulSet")["spec"]["volumeClaimTemplates"]
        assert claim["metadata"]["name"] == "data"
        assert f'data_dir = "{mounts["data"]["mountPath"]}"' in rendered.toml
        writable = {name for name, mount in mounts.items() if not mount.get("readOnly")}
        assert writable == {"data", "tmp"}

    def test_it_has_resources(self, rendered):
        resources = rendered.container["resources"]
        assert resources["requests"].keys() == {"cpu", "memory"} and resources["limits"]["memory"]

    def test_services_choose_its_pods(self, rendered):
        labels = rendered.one("StatefulSet")["spec"]["template"]["metadata"]["labels"]
        for service in (item for item in rendered if item["kind"] == "Service"):
            assert service["spec"]["selector"].items() <= labels.items()

    def test_replicas_have_names_of_their_own_in_the_record(self, rendered):
        if "TRACEGATE__AUDIT__REPLICA" in rendered.environment:
            source = rendered.environment["TRACEGATE__AUDIT__REPLICA"]["valueFrom"]
            assert source == {"fieldRef": {"fieldPath": "metadata.name"}}
        else:
            assert 'replica = "eu-1"' in rendered.toml and rendered.one("StatefulSet")["spec"]["replicas"] == 1


class TestSecrets:
    # What a Secret would hold. A rendering that has any of it would have read a secret from values.
    @pytest.mark.parametrize("values", chart.SETS)
    def test_no_secret_stands_in_an_object(self, values):
        rendered = chart.objects(values)
        assert rendered.none("Secret")
        for line in rendered.toml.splitlines():
            key = line.split(" = ")[0]
            assert key not in {"password", "token", "hs256_secret", "client_secret", "url"} or "://" in line
            assert "postgres" not in line
        for name, variable in rendered.environment.items():
            if "value" in variable:
                assert not any(word in name for word in ("PASSWORD", "SECRET", "TOKEN", "DATABASE")), name

    def test_the_database_comes_from_the_secret_that_is_named(self):
        reference = chart.objects("full").environment["TRACEGATE__DATABASE__URL"]["valueFrom"]
        assert reference == {"secretKeyRef": {"name": "tracegate-database", "key": "dsn"}}

    def test_files_come_from_the_secrets_that_are_named(self):
        rendered = chart.objects("full")
        (volume,) = [volume for volume in rendered.pod["volumes"] if volume["name"] == "secrets"]
        # Of the group of the volumes, and nobody else's: the process is not root.
        assert volume["projected"]["defaultMode"] == 0o440 and rendered.pod["securityContext"]["fsGroup"] > 0
        found = {
            item["path"]: (source["secret"]["name"], item["key"])
            for source in volume["projected"]["sources"]
            for item in source["secret"]["items"]
        }
        assert found == {
            "mlflow-password": ("tracegate-mlflow", "password"),
            "audit-signing-key.pem": ("tracegate-signing", "key.pem"),
            "issuer-0-client-secret": ("tracegate-sign-in", "client-secret"),
            "issuer-1-hs256-secret": ("tracegate-ci", "shared"),
        }
        for file in found:
            assert f'_file = "/etc/tracegate/secrets/{file}"' in rendered.toml

    def test_there_is_no_default_password(self):
        values = (chart.CHART / "values.yaml").read_text()
        defaults = yaml.safe_load(values)
        assert all(not reference.get("name") for reference in defaults["secrets"].values())
        assert chart.objects("minimal").pod["volumes"] and "secretKeyRef" not in chart.text("minimal")


class TestTls:
    def test_the_files_come_from_the_secrets_that_are_named(self):
        rendered = chart.objects("full")
        (volume,) = [volume for volume in rendered.pod["volumes"] if volume["name"] == "tls"]
        assert volume["projected"]["defaultMode"] == 0o440
        found = {
            item["path"]: (source["secret"]["name"], item["key"])
            for source in volume["projected"]["sources"]
            for item in source["secret"]["items"]
        }
        assert found == {
            "tls.crt": ("tracegate-tls", "tls.crt"),
            "tls.key": ("tracegate-tls", "tls.key"),
            "client-ca.crt": ("client-authorities", "bundle.pem"),
        }
        settings = tomllib.loads(rendered.toml)["server"]
        for key, file in [("tls_certificate", "tls.crt"), ("tls_key", "tls.key"), ("tls_client_ca", "client-ca.crt")]:
            assert settings[key] == f"/etc/tracegate/tls/{file}"

    def test_a_new_certificate_arrives_without_a_restart(self):
        # What is mounted by `subPath` is never changed by kubelet.
        (mount,) = [mount for mount in chart.objects("full").container["volumeMounts"] if mount["name"] == "tls"]
        assert mount == {"name": "tls", "mountPath": "/etc/tracegate/tls", "readOnly": True}

    def test_without_it_nothing_speaks_of_it(self):
        text = chart.text("minimal")
        assert "tls" not in text and "https" not in text and "HTTPS" not in text

    def test_the_ingress_asks_the_port_that_there_is(self):
        for values, scheme in [("full", "https"), ("typical", "http")]:
            (rule,) = chart.objects(values).one("Ingress")["spec"]["rules"]
            assert rule["http"]["paths"][0]["backend"]["service"]["port"] == {"name": scheme}

    def test_prometheus_speaks_what_the_port_speaks(self):
        def endpoint(**values):
            values["metrics"] = {"serviceMonitor": {"enabled": True, "tlsConfig": {"serverName": "traces.example.com"}}}
            (endpoint,) = chart.objects(values).one("ServiceMonitor")["spec"]["endpoints"]
            return {key: endpoint.get(key) for key in ("port", "scheme", "tlsConfig")}

        tls = {"secrets": {"tls": {"name": "t"}}}
        alone = {"config": {"server": {"health_listen": None}}}
        plain = {"scheme": None, "tlsConfig": None}
        assert endpoint(**tls) == {"port": "health", **plain}
        assert endpoint(**alone) == {"port": "http", **plain}
        assert endpoint(**tls, **alone) == {
            "port": "https", "scheme": "https", "tlsConfig": {"serverName": "traces.example.com"},
        }


class TestMigrations:
    @pytest.fixture(params=["typical", "full", "own-store"])
    def rendered(self, request):
        return chart.objects(request.param)

    @staticmethod
    def pod(rendered):
        return rendered.one("Job")["spec"]["template"]["spec"]

    def test_it_runs_before_anything_of_the_release_and_needs_nothing_of_it(self, rendered):
        annotations = rendered.one("Job")["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
        # A failed one stays to be read, and is out of the next one's way.
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
        pod = self.pod(rendered)
        accounts = {item["metadata"]["name"] for item in rendered if item["kind"] == "ServiceAccount"}
        assert pod["serviceAccountName"] not in accounts and pod["automountServiceAccountToken"] is False
        made = {item["metadata"]["name"] for item in rendered if item["kind"] == "ConfigMap"}
        assert not any(volume.get("configMap", {}).get("name") in made for volume in pod["volumes"])

    def test_it_has_the_database_and_no_other_secret_and_no_record(self, rendered):
        (container,) = self.pod(rendered)["containers"]
        environment = {variable["name"]: variable for variable in container["env"]}
        assert environment["TRACEGATE__DATABASE__URL"] == rendered.environment["TRACEGATE__DATABASE__URL"]
        names = {volume["name"] for volume in self.pod(rendered)["volumes"]}
        assert not names & {"data", "secrets", "tls", "config"}
        assert environment["TRACEGATE__SERVER__DATA_DIR"]["value"].startswith("/tmp/")
        ours = {name for name in environment if name.startswith("TRACEGATE__")}
        assert ours <= {"TRACEGATE__DATABASE__URL", "TRACEGATE__MLFLOW__URL", "TRACEGATE__SERVER__DATA_DIR"}

    def test_it_has_no_rights_that_it_does_not_need(self, rendered):
        pod = self.pod(rendered)
        (container,) = pod["containers"]
        assert pod["securityContext"] == rendered.pod["securityContext"]
        assert container["securityContext"] == rendered.container["securityContext"]
        assert container["image"] == rendered.container["image"] and container["resources"]["limits"]["memory"]
        assert pod["restartPolicy"] == "Never" and pod["enableServiceLinks"] is False

    def test_nothing_takes_it_for_a_replica(self, rendered):
        labels = rendered.one("Job")["spec"]["template"]["metadata"]["labels"]
        own = rendered.one("Job")["metadata"]["name"]
        for item in rendered:
            spec = item["spec"] if item["kind"] in {"Service", "PodDisruptionBudget", "NetworkPolicy", "StatefulSet"} else {}
            chosen = spec.get("podSelector", spec.get("selector")) or {}
            chosen = chosen.get("matchLabels", chosen)
            if item["metadata"]["name"] != own and chosen:
                assert not chosen.items() <= labels.items(), item["metadata"]["name"]

    def test_it_reaches_names_and_the_database_alone(self):
        rendered = chart.objects("full")
        policy = rendered.one("NetworkPolicy", "gate-migration")
        assert policy["metadata"]["annotations"]["helm.sh/hook-weight"] == "-10"
        labels = rendered.one("Job")["spec"]["template"]["metadata"]["labels"]
        spec = policy["spec"]
        assert spec["podSelector"]["matchLabels"].items() <= labels.items()
        assert spec["ingress"] == [] and spec["policyTypes"] == ["Ingress", "Egress"]
        assert [[port["port"] for port in rule["ports"]] for rule in spec["egress"]] == [[53, 53], [6432]]
        assert all(rule["to"] for rule in spec["egress"])

    def test_the_command_is_there(self):
        (container,) = self.pod(chart.objects("typical"))["containers"]
        done = chart.run(processes.tracegate_binary(), *container["args"], "--help")
        assert done.returncode == 0, done.stderr

    def test_there_is_none_where_none_is_wanted(self):
        assert chart.objects("minimal").none("Job")
        assert chart.objects({"secrets": {"database": {"name": "db"}}, "migrations": {"enabled": False}}).none("Job")


class TestReplicas:
    def test_other_settings_restart_the_pods_and_the_same_do_not(self):
        def checksum(values):
            return chart.objects(values).one("StatefulSet")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

        assert checksum({}) == checksum({"service": {"port": 80}})
        assert checksum({}) != checksum({"config": {"limits": {"otlp_spans": 5}}})

    def test_a_scaler_and_the_chart_do_not_fight_over_the_number(self):
        rendered = chart.objects("own-store")
        assert "replicas" not in rendered.one("StatefulSet")["spec"]
        target = rendered.one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
        assert target == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": rendered.one("StatefulSet")["metadata"]["name"]}

    def test_a_drain_takes_one_at_a_time(self):
        assert chart.objects("minimal").none("PodDisruptionBudget")
        rendered = chart.objects("typical")
        budget = rendered.one("PodDisruptionBudget")["spec"]
        labels = rendered.one("StatefulSet")["spec"]["template"]["metadata"]["labels"]
        assert budget["maxUnavailable"] == 1 and budget["selector"]["matchLabels"].items() <= labels.items()

    def test_they_are_spread(self):
        rendered = chart.objects("typical")
        constraints = rendered.pod["topologySpreadConstraints"]
        assert {constraint["topologyKey"] for constraint in constraints} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        labels = rendered.one("StatefulSet")["spec"]["template"]["metadata"]["labels"]
        assert all(constraint["labelSelector"]["matchLabels"].items() <= labels.items() for constraint in constraints)

    def test_one_makes_the_first_administrator(self):
        # Two that start on an empty database at once would each make a token of his.
        assert chart.objects("typical").one("StatefulSet")["spec"]["podManagementPolicy"] == "OrderedReady"

    def test_the_record_outlives_the_release(self):
        retention = chart.objects("typical").one("StatefulSet")["spec"]["persistentVolumeClaimRetentionPolicy"]
        assert retention == {"whenDeleted": "Retain", "whenScaled": "Retain"}
