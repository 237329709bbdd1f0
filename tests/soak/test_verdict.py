"""The verdict itself: from ledgers in which all is right it finds nothing, and each fault that is put in it finds."""

import json
import sqlite3
from types import SimpleNamespace

import pytest

from cluster import STALENESS_MS, TOKEN_CACHE_SECONDS
from verdict import LIMIT_PER_SECOND, Verdict

TRACE, SPAN = "tr-" + "a" * 32, "b" * 16
GRANT = json.dumps({"principal": "user:carol", "securable": "experiment:2"})
# Versions 1 to 3: something else, carol gets her grant, carol loses it.
POLICY = [["1", "principal.create", "null", "{}"], ["2", "grant.add", "null", GRANT], ["3", "grant.remove", GRANT, "null"]]


def call(expect, status, asked, **more):
    number = f"decision {expect} {asked}"
    line = {
        "kind": "call", "who": "http", "method": "GET", "path": "/x", "host": "127.0.0.11", "expect": expect, "asked": asked,
        "came": asked + 0.1, "asked_wall": asked, "came_wall": asked + 0.1, "status": status, "decision": number, "version": 1,
    }
    return {**line, **more}


def fact(what, at, **more):
    return {"kind": "fact", "what": what, "at": at, **more}


def sound():
    late = 20 + STALENESS_MS / 1000
    return [
        call("allow", 404, 2, path=SPANS_FILE.format(TRACE)), call("allow", 200, 1), call("allow", 503, 2), call("deny", 403, 3),
        call("allow", 200, 4, method="POST", path="/api/tracegate/v1/grants"),
        fact("granted", 10, version=2), fact("revoked", 20, version=3),
        call("changing", 200, 11, version=2), call("changing", 200, 20.5, version=2), call("changing", 403, late + 1, version=3, demanded=3),
        call("token", 200, 30, token="t"), fact("token_revoked", 40, token="t", asked=39),
        call("token", 200, 41, token="t"), call("token", 401, 41 + TOKEN_CACHE_SECONDS, token="t"),
        *[call("limited", 200, 50 + number * 0.01) for number in range(LIMIT_PER_SECOND)], call("limited", 429, 51),
        fact("trace", 60, trace=TRACE, experiment="1"), fact("span", 61, trace=TRACE, span=SPAN, experiment="1"),
        fact("tag", 62, trace=TRACE, key="k", value="v"), fact("served", 1), fact("served", 3),
    ]


class Fake:
    """As much of a cluster as the verdict asks: ledgers, MLflow's tables and what PostgreSQL answers."""

    replicas = []
    experiments = {"secret-lab": "2"}

    def __init__(self, directory, lines, policy=POLICY, unrecorded=(), twice=(), traces=((TRACE, 1),), tags=(("k", "v"),)):
        self.directory, self._policy = directory, policy
        (directory / "ledgers").mkdir()
        (directory / "ledgers" / "a.ledger").write_text("".join(json.dumps(line) + "\n" for line in lines))
        decisions = [line["decision"] for line in lines if line.get("decision")]
        self._audit = [[one, "complete", "2" if one in twice else "1"] for one in decisions if one not in unrecorded]
        self._audit += [[one, "policy_change", "1"] for one in decisions if one == "decision allow 4"]
        (directory / "mlflow").mkdir()
        with sqlite3.connect(directory / "mlflow" / "mlflow.db") as database:
            database.execute("CREATE TABLE trace_info (request_id, experiment_id)")
            database.execute("CREATE TABLE spans (trace_id, span_id)")
            database.execute("CREATE TABLE trace_tags (request_id, key, value)")
            database.executemany("INSERT INTO trace_info VALUES (?, ?)", traces)
            database.execute("INSERT INTO spans VALUES (?, ?)", (TRACE, SPAN))
            database.executemany("INSERT INTO trace_tags VALUES (?, ?, ?)", [(TRACE, *tag) for tag in tags])

    def sql(self, statement):
        if "policy_changes" in statement:
            return self._policy
        return [["7"]] if "SELECT count" in statement else self._audit


def found(tmp_path, lines, happened=(), **settings):
    verdict = Verdict(Fake(tmp_path, lines, **settings), list(happened), 60)
    for part in ("_decisions", "_changing_rights", "_tokens", "_limits", "_writes", "_audit", "_shutdown", "_failures", "_outages"):
        getattr(verdict, part)()
    assert verdict.told["longest outage, s"] == 2
    return {name for name, one in verdict.wrong.items() if one["count"]}


def test_of_what_is_right_nothing_is_found(tmp_path):
    assert found(tmp_path, sound()) == set()


RIGHTS = "wrong decisions for rights that never changed"
AT_VERSION = "decisions that were wrong at their version"
TOKENS = "tokens good after their end or refused before"
WRITES = "acknowledged writes that are not there once"
SPANS_FILE = "/api/2.0/mlflow-artifacts/artifacts/1/traces/{}/artifacts/traces.json"
ADDED = [
    pytest.param(
        call("allow", 404, 70, path=SPANS_FILE.format(TRACE)), "answers of an unexpected kind", id="spans that were acknowledged are not found"
    ),
    pytest.param(call("allow", 403, 5), RIGHTS, id="kept out"),
    pytest.param(call("allow", 401, 5), RIGHTS, id="not known"),
    pytest.param(call("deny", 200, 5), RIGHTS, id="let through"),
    pytest.param(call("allow", 500, 5), "answers of an unexpected kind", id="fault"),
    pytest.param(call("changing", 200, 24, version=3), AT_VERSION, id="allowed at the version of the revoke"),
    pytest.param(call("changing", 403, 12, version=2), AT_VERSION, id="denied at the version of the grant"),
    pytest.param(call("changing", 200, 12, version=4), AT_VERSION, id="a version that never was"),
    pytest.param(
        call("changing", 200, 20.5 + STALENESS_MS / 1000, version=2), "decisions by a policy older than the staleness bound", id="stale"
    ),
    pytest.param(
        call("changing", 200, 20.5, version=2, demanded=3), "decisions older than the version that was demanded", id="older than demanded"
    ),
    pytest.param(call("token", 200, 41 + TOKEN_CACHE_SECONDS, token="t"), TOKENS, id="a dead token"),
    pytest.param(call("token", 401, 31, token="t"), TOKENS, id="a good token refused"),
    pytest.param(fact("granted", 21, version=3), "acknowledged policy changes that are not in the log", id="a change that is lost"),
    pytest.param(fact("trace", 60, trace="tr-lost", experiment="1"), WRITES, id="a lost trace"),
    pytest.param(fact("trace", 60, trace=TRACE, experiment="2"), WRITES, id="a trace elsewhere"),
    pytest.param(fact("span", 60, trace=TRACE, span="lost", experiment="1"), WRITES, id="a lost span"),
    pytest.param(fact("tag", 60, trace=TRACE, key="k", value="other"), WRITES, id="a lost tag"),
    pytest.param(call("allow", 200, 5, decision=None), "answers without a decision id", id="no decision id"),
    pytest.param(
        call("allow", 200, 5, method="DELETE", path="/api/tracegate/v1/grants/1"),
        "acknowledged policy changes without a record", id="a change without a record",
    ),
]


@pytest.mark.parametrize("line, name", ADDED)
def test_each_fault_is_found(tmp_path, line, name):
    assert found(tmp_path, [*sound(), line]) == {name}


def test_more_than_a_limit_allows_is_found(tmp_path):
    burst = [call("limited", 200, 50.5 + number * 0.01) for number in range(LIMIT_PER_SECOND * 8)]
    assert found(tmp_path, [*sound(), *burst]) == {"stretches in which the replicas together passed a limit"}


@pytest.mark.parametrize("settings, name", [
    ({"unrecorded": ["decision deny 3"]}, "answered calls without an audit record"),
    ({"twice": ["decision deny 3"]}, "audit records that are there twice"),
    ({"traces": [(TRACE, 1), (TRACE, 1)]}, WRITES),
    ({"tags": [("k", "v"), ("soak.refused", "no")]}, "refused writes that are there"),
    ({"policy": [*POLICY, ["5", "principal.create", "null", "{}"]]}, "gaps in the log of policy changes"),
])
def test_what_is_missing_or_too_much_is_found(tmp_path, settings, name):
    assert found(tmp_path, sound(), **settings) == {name}


@pytest.mark.parametrize("exit_code, status", [(1, 200), (-9, 200), (0, 0), (0, 503)])
def test_a_stop_that_was_not_graceful_is_found(tmp_path, exit_code, status):
    event = {"event": "rolling_restart", "began": 1, "ended": 2, "exit_codes": [exit_code], "in_flight_statuses": [status], "stop_seconds": [1]}
    assert found(tmp_path, sound(), [event]) == {"stops that were not graceful"}
