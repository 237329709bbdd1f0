"""Alert rules and the dashboard are over metrics that a running Tracegate exports, and alerts fire when they should."""

import json
import re
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

import chart
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients"))

from harness import processes, wire  # noqa: E402

RULES = chart.CHART / "rules/tracegate.yaml"
DASHBOARD = chart.CHART / "dashboards/tracegate.json"
# What Prometheus adds to each series.
LABELS_OF_PROMETHEUS = {"namespace", "job", "pod"}


def rules():
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return group["rules"]


def panels():
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions():
    found = {f"alert {rule['alert']}": rule["expr"] for rule in rules()}
    for panel in panels():
        for target in panel["targets"]:
            found[f"panel {panel['title']} {target['refId']}"] = target["expr"]
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            found[f"variable {variable['name']}"] = variable["query"]["query"]
    return found


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Names of the series at /metrics, each with its labels, after a call that was allowed, one that was not, one
    of nobody, one over a limit, and connections that were too many."""
    demo = processes.start_demo(
        tmp_path_factory.mktemp("demo"), None,
        TRACEGATE__SERVER__MAX_CONNECTIONS_PER_ADDRESS="20",
        TRACEGATE__IDENTITY__ISSUERS='[{ issuer = "https://127.0.0.1:1", audience = ["tracegate"] }]',
    )
    try:
        own, other = (f"{demo.url}/api/2.0/mlflow/experiments/get?experiment_id={demo.details['experiments'][name]}"
                      for name in ("support-bot", "secret-lab"))

        def asked(url, name):
            request = urllib.request.Request(url, headers={"Authorization": wire.basic(name, demo.details["tokens"][name])})
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status
            except urllib.error.HTTPError as refused:
                return refused.code

        statuses = [asked(*call) for call in [(own, "alice"), (other, "bob"), (demo.url + "/no/such/route", "alice")]]
        assert statuses[0] == 200 and all(status in (403, 404) for status in statuses[1:]), statuses
        limit = {"securable": f"experiment:{demo.details['experiments']['support-bot']}", "name": "requests_per_second", "value": 1}
        admin = ("Authorization", wire.basic("admin", demo.details["tokens"]["admin"]))
        assert wire.request(demo.url, "PUT", "/api/tracegate/v1/limits", [admin], limit).status == 200
        experiment = demo.details["experiments"]["secret-lab"]
        for method, path, body in [
            ("POST", "/api/2.1/unity-catalog/catalogs", {"name": "main"}),
            ("POST", "/api/2.1/unity-catalog/schemas", {"name": "kept", "catalog_name": "main"}),
            ("PUT", f"/api/tracegate/v1/archives/{experiment}", {"table": "main.kept.traces"}),
        ]:
            assert wire.request(demo.url, method, path, [admin], body).status == 200, path
        for _ in range(30):
            statuses.append(asked(own, "alice"))
        assert 429 in statuses
        flood = [socket.create_connection(("127.0.0.1", int(demo.url.rsplit(":", 1)[1]))) for _ in range(40)]
        for connection in flood:
            connection.close()

        def metrics():
            try:
                with urllib.request.urlopen(demo.url + "/metrics", timeout=10) as answer:
                    return answer.read().decode()
            except OSError:
                return ""

        # The flood's connections are closed before the next one is let in, and issuers are looked at by the poll.
        wanted = ("tracegate_archive_lag_seconds{", "tracegate_connections_turned_away_total{", "tracegate_issuer_keys_failed_total{")
        processes.wait_until(lambda: all(name in metrics() for name in wanted), 30, "all series")
        text = metrics()
    finally:
        demo.stop()
    series = {}
    for line in text.splitlines():
        if match := re.match(r"([a-z_]+)(?:\{(.*)\})? ", line):
            series.setdefault(match[1], set()).update(re.findall(r'(\w+)="', match[2] or ""))
    return series


def test_every_metric_that_is_named_is_exported(exported):
    for where, expression in expressions().items():
        # Texts are values of labels.
        bare = re.sub(r'"[^"]*"', '""', expression)
        for name in re.findall(r"\btracegate_[a-z_]+", bare):
            assert name in exported, f"{where}: {name}"


def test_every_label_that_is_named_is_on_the_metric(exported):
    known = LABELS_OF_PROMETHEUS | set().union(*exported.values())
    for where, expression in expressions().items():
        for name, matchers in re.findall(r"\b(tracegate_[a-z_]+)\{([^}]*)\}", expression):
            for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', matchers)):
                assert label in exported[name] | LABELS_OF_PROMETHEUS, f"{where}: {label} of {name}"
        for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
            assert set(grouped.replace(" ", "").split(",")) <= known, f"{where}: {grouped}"


def test_the_dashboard_shows_every_metric(exported):
    shown = " ".join(expression for where, expression in expressions().items() if where.startswith("panel"))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported}
    assert {"tracegate_calls_total", "tracegate_call_seconds"} <= families
    for family in families:
        assert family in shown, family


def check_rules(path):
    done = chart.run(chart.program("promtool"), "check", "rules", "--lint=all", "--lint-fatal", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_rules():
    check_rules(RULES)
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        file, _, place = rule["annotations"]["runbook"].partition("#")
        # GitHub's name for the heading `### TracegateAbsent`.
        assert place == rule["alert"].lower()
        assert f'\n#### {rule["alert"]}\n' in (chart.ROOT / file).read_text(), f'{rule["alert"]} has no section in {file}'


def test_the_guide_has_a_section_for_no_other_alert():
    found = re.findall(r"^#### (Tracegate\w+)$", (chart.ROOT / "docs/OPERATING.md").read_text(), re.MULTILINE)
    assert found == [rule["alert"] for rule in rules()]


def test_docs_name_every_alert_and_its_severity():
    rows = re.findall(r"^\| ((?:`Tracegate\w+`(?:, )?)+) \| (\w+) \|", (chart.ROOT / "docs/KUBERNETES.md").read_text(), re.MULTILINE)
    named = {name: severity for names, severity in rows for name in re.findall(r"\w+", names)}
    assert named == {rule["alert"]: rule["labels"]["severity"] for rule in rules()}


def test_every_query_of_the_dashboard_is_one(tmp_path):
    known = {"$namespace": ".*", "$job": ".*", "$__rate_interval": "5m", "$__range": "1h"}
    recorded = []
    for where, expression in expressions().items():
        if where.startswith("panel"):
            for variable, value in known.items():
                expression = expression.replace(variable, value)
            assert "$" not in expression, f"{where}: a variable that the dashboard has not"
            recorded.append({"record": f"panel:{len(recorded)}", "expr": expression})
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    check_rules(file)


def test_the_panels_lie_beside_each_other():
    dashboard = json.loads(DASHBOARD.read_text())
    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(identities) == len(set(identities))
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, f"{panel['title']} lies on another"
        taken |= cells
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_the_chart_has_the_files_as_they_are():
    rendered = chart.objects("typical")
    assert rendered.one("PrometheusRule")["spec"] == yaml.safe_load(RULES.read_text())
    dashboard = rendered.one("ConfigMap", "tracegate-dashboard")
    assert json.loads(dashboard["data"]["tracegate.json"]) == json.loads(DASHBOARD.read_text())
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_prometheus_finds_every_replica_also_one_that_is_not_ready():
    rendered = chart.objects("typical")
    monitor = rendered.one("ServiceMonitor")["spec"]
    wanted = monitor["selector"]["matchLabels"]
    (service,) = [item for item in rendered if item["kind"] == "Service" and wanted.items() <= item["metadata"]["labels"].items()]
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} <= {port["name"] for port in service["spec"]["ports"]}


def test_commands_that_alerts_name_are_there():
    named = set(re.findall(r"`tracegate ([a-z -]+)`", RULES.read_text() + DASHBOARD.read_text()))
    assert "audit break-glass" in named
    for command in named:
        done = chart.run(processes.tracegate_binary(), *command.split(), "--help")
        assert done.returncode == 0, command


# --- when alerts fire ---------------------------------------------------------------------------

A, B = 'namespace="n", job="t", pod="a"', 'namespace="n", job="t", pod="b"'


def calls(status, decision, values, pod=A):
    return f'tracegate_calls_total{{{pod}, operation="trace.search", decision="{decision}", status="{status}"}}', values


def histogram(name, fast, slow):
    """All observations below `fast`, or all between it and `slow`."""
    return [
        (f'tracegate_{name}_bucket{{{A}, le="{fast}"}}', None),
        (f'tracegate_{name}_bucket{{{A}, le="{slow}"}}', "0+60x90"),
        (f'tracegate_{name}_bucket{{{A}, le="+Inf"}}', "0+60x90"),
    ]


def observed(buckets, below):
    (first, _), *rest = buckets
    return [(first, "0+60x90" if below else "0x90"), *rest]


HERE = ("tracegate_policy_version{%s}" % A, "7x90")
DECISION = histogram("decision_seconds", "0.001", "0.01")
UPSTREAM = histogram("upstream_seconds", "1", "10")
OK = calls(200, "allow", "0+600x90")
# By alert: series under which it fires, and series under which it does not; minutes since the first.
CASES = {
    "TracegateAbsent": ([], [HERE], 10),
    "TracegateDecisionMismatch": (
        [(f"tracegate_policy_decisions_mismatched{{{A}}}", "0x5 1x20")],
        [(f"tracegate_policy_decisions_mismatched{{{A}}}", "0x90")],
        8,
    ),
    "TracegatePolicyVersionsApart": (
        [(f"tracegate_policy_version{{{A}}}", "1x3 2x30"), (f"tracegate_policy_version{{{B}}}", "1x40")],
        # Each follows within a minute, all the time.
        [(f"tracegate_policy_version{{{A}}}", "1+1x60"), (f"tracegate_policy_version{{{B}}}", "0+1x60")],
        20,
    ),
    "TracegatePolicyNotConfirmed": (
        [(f"tracegate_policy_age_seconds{{{A}}}", "0.3x5 30+60x20")],
        # Once it was slow.
        [(f"tracegate_policy_age_seconds{{{A}}}", "0.3x5 4.5 0.3x40")],
        10,
    ),
    "TracegateRefusesEverything": ([calls(200, "allow", "0+1x90"), calls(503, "deny", "0+60x90")], [OK, calls(503, "deny", "0+60x90")], 20),
    "TracegateServerErrors": (
        [OK, calls(502, "allow", "0+60x90")],
        # 501 is no fault, and some few always fail.
        [OK, calls(501, "deny", "0+600x90"), calls(502, "allow", "0+6x90")],
        40,
    ),
    "TracegateAuditBacklogGrows": (
        [(f"tracegate_audit_backlog{{{A}}}", "5000+100x90")],
        # Much that becomes less, and a few that come and go.
        [(f"tracegate_audit_backlog{{{A}}}", "50000-100x90"), (f"tracegate_audit_backlog{{{B}}}", "0 3000 0 4000 0 5000x5 0x80")],
        60,
    ),
    "TracegateAuditMirrorBehind": (
        [(f"tracegate_audit_mirror_lag{{{A}}}", "1x90")],
        [(f"tracegate_audit_mirror_lag{{{A}}}", "1x20 0 1x20 0 1x20 0 1x20")],
        60,
    ),
    "TracegateArchiveBehind": (
        [(f'tracegate_archive_stopped{{{A}, experiment="1"}}', "1x90")],
        # Far behind for a while, as after it was set up; and stopped for a moment.
        [
            (f'tracegate_archive_lag_seconds{{{A}, experiment="1"}}', "400x8 0x80"),
            (f'tracegate_archive_stopped{{{A}, experiment="1"}}', "0x20 1x5 0x60"),
        ],
        30,
    ),
    "TracegateDecisionsSlow": (observed(DECISION, False), observed(DECISION, True), 40),
    "TracegateUpstreamSlow": (observed(UPSTREAM, False), observed(UPSTREAM, True), 40),
    "TracegateCertificateExpires": (
        # Of the time in these tests, which begins at 0.
        [(f"tracegate_tls_certificate_until_seconds{{{A}}}", "500000x90")],
        # No TLS, and one that is good for longer.
        [(f"tracegate_tls_certificate_until_seconds{{{A}}}", "0x90"), (f"tracegate_tls_certificate_until_seconds{{{B}}}", "5000000x90")],
        80,
    ),
    "TracegateCertificateNotTaken": (
        [(f"tracegate_tls_reload_failed_total{{{A}}}", "0x3 1x40")],
        [(f"tracegate_tls_reload_failed_total{{{A}}}", "2x90")],
        8,
    ),
    "TracegateIssuerKeysFail": (
        [(f'tracegate_issuer_keys_failed_total{{{A}, issuer="https://i.example"}}', "0+1x60")],
        # Once in a while.
        [(f'tracegate_issuer_keys_failed_total{{{A}, issuer="https://i.example"}}', "0x10 1x20 2x40")],
        30,
    ),
    "TracegateConnectionsTurnedAway": (
        [(f'tracegate_connections_turned_away_total{{{A}, reason="Address"}}', "0+10x60")],
        # Few; and any number that never agreed on TLS, such as probes of ports.
        [
            (f'tracegate_connections_turned_away_total{{{A}, reason="Address"}}', "0+1x60"),
            (f'tracegate_connections_turned_away_total{{{A}, reason="Handshake"}}', "0+100x60"),
        ],
        20,
    ),
    "TracegateBreakGlass": ([(f"tracegate_break_glass_total{{{A}}}", "0x5 1x40")], [(f"tracegate_break_glass_total{{{A}}}", "3x90")], 8),
    "TracegateFailedLogins": ([calls(401, "deny", "0+30x90")], [calls(401, "deny", "0+2x90")], 20),
    "TracegateDenialsJump": (
        [OK, calls(403, "deny", "0+900x90")],
        # Few calls, most of them denied; and many, few of them denied.
        [calls(200, "allow", "0+1x90"), calls(403, "deny", "0+20x90"), calls(200, "allow", "0+60x90", 'namespace="m", job="t", pod="a"')],
        40,
    ),
    "TracegateUnknownRoutes": ([(f"tracegate_unknown_routes_total{{{A}}}", "0+10x90")], [(f"tracegate_unknown_routes_total{{{A}}}", "0+1x90")], 30),
}


def test_every_alert_has_a_case():
    assert [rule["alert"] for rule in rules()] == list(CASES)


def run_cases(directory, rule_file):
    """Names of the cases that came out otherwise, and what promtool says."""
    tests = []
    for alert, (fires, rests, minutes) in CASES.items():
        for series, samples in [(fires, [{"labels": "{}", "value": 1}]), (rests, [])]:
            asked = f'count(count by (alertname) (ALERTS{{alertname="{alert}", alertstate="firing"}}))'
            tests.append({
                "name": f"{alert} {'fires' if samples else 'rests'}",
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series],
                "promql_expr_test": [{"expr": asked, "eval_time": f"{minutes}m", "exp_samples": samples}],
            })
    file = directory / "cases.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rule_file)], "evaluation_interval": "1m", "tests": tests}))
    done = chart.run(chart.program("promtool"), "test", "rules", file)
    said = done.stdout + done.stderr
    wrong = re.findall(r'alertname=\\"(\w+)\\".*\n\s+exp: (\S+)', said)
    failed = {f"{alert} {'rests' if wanted == 'nil' else 'fires'}" for alert, wanted in wrong}
    assert bool(failed) == bool(done.returncode), said
    return failed, said


def test_alerts_fire_when_they_should(tmp_path):
    failed, said = run_cases(tmp_path, RULES)
    assert not failed, said


@pytest.mark.parametrize(("expression", "wrong"), [("vector(1)", "rests"), ("vector(1) > 2", "fires")])
def test_the_cases_find_alerts_that_always_or_never_fire(tmp_path, expression, wrong):
    changed = yaml.safe_load(RULES.read_text())
    for rule in changed["groups"][0]["rules"]:
        rule["expr"] = expression
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(changed))
    failed, said = run_cases(tmp_path, file)
    assert failed == {f"{alert} {wrong}" for alert in CASES}, said
