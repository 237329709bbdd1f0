"""Ordinary experiments through the unmodified MLflow SDK in Databricks mode, as people with and without privileges:
traces whose spans go as a file, artifacts by the Files API, and the URLs that the SDK is given for them."""

import base64
import uuid
from urllib.parse import urlsplit

import pytest
import requests

from harness import processes
from harness.caller import Caller

FILES = "/api/2.0/fs/files/WorkspaceInternal/Mlflow/Artifacts"


@pytest.fixture(scope="module", params=["embedded", "upstream"])
def server(request, tmp_path_factory):
    upstream = request.getfixturevalue("mlflow_server").url if request.param == "upstream" else None
    directory = tmp_path_factory.mktemp("databricks")
    started = processes.start_demo(directory / "gate", upstream)
    started.directory, started.embedded = directory, upstream is None
    yield started
    started.stop()


@pytest.fixture(scope="module")
def people(server):
    started = {}

    def get(who, **more):
        key = (who, *more.items())
        if key not in started:
            environment = {
                "MLFLOW_TRACKING_URI": "databricks", "DATABRICKS_HOST": server.url,
                "DATABRICKS_TOKEN": server.details["tokens"][who], "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
                "MLFLOW_ASYNC_TRACE_LOGGING_RETRY_TIMEOUT": "5", "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false", **more,
            }
            started[key] = Caller(who, environment, "databricks_worker", server.directory / f"{who}-{len(started)}.log")
        return started[key]

    yield get
    for caller in started.values():
        caller.stop()


@pytest.fixture(scope="module")
def raw(server):
    def call(who, method, path, headers=None, **more):
        headers = dict(headers or {})
        if who:
            headers["Authorization"] = f"Bearer {server.details['tokens'][who]}"
        return requests.request(method, server.url + path, headers=headers, timeout=60, **more)

    return call


@pytest.fixture(scope="module")
def mine(people):
    """An experiment of alice's."""
    return people("alice").run("use", name=f"mode-{uuid.uuid4().hex[:8]}").value


def signed(info):
    parts = urlsplit(info["signed_uri"])
    return parts.path + (f"?{parts.query}" if parts.query else ""), {one["name"]: one["value"] for one in info["headers"]}


class TestTraces:
    def test_a_trace_is_written_read_and_found(self, people, mine):
        alice = people("alice")
        assert alice.run("location", experiment_id=mine).value == f"dbfs:/databricks/mlflow-tracking/{mine}"
        trace = alice.run("trace", experiment_id=mine, text="what?")
        found = alice.run("get", trace_id=trace.value).value
        assert found["spans"] == [["answer", "UNKNOWN"], ["look_up", "RETRIEVER"]], trace.log
        assert found["inputs"]["answer"] == {"question": "what?"}
        assert found["outputs"]["look_up"] == [{"about": "what?", "sure": True, "none": None}]
        assert found["attributes"]["look_up"] == {"top": 3, "share": 0.25}
        assert alice.run("search", experiment_id=mine).value[trace.value] == 2

    def test_spans_that_came_as_a_file_are_seen_by_every_door(self, people, mine, raw, server):
        trace = people("alice").run("trace", experiment_id=mine, text="everywhere").value
        artifact = raw("alice", "GET", f"/ajax-api/3.0/mlflow/get-trace-artifact?request_id={trace}")
        assert artifact.status_code == 200 and len(artifact.json()["spans"]) == 2
        whole = raw("alice", "GET", f"/api/3.0/mlflow/traces/get?trace_id={trace}")
        assert whole.status_code == 200 and len(whole.json()["trace"]["spans"]) == 2, whole.text
        plain = raw("alice", "GET", f"/api/3.0/mlflow/traces/{trace}")
        assert "dbfs:" not in plain.text and "mlflow-artifacts:" in plain.text

    def test_what_is_attached_comes_back(self, people, mine, raw):
        trace = people("alice").run("trace", experiment_id=mine, attach="attached text").value
        found = raw("alice", "GET", f"/ajax-api/3.0/mlflow/get-trace-artifact?request_id={trace}").text
        attachment = found.split("mlflow-attachment://")[1].split("?")[0]
        info = raw("alice", "GET", f"/api/2.0/mlflow/traces/{trace}/credentials-for-data-download?path=attachments/{attachment}")
        path, headers = signed(info.json()["credential_info"])
        assert raw(None, "GET", path, headers=headers).text == "attached text"

    def test_who_may_not_gets_nothing(self, people, mine):
        trace = people("alice").run("trace", experiment_id=mine, text="mine").value
        for scenario, arguments in (("get", {"trace_id": trace}), ("search", {"experiment_id": mine})):
            assert people("dave").run(scenario, **arguments).error is not None, scenario
        refused = people("dave").run("trace", experiment_id=mine, text="not mine")
        assert "PERMISSION_DENIED" in refused.log

    def test_an_agent_that_may_only_ingest_writes_and_does_not_read(self, people, server):
        bot = str(server.details["experiments"]["support-bot"])
        sent = people("agent").run("trace", experiment_id=bot, text="from the agent")
        assert people("alice").run("get", trace_id=sent.value).value["inputs"]["answer"] == {"question": "from the agent"}, sent.log
        assert people("agent").run("get", trace_id=sent.value).error is not None


class TestArtifacts:
    def test_artifacts_of_a_run_are_written_listed_and_read(self, people, mine):
        alice = people("alice")
        run = alice.run("log", experiment_id=mine, text="content").value
        assert run["uri"] == f"dbfs:/databricks/mlflow-tracking/{mine}/{run['run_id']}/artifacts"
        assert alice.run("list_artifacts", run_id=run["run_id"]).value == [["a b.txt", False, 7], ["some", True, None]] or \
            alice.run("list_artifacts", run_id=run["run_id"]).value == [["a b.txt", False, 7], ["some", True, 0]]
        assert alice.run("list_artifacts", run_id=run["run_id"], path="some/where").value == [["some/where/deep.txt", False, 7]]
        assert alice.run("download", run_id=run["run_id"], path="some/where/deep.txt").value == "content"

    def test_by_the_urls_that_the_sdk_falls_back_on(self, people, mine):
        alice = people("alice", MLFLOW_DISABLE_DATABRICKS_SDK_FOR_RUN_ARTIFACTS="true")
        run = alice.run("log", experiment_id=mine, text="by url").value
        assert alice.run("download", run_id=run["run_id"], path="a b.txt").value == "by url"

    def test_a_large_artifact_arrives_too(self, people, mine):
        run = people("alice").run("log", experiment_id=mine, size=52 * 1024 * 1024).value
        assert ["large.bin", False, 52 * 1024 * 1024] in people("alice").run("list_artifacts", run_id=run["run_id"]).value

    def test_a_logged_model_keeps_its_files(self, people, mine):
        made = people("alice").run("model", experiment_id=mine).value
        assert made["uri"] == f"dbfs:/databricks/mlflow-tracking/{mine}/logged_models/{made['model_id']}/artifacts"
        assert (made["listed"], made["text"]) == (["weights.txt"], "w")

    def test_who_may_not_gets_nothing(self, people, mine, raw):
        run = people("alice").run("log", experiment_id=mine, text="mine").value["run_id"]
        dave = people("dave")
        for scenario, arguments in (
            ("list_artifacts", {}), ("download", {"path": "a b.txt"}), ("log_into", {"text": "evil"}),
        ):
            assert dave.run(scenario, run_id=run, **arguments).error is not None, scenario
        path = f"{FILES}/{mine}/Runs/{run}/artifacts/a%20b.txt"
        for method, url in (
            ("GET", path), ("HEAD", path), ("PUT", path + "?overwrite=true"), ("PUT", path), ("DELETE", path),
            ("GET", path.replace("/files/", "/directories/").rsplit("/", 1)[0]), ("POST", path + "?action=initiate-upload"),
            ("POST", f"/api/2.0/fs/create-download-url?path=/WorkspaceInternal/Mlflow/Artifacts/{mine}/Runs/{run}/artifacts/x"),
        ):
            assert raw("dave", method, url).status_code == 403, (method, url)
        for verb in ("read", "write"):
            answer = raw("dave", "POST", f"/api/2.0/mlflow/artifacts/credentials-for-{verb}", json={"run_id": run, "path": ["a b.txt"]})
            assert answer.status_code == 403, answer.text
        assert people("alice").run("download", run_id=run, path="a b.txt").value == "mine"

    def test_the_experiment_of_a_path_decides_not_the_run_in_it(self, people, mine, raw):
        """A foreign run's id below one's own experiment names nothing of the other's."""
        run = people("alice").run("log", experiment_id=mine, text="mine").value["run_id"]
        theirs = people("dave").run("use", name=f"theirs-{uuid.uuid4().hex[:8]}").value
        answer = raw("dave", "GET", f"{FILES}/{theirs}/Runs/{run}/artifacts/a%20b.txt")
        assert answer.status_code == 404 and "mine" not in answer.text
        for tail in (f"Runs/..%2f{run}", f"Traces/tr-{'0' * 32}/../..", f"Other/{run}", f"Runs/{run}/..%2F..%2F{mine}"):
            assert raw("dave", "GET", f"{FILES}/{mine}/{tail}").status_code in (400, 403, 404), tail


class TestCredentials:
    def test_a_url_is_for_one_request_of_its_caller_and_ends_with_the_grant(self, people, mine, raw, server):
        trace = people("alice").run("trace", experiment_id=mine, text="signed").value
        other = people("alice").run("trace", experiment_id=mine, text="other").value
        grant = {"principal": "user:bob", "securable": f"experiment:{mine}", "privilege": "CAN_READ"}
        made = raw("alice", "POST", "/api/tracegate/v1/grants", json=grant)
        assert made.status_code == 200, made.text
        info = raw("bob", "GET", f"/api/2.0/mlflow/traces/{trace}/credentials-for-data-download").json()["credential_info"]
        assert info["type"] == "AWS_PRESIGNED_URL" and info["path"] == "traces.json"
        path, headers = signed(info)
        assert len(raw(None, "GET", path, headers=headers).json()["spans"]) == 2
        for method, url in (("PUT", path), ("GET", path.replace(trace, other)), ("GET", path + "?a=b"), ("DELETE", path)):
            assert raw(None, method, url, headers=headers, data=b"{}" if method == "PUT" else None).status_code in (401, 404), (method, url)
        assert raw("bob", "GET", f"/api/2.0/mlflow/traces/{trace}/credentials-for-data-upload").status_code == 403
        assert raw("alice", "DELETE", f"/api/tracegate/v1/grants/{made.json()['grant']['id']}").status_code == 200
        assert raw(None, "GET", path, headers=headers).status_code == 403

    def test_spans_of_another_trace_do_not_go_into_this_one(self, people, mine, raw):
        trace = people("alice").run("trace", experiment_id=mine, text="kept").value
        path, headers = signed(raw("alice", "GET", f"/api/2.0/mlflow/traces/{trace}/credentials-for-data-upload").json()["credential_info"])

        def span(of, **attributes):
            return {
                "trace_id": base64.b64encode(bytes.fromhex(of)).decode(), "span_id": "5rghiPWBJNQ=", "name": "evil",
                "start_time_unix_nano": 1, "end_time_unix_nano": 2, "status": {"code": "STATUS_CODE_OK"}, "attributes": attributes,
            }

        foreign = uuid.uuid4().hex
        for spans in ([span(foreign)], [span(trace[3:]), span(foreign)], [{"name": "evil"}], "evil"):
            assert raw(None, "PUT", path, headers=headers, json={"spans": spans}).status_code == 400, spans
        reserved = span(trace[3:], **{"mlflow.traceTag.mlflow.artifactLocation": '"mlflow-artifacts:/1"'})
        assert raw(None, "PUT", path, headers=headers, json={"spans": [reserved]}).status_code == 403
        assert people("alice").run("get", trace_id=trace).value["inputs"]["answer"] == {"question": "kept"}

    def test_unknown_traces_and_runs_are_like_those_of_others(self, people, mine, raw):
        trace = people("alice").run("trace", experiment_id=mine, text="hidden").value
        words = lambda answer, name: answer.text.split(" (decision")[0].replace(name, "NAME")
        for verb in ("upload", "download"):
            one = raw("dave", "GET", f"/api/2.0/mlflow/traces/{trace}/credentials-for-data-{verb}")
            none = f"tr-{uuid.uuid4().hex}"
            other = raw("dave", "GET", f"/api/2.0/mlflow/traces/{none}/credentials-for-data-{verb}")
            assert (one.status_code, words(one, trace)) == (other.status_code, words(other, none)) and one.status_code == 403
