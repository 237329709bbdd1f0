"""Ways round access control, each tried on a live server; most got through MLflow's own basic-auth.

Alice manages `support-bot`; Dave manages `secret-lab`, and Alice has nothing there. After an
attempt MLflow itself is asked, not Tracegate, whether anything of Dave's was touched.
"""

import base64
import json
import re
import secrets
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import requests

from harness import wire
from harness.caller import DECISION_ID

pytestmark = [pytest.mark.gate, pytest.mark.both_modes]


@pytest.fixture(scope="module")
def world(request, gate, mode, seeded, support_bot, secret_lab):
    """`call` sends as a caller and takes the target as it is; `truth` asks MLflow directly, or as an
    administrator where there is no MLflow behind."""

    def call(who, method, target, body=b"", headers=()):
        credentials = [("Authorization", wire.basic(who, gate.tokens[who]))] if who else []
        return wire.request(gate.url, method, target, [*credentials, *headers], body)

    if mode == "upstream":
        url, headers = request.getfixturevalue("mlflow_server").url, {}
    else:
        url, headers = gate.url, {"Authorization": f"Bearer {gate.tokens['admin']}"}

    def truth(method, path, **given):
        return requests.request(method, url + path, timeout=30, headers=headers, **given)

    def trace(trace_id):
        whole = truth("GET", "/api/3.0/mlflow/traces/get", params={"trace_id": trace_id}).json()
        # A trace without spans has its head only.
        return whole.get("trace") or truth("GET", f"/api/3.0/mlflow/traces/{trace_id}").json()["trace"]

    def info(trace_id):
        """Also of a trace that has no spans yet, which MLflow does not `get`."""
        return truth("GET", f"/api/3.0/mlflow/traces/{trace_id}").json()["trace"]["trace_info"]

    return SimpleNamespace(
        url=gate.url, mode=mode, tokens=gate.tokens, server=gate.server, call=call, truth=truth, trace=trace, info=info,
        mine=support_bot, theirs=secret_lab,
        my_trace=seeded.trace, my_run=seeded.run, my_model=seeded.model,
        their_trace=seeded.foreign_trace, their_run=seeded.foreign_run, their_model=seeded.foreign_model,
        their_dataset=seeded.foreign_dataset, their_feedback=seeded.foreign_feedback,
    )


def new_trace_id():
    return "tr-" + secrets.token_hex(16)


def assert_refused(answer, *statuses, code=None):
    """A refusal of ours: its status, MLflow's error shape, a decision id, and nothing of the secret."""
    assert answer.status in (statuses or (403,)), f"{answer.status}: {answer.text[:500]}"
    assert answer.error_code, f"not MLflow's error shape: {answer.text[:500]}"
    if code:
        assert answer.error_code == code, answer.text
    assert DECISION_ID.search(answer.text), f"no decision id: {answer.text}"
    assert "secret formula" not in answer.text


def start_trace(trace_id, experiment, tags=None, metadata=None, **more):
    return {
        "trace": {
            "trace_info": {
                "trace_id": trace_id,
                "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}},
                "request_time": "2026-01-01T00:00:00Z",
                "execution_duration": "1s",
                "state": "OK",
                "tags": tags or {},
                "trace_metadata": metadata or {},
                **more,
            }
        }
    }


OTLP = ("Content-Type", "application/x-protobuf")


def into(experiment):
    return ("X-Mlflow-Experiment-Id", experiment)


@pytest.fixture
def untouched(world):
    """Dave's trace, run and experiment are after the test exactly what they were before it."""

    def state():
        return (
            world.trace(world.their_trace),
            world.truth("GET", "/api/2.0/mlflow/runs/get", params={"run_id": world.their_run}).json(),
            world.truth("GET", "/api/2.0/mlflow/experiments/get", params={"experiment_id": world.theirs}).json(),
        )

    def ordered(value):
        if isinstance(value, dict):
            return {key: ordered(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return sorted((ordered(inner) for inner in value), key=lambda inner: json.dumps(inner, sort_keys=True))
        return value

    before = ordered(state())
    yield
    assert ordered(state()) == before


# --- 1-4: taking traces over, and writing into them ----------------------------------------


@pytest.mark.usefixtures("untouched")
class TestForeignTracesCannotBeWritten:
    def test_takeover_by_starting_a_trace_with_its_id(self, world):
        for prefix in ("/api", "/ajax-api"):
            body = start_trace(world.their_trace, world.mine)
            assert_refused(world.call("alice", "POST", f"{prefix}/3.0/mlflow/traces", body))

    def test_span_injection(self, world):
        answer = world.call("alice", "POST", "/v1/traces", wire.otlp(world.their_trace), [OTLP, into(world.mine)])
        assert answer.status == 403, answer.text

    def test_span_injection_naming_the_foreign_experiment(self, world):
        answer = world.call("alice", "POST", "/v1/traces", wire.otlp(world.their_trace), [OTLP, into(world.theirs)])
        assert answer.status == 403, answer.text

    def test_span_injection_hidden_among_ones_own_spans(self, world):
        """What is one's own is kept and the rest reported, or all is refused; never all taken."""
        own = new_trace_id()
        answer = world.call("alice", "POST", "/v1/traces", wire.otlp(own, world.their_trace), [OTLP, into(world.mine)])
        assert answer.status in (200, 403)
        if answer.status == 200:
            from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

            assert ExportTraceServiceResponse.FromString(answer.body).partial_success.rejected_spans == 1
            assert len(world.trace(own)["spans"]) == 1

    def test_span_injection_by_an_experiment_attribute(self, world):
        attributes = {"mlflow.experimentId": json.dumps(world.theirs), "mlflow.experiment_id": world.theirs}
        own = new_trace_id()
        body = wire.otlp(own, attributes=attributes, resource=attributes)
        world.call("alice", "POST", "/v1/traces", body, [OTLP, into(world.mine)])
        found = world.truth("GET", f"/api/3.0/mlflow/traces/{own}")
        if found.status_code == 200:
            location = found.json()["trace"]["trace_info"]["trace_location"]
            assert location["mlflow_experiment"]["experiment_id"] == world.mine

    def test_injection_as_a_trace_request_id_attribute(self, world):
        """MLflow spans name their trace twice; the second name must not be another's."""
        own = new_trace_id()
        body = wire.otlp(own, attributes={"mlflow.traceRequestId": json.dumps(world.their_trace)})
        world.call("alice", "POST", "/v1/traces", body, [OTLP, into(world.mine)])

    def test_ending_a_foreign_trace(self, world):
        body = {"request_id": world.their_trace, "timestamp_ms": 1, "status": "ERROR"}
        assert_refused(world.call("alice", "PATCH", f"/api/2.0/mlflow/traces/{world.their_trace}", body))

    def test_a_path_of_ones_own_and_a_body_of_another(self, world):
        body = {"trace_id": world.their_trace, "key": "stolen", "value": "yes"}
        answer = world.call("alice", "PATCH", f"/api/3.0/mlflow/traces/{world.my_trace}/tags", body)
        assert_refused(answer, 400, 403)

    def test_linking_a_foreign_run_by_header(self, world):
        own = new_trace_id()
        headers = [OTLP, into(world.mine), ("X-Mlflow-Run-Id", world.their_run)]
        answer = world.call("alice", "POST", "/v1/traces", wire.otlp(own), headers)
        assert answer.status == 403, answer.text
        assert world.truth("GET", f"/api/3.0/mlflow/traces/{own}").status_code == 404

    def test_linking_to_a_foreign_run_by_api(self, world):
        body = {"run_id": world.their_run, "trace_ids": [world.my_trace]}
        assert_refused(world.call("alice", "POST", "/api/2.0/mlflow/traces/link-to-run", body))

    def test_linking_a_foreign_trace_to_ones_own_run(self, world):
        body = {"run_id": world.my_run, "trace_ids": [world.my_trace, world.their_trace]}
        assert_refused(world.call("alice", "POST", "/api/2.0/mlflow/traces/link-to-run", body))

    def test_commenting_on_a_foreign_trace(self, world):
        body = {"assessment": {"assessment_name": "x", "trace_id": world.their_trace, "feedback": {"value": 1},
                               "source": {"source_type": "HUMAN", "source_id": "alice"}}}
        for path_id in (world.their_trace, world.my_trace):
            answer = world.call("alice", "POST", f"/api/3.0/mlflow/traces/{path_id}/assessments", body)
            assert_refused(answer, 400, 403)

    def test_a_foreign_assessment_under_ones_own_trace(self, world):
        target = f"/api/3.0/mlflow/traces/{world.my_trace}/assessments/{world.their_feedback}"
        read = world.call("alice", "GET", target)
        assert read.status in (403, 404), read.text
        written = world.call("alice", "PATCH", target, {"assessment": {"feedback": {"value": 0}}, "update_mask": "feedback"})
        assert written.status >= 400, written.text
        deleted = world.call("alice", "DELETE", target)
        assert deleted.status >= 400 or json.dumps(world.trace(world.their_trace)).find(world.their_feedback) > 0


class TestReservedKeysCannotBeSet:
    """`mlflow.artifactLocation` makes MLflow read spans from wherever it says."""

    RESERVED = ["mlflow.artifactLocation", "mlflow.trace.spansLocation"]

    @pytest.mark.parametrize("key", RESERVED)
    @pytest.mark.parametrize("version", ["2.0", "3.0"])
    def test_by_the_tag_routes(self, world, key, version):
        before = world.trace(world.my_trace)["trace_info"]["tags"]
        body = {"key": key, "value": f"mlflow-artifacts:/{world.theirs}"}
        for method in ("PATCH", "DELETE"):
            answer = world.call("alice", method, f"/api/{version}/mlflow/traces/{world.my_trace}/tags", body)
            assert_refused(answer, 400, 403)
        assert world.trace(world.my_trace)["trace_info"]["tags"] == before

    @pytest.mark.parametrize("key", RESERVED)
    def test_by_starting_a_trace(self, world, key):
        trace_id, evil = new_trace_id(), f"mlflow-artifacts:/{world.theirs}/traces/{world.their_trace}/artifacts"
        world.call("alice", "POST", "/api/3.0/mlflow/traces", start_trace(trace_id, world.mine, {key: evil}, {key: evil}))
        found = world.truth("GET", f"/api/3.0/mlflow/traces/{trace_id}")
        assert evil not in found.text

    @pytest.mark.parametrize("key", RESERVED)
    @pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
    def test_by_attributes_of_a_root_span(self, world, key, packed):
        trace_id, evil = new_trace_id(), f"mlflow-artifacts:/{world.theirs}/traces/{world.their_trace}/artifacts"
        body = wire.otlp(trace_id, attributes={f"mlflow.traceTag.{key}": evil})
        headers = [OTLP, into(world.mine)]
        if packed:
            body, headers = wire.gzip_of(body, 1), [*headers, ("Content-Encoding", "gzip")]
        world.call("alice", "POST", "/v1/traces", body, headers)
        info = world.truth("GET", f"/api/3.0/mlflow/traces/{trace_id}")
        if info.status_code == 200:
            assert evil not in json.dumps(info.json()["trace"]["trace_info"].get("tags", {}))

    def test_by_a_trace_of_mlflow_2(self, world):
        evil = f"mlflow-artifacts:/{world.theirs}"
        body = {"experiment_id": world.mine, "timestamp_ms": 1,
                "request_metadata": [], "tags": [{"key": "mlflow.artifactLocation", "value": evil}]}
        answer = world.call("alice", "POST", "/api/2.0/mlflow/traces", body)
        assert evil not in answer.text.replace(json.dumps(evil)[1:-1], evil) or answer.status >= 400
        if answer.status == 200:
            trace_id = answer.json()["trace_info"]["request_id"]
            tags = world.truth("GET", f"/api/2.0/mlflow/traces/{trace_id}/info").json()["trace_info"]["tags"]
            assert evil not in [tag["value"] for tag in tags]

    @pytest.mark.parametrize("key", ["mlflow.artifactLocation", "mlflow.experiment.databricksTraceDestinationPath"])
    def test_on_an_experiment(self, world, key):
        body = {"experiment_id": world.mine, "key": key, "value": "x"}
        assert_refused(world.call("alice", "POST", "/api/2.0/mlflow/experiments/set-experiment-tag", body), 400, 403)


class TestArtifactsOfOthers:
    @pytest.mark.parametrize(
        "root",
        ["mlflow-artifacts:/{theirs}", "mlflow-artifacts:/{theirs}/traces", "mlflow-artifacts:/", "mlflow-artifacts:/new/../{theirs}",
         "mlflow-artifacts://host/{theirs}", "mlflow-artifacts:/%2e%2e/{theirs}", "/etc", "file:///etc", "/", "", "s3://bucket/x", "runs:/{their_run}/x"],
    )
    def test_an_experiment_is_not_rooted_in_anothers_tree(self, world, root):
        root = root.format(theirs=world.theirs, their_run=world.their_run)
        body = {"name": f"rooted-{uuid.uuid4().hex[:8]}", "artifact_location": root}
        answer = world.call("alice", "POST", "/api/2.0/mlflow/experiments/create", body)
        if root == "" and answer.status == 200:
            return  # empty is as good as absent: MLflow chooses
        assert_refused(answer, 400, 403)

    def test_a_root_of_ones_own_does_not_enclose_anothers(self, world):
        """`mlflow-artifacts:/1` and `mlflow-artifacts:/10` are neighbours; `…/1` and `…/1/x` are not."""
        body = {"name": f"rooted-{uuid.uuid4().hex[:8]}", "artifact_location": f"mlflow-artifacts:/{world.theirs}/nested/deep"}
        assert_refused(world.call("alice", "POST", "/api/2.0/mlflow/experiments/create", body), 400, 403)

    @pytest.mark.parametrize(
        "path",
        ["{theirs}/{their_run}/artifacts/x.json", "{mine}/../{theirs}/{their_run}/artifacts/x.json",
         "{mine}/%2e%2e/{theirs}/{their_run}/artifacts/x.json", "{mine}%2f..%2f{theirs}/{their_run}/artifacts/x.json",
         "./{theirs}/{their_run}/artifacts/x.json", "/{theirs}/{their_run}/artifacts/x.json",
         "{mine}/{my_run}/artifacts/../../../{theirs}/{their_run}/artifacts/x.json",
         "{mine}/%252e%252e/{theirs}/{their_run}/artifacts/x.json", "%2fetc/passwd", "..%5c{theirs}/x"],
    )
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_the_artifact_proxy_knows_whose_path_it_is(self, world, path, method):
        path = path.format(mine=world.mine, theirs=world.theirs, my_run=world.my_run, their_run=world.their_run)
        answer = world.call("alice", method, f"/api/2.0/mlflow-artifacts/artifacts/{path}", b"stolen" if method == "PUT" else b"")
        assert answer.status in (400, 403, 404), answer.text
        kept = world.truth("GET", f"/api/2.0/mlflow-artifacts/artifacts/{world.theirs}/{world.their_run}/artifacts/x.json")
        assert kept.json() == {"x": 1}

    @pytest.mark.parametrize("query", ["path={theirs}", "path={theirs}%2F{their_run}", "path={mine}%2F..%2F{theirs}", "path=.", "path=", "path=%2F", ""])
    def test_the_artifact_proxy_lists_no_foreign_directory(self, world, query):
        query = query.format(mine=world.mine, theirs=world.theirs, their_run=world.their_run)
        answer = world.call("alice", "GET", f"/api/2.0/mlflow-artifacts/artifacts?{query}")
        assert answer.status in (400, 403, 404), answer.text

    @pytest.mark.parametrize(
        "target",
        ["/get-artifact?run_uuid={their_run}&path=x.json", "/get-artifact?run_id={my_run}&run_uuid={their_run}&path=x.json",
         "/get-artifact?run_uuid={my_run}&run_uuid={their_run}&path=x.json",
         "/get-artifact?run_uuid={my_run}&path=..%2F..%2F..%2F{theirs}%2F{their_run}%2Fartifacts%2Fx.json",
         "/ajax-api/3.0/mlflow/get-trace-artifact?request_id={their_trace}", "/ajax-api/2.0/mlflow/get-trace-artifact?request_id={their_trace}",
         "/ajax-api/2.0/mlflow/logged-models/{their_model}/artifacts/files?artifact_file_path=MLmodel",
         "/api/2.0/mlflow/artifacts/list?run_id={their_run}", "/api/2.0/mlflow/artifacts/list?run_id={my_run}&run_uuid={their_run}",
         "/api/2.0/mlflow/artifacts/list?run_id={my_run}&path=..%2F..%2F{theirs}"],
    )
    def test_other_doors_to_artifacts(self, world, target):
        values = {key: value for key, value in vars(world).items() if isinstance(value, str)}
        answer = world.call("alice", "GET", target.format(**values))
        assert answer.status in (400, 403, 404), answer.text
        assert answer.body.strip() != b'{\n  "x": 1\n}'

    @pytest.mark.parametrize(
        "method, target",
        [("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url"), ("POST", "/api/2.0/mlflow/artifacts/presigned-download-url"),
         ("GET", "/api/2.0/mlflow-artifacts/presigned/{mine}/{my_run}/artifacts/x.json"),
         ("POST", "/api/2.0/mlflow-artifacts/mpu/create/{mine}/{my_run}/artifacts/y.bin")],
    )
    def test_no_url_of_the_store_is_handed_out(self, world, method, target):
        if world.mode == "embedded" and "/mpu/" in target:
            pytest.skip("our own store takes parts, at URLs of ours: tests/integration/multipart.rs")
        target = target.format(mine=world.mine, my_run=world.my_run)
        answer = world.call("alice", method, target, {"run_id": world.my_run, "path": "x.json"} if method == "POST" else b"")
        assert answer.status >= 400, answer.text
        assert "http" not in answer.text.split("message")[0]

    @pytest.mark.parametrize("source", ["mlflow-artifacts:/{theirs}/{their_run}/artifacts", "runs:/{their_run}/model", "models:/{their_model}", "/etc", "file:///etc"])
    def test_a_model_version_is_no_copy_of_a_foreign_source(self, world, source):
        name = f"copy-{uuid.uuid4().hex[:8]}"
        assert world.call("alice", "POST", "/api/2.0/mlflow/registered-models/create", {"name": name}).status == 200
        source = source.format(theirs=world.theirs, their_run=world.their_run, their_model=world.their_model)
        body = {"name": name, "source": source}
        assert_refused(world.call("alice", "POST", "/api/2.0/mlflow/model-versions/create", body), 400, 403)


# --- 5-8: oracles and administration -------------------------------------------------------


def same_but_for_ids(first, second, *names):
    """Two refusals that differ in nothing but the ids they repeat."""

    def plain(answer):
        text = DECISION_ID.sub("DECISION", answer.text)
        for name in names:
            text = text.replace(name, "NAME")
        return answer.status, answer.error_code, text

    assert plain(first) == plain(second)


class TestHiddenAndMissingLookAlike:
    def test_experiment_by_name(self, world):
        first, second = "secret-lab", "no-such-lab"
        answers = [world.call("alice", "GET", f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={name}") for name in (first, second)]
        assert answers[0].status == 404 and answers[0].error_code == "RESOURCE_DOES_NOT_EXIST"
        same_but_for_ids(*answers, first, second)

    def test_creating_a_hidden_name(self, world):
        answer = world.call("alice", "POST", "/api/2.0/mlflow/experiments/create", {"name": "secret-lab"})
        assert_refused(answer, 403, code="PERMISSION_DENIED")

    def test_renaming_to_a_hidden_name(self, world):
        made = world.call("alice", "POST", "/api/2.0/mlflow/experiments/create", {"name": f"mine-{uuid.uuid4().hex[:8]}"}).json()
        body = {"experiment_id": made["experiment_id"], "new_name": "secret-lab"}
        assert_refused(world.call("alice", "POST", "/api/2.0/mlflow/experiments/update", body), 403, code="PERMISSION_DENIED")

    def test_prompt_by_name(self, world, as_caller):
        first, second = f"hidden-{uuid.uuid4().hex[:6]}", f"absent-{uuid.uuid4().hex[:6]}"
        as_caller("dave").run("register_prompt", name=first).value
        answers = [world.call("alice", "GET", f"/api/2.0/mlflow/registered-models/get?name={name}") for name in (first, second)]
        assert answers[0].status in (403, 404)
        same_but_for_ids(*answers, first, second)

    @pytest.mark.parametrize(
        "target, known, missing",
        [("/api/3.0/mlflow/traces/{}", "their_trace", "tr-" + "0" * 32), ("/api/2.0/mlflow/traces/{}/info", "their_trace", "0" * 32),
         ("/api/3.0/mlflow/traces/get?trace_id={}", "their_trace", "tr-" + "0" * 32), ("/api/2.0/mlflow/runs/get?run_id={}", "their_run", "0" * 32),
         ("/api/2.0/mlflow/experiments/get?experiment_id={}", "theirs", "99999"), ("/api/2.0/mlflow/logged-models/{}", "their_model", "m-" + "0" * 32),
         ("/api/3.0/mlflow/datasets/{}", "their_dataset", "d-" + "0" * 32)],
    )
    def test_by_id(self, world, target, known, missing):
        known = getattr(world, known)
        hidden, absent = (world.call("alice", "GET", target.format(given)) for given in (known, missing))
        assert_refused(hidden, 403, code="PERMISSION_DENIED")
        same_but_for_ids(hidden, absent, known, missing)

    def test_a_refusal_names_no_owner(self, world):
        answer = world.call("carol", "GET", f"/api/3.0/mlflow/traces/{world.their_trace}")
        assert "secret-lab" not in answer.text and "dave" not in answer.text


@pytest.mark.parametrize("who", ["alice", "bob", "carol", "agent"])
@pytest.mark.parametrize(
    "method, target, body",
    [("GET", "/api/3.0/mlflow/roles/list", b""), ("GET", "/api/3.0/mlflow/roles/users/list?role_id=1", b""),
     ("GET", "/api/2.0/mlflow/users/get?username=admin", b""), ("POST", "/api/2.0/mlflow/users/create", {"username": "x", "password": "y"}),
     ("PATCH", "/api/2.0/mlflow/users/update-admin", {"username": "carol", "is_admin": True}),
     ("POST", "/api/3.0/mlflow/users/permissions/grant", {"username": "carol", "resource_type": "experiment", "resource_id": "*", "permission": "MANAGE"}),
     ("GET", "/api/3.0/mlflow/gateway/budgets/list", b""), ("GET", "/api/3.0/mlflow/gateway/secrets/list", b""),
     ("GET", "/api/2.0/mlflow/webhooks", b""), ("GET", "/api/3.0/mlflow/workspaces", b""), ("GET", "/api/3.0/mlflow/mcp-servers", b""),
     ("POST", "/ajax-api/3.0/mlflow/demo/generate", {}), ("GET", "/signup", b""), ("POST", "/ajax-api/3.0/jobs/search", {})],
    ids=lambda value: value.split("?")[0].replace("/", "_") if isinstance(value, str) else "",
)
def test_administration_is_for_administrators(world, who, method, target, body):
    before = world.truth("POST", "/api/2.0/mlflow/experiments/search", json={"max_results": 1000}).json()
    assert_refused(world.call(who, method, target, body), 403, 404)
    assert world.truth("POST", "/api/2.0/mlflow/experiments/search", json={"max_results": 1000}).json() == before


class TestGraphQl:
    @pytest.mark.parametrize(
        "query",
        ["{ __schema { types { name } } }", "{ __type(name: \"Query\") { name } }", "query { a: __schema { queryType { name } } }",
         "{ mlflowGetExperiment(input: {experimentId: \"THEIRS\"}) { experiment { name } } }",
         "{ mlflowGetExperiment(input: {experimentId: \"MINE\"}) { experiment { name } } b: mlflowGetExperiment(input: {experimentId: \"THEIRS\"}) { experiment { name } } }",
         "query($e: String) { mlflowGetExperiment(input: {experimentId: $e}) { experiment { name } } }",
         "{ ...F } fragment F on Query { mlflowGetExperiment(input: {experimentId: \"THEIRS\"}) { experiment { name } } }",
         "{ mlflowGetRun(input: {runId: \"RUN\"}) { run { info { runUuid } } } }", "{ mlflowSearchRuns(input: {experimentIds: [\"MINE\", \"THEIRS\"]}) { runs { info { runId } } } }",
         "mutation { testMutation(inputString: \"x\") { output } }"],
    )
    def test_fields_that_name_what_is_hidden_are_refused(self, world, query):
        query = query.replace("THEIRS", world.theirs).replace("MINE", world.mine).replace("RUN", world.their_run)
        answer = world.call("alice", "POST", "/graphql", {"query": query, "variables": {"e": world.theirs}})
        assert_refused(answer, 400, 403)
        assert "secret-lab" not in answer.text

    def test_a_query_in_the_url(self, world):
        answer = world.call("alice", "GET", "/graphql?query=%7B__schema%7Btypes%7Bname%7D%7D%7D")
        assert_refused(answer, 400, 403)

    def test_two_queries_of_which_one_is_looked_at(self, world):
        good = "{ mlflowGetExperiment(input: {experimentId: \"%s\"}) { experiment { name } } }" % world.mine
        evil = good.replace(world.mine, world.theirs)
        text = '{"query": %s, "query": %s}' % (json.dumps(good), json.dumps(evil))
        answer = world.call("alice", "POST", "/graphql", text.encode(), [("Content-Type", "application/json")])
        assert_refused(answer, 400, 403)
        batch = json.dumps([{"query": good}, {"query": evil}]).encode()
        answer = world.call("alice", "POST", "/graphql", batch, [("Content-Type", "application/json")])
        assert_refused(answer, 400, 403)


def test_link_prompts_checks_the_prompt(world, as_caller):
    name = f"secret-prompt-{uuid.uuid4().hex[:6]}"
    as_caller("dave").run("register_prompt", name=name).value
    body = {"trace_id": world.my_trace, "prompt_versions": [{"name": name, "version": "1"}]}
    assert_refused(world.call("alice", "POST", "/api/2.0/mlflow/traces/link-prompts", body), 403, 404)
    assert name not in json.dumps(world.trace(world.my_trace)["trace_info"])


# --- 9: saying one is somebody else --------------------------------------------------------


class TestImpersonation:
    def test_in_an_assessment(self, world):
        body = {"assessment": {"assessment_name": "blame", "trace_id": world.my_trace, "feedback": {"value": 0},
                               "source": {"source_type": "HUMAN", "source_id": "admin"}}}
        made = world.call("erin", "POST", f"/api/3.0/mlflow/traces/{world.my_trace}/assessments", body)
        assert made.status == 200, made.text
        assessment_id = made.json()["assessment"]["assessment_id"]
        read = world.truth("GET", f"/api/3.0/mlflow/traces/{world.my_trace}/assessments/{assessment_id}").json()
        assert read["assessment"]["source"]["source_id"] == "erin"

    @pytest.mark.parametrize("spelling", ["source_type", "sourceType"])
    def test_in_an_assessment_spelled_either_way(self, world, spelling):
        other = {"source_type": "source_id", "sourceType": "sourceId"}[spelling]
        body = {"assessment": {"assessmentName": "blame", "feedback": {"value": 0}, "source": {spelling: "HUMAN", other: "admin"}}}
        made = world.call("erin", "POST", f"/api/3.0/mlflow/traces/{world.my_trace}/assessments", body)
        if made.status == 200:
            assert made.json()["assessment"]["source"]["source_id"] == "erin"
        else:
            assert_refused(made, 400)

    def test_in_the_metadata_of_a_trace(self, world):
        trace_id = new_trace_id()
        body = start_trace(trace_id, world.mine, metadata={"mlflow.user": "admin", "mlflow.trace.user": "customer"})
        assert world.call("alice", "POST", "/api/3.0/mlflow/traces", body).status == 200
        metadata = world.info(trace_id)["trace_metadata"]
        assert (metadata["mlflow.user"], metadata["mlflow.trace.user"]) == ("alice", "customer")

    def test_in_a_trace_without_any_metadata(self, world):
        trace_id = new_trace_id()
        body = start_trace(trace_id, world.mine)
        del body["trace"]["trace_info"]["trace_metadata"]
        assert world.call("alice", "POST", "/api/3.0/mlflow/traces", body).status == 200
        assert world.info(trace_id)["trace_metadata"]["mlflow.user"] == "alice"

    def test_in_a_run(self, world):
        body = {"experiment_id": world.mine, "user_id": "admin", "tags": [{"key": "mlflow.user", "value": "admin"}]}
        made = world.call("alice", "POST", "/api/2.0/mlflow/runs/create", body)
        assert made.status == 200, made.text
        run = world.truth("GET", "/api/2.0/mlflow/runs/get", params={"run_id": made.json()["run"]["info"]["run_id"]}).json()["run"]
        assert "admin" not in json.dumps(run)
        tag = {"run_id": run["info"]["run_id"], "key": "mlflow.user", "value": "admin"}
        world.call("alice", "POST", "/api/2.0/mlflow/runs/set-tag", tag)
        run = world.truth("GET", "/api/2.0/mlflow/runs/get", params={"run_id": tag["run_id"]}).json()["run"]
        assert "admin" not in json.dumps(run)


# --- 10-11: odd ids and mixed batches ------------------------------------------------------


@pytest.mark.parametrize(
    "trace_id",
    ["get", "search", "batchGet", "a/b", "../../{theirs}/traces/x", "tr-" + "A" * 32, "tr-" + "0" * 31, "tr-" + "0" * 33, "tr-" + "g" * 32,
     "", " ", "tr-" + "0" * 32 + "\n", "tr-" + "0" * 32 + "/tags", "tr-" + "0" * 30 + "\u0660\u0660", "x" * 5000, "trace:/a.b.c/../x", "null", "%2e%2e"],
)
def test_odd_trace_ids_are_refused(world, trace_id):
    trace_id = trace_id.format(theirs=world.theirs)
    answer = world.call("alice", "POST", "/api/3.0/mlflow/traces", start_trace(trace_id, world.mine))
    assert_refused(answer, 400, 403)


def test_a_trace_id_in_other_letters_is_not_another_trace(world):
    """`TR-…` in capitals must not reach a store that compares without case."""
    upper = "tr-" + world.their_trace.removeprefix("tr-").upper()
    answer = world.call("alice", "GET", f"/api/3.0/mlflow/traces/{upper}")
    assert answer.status in (400, 403), answer.text


@pytest.mark.usefixtures("untouched")
class TestOneForeignIdRefusesTheWholeBatch:
    @pytest.mark.parametrize(
        "method, target, body",
        [("GET", "/api/3.0/mlflow/traces/batchGet?trace_ids={my_trace}&trace_ids={their_trace}", None),
         ("POST", "/api/3.0/mlflow/traces/batchGetInfos", {"trace_ids": ["{my_trace}", "{their_trace}"]}),
         ("POST", "/api/3.0/mlflow/traces/search", {"locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "{mine}"}}, {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "{theirs}"}}]}),
         ("GET", "/api/2.0/mlflow/traces?experiment_ids={mine}&experiment_ids={theirs}", None),
         ("POST", "/api/2.0/mlflow/traces/delete-traces", {"experiment_id": "{mine}", "request_ids": ["{their_trace}"]}),
         ("POST", "/api/3.0/mlflow/traces/delete-traces", {"experiment_id": "{mine}", "request_ids": ["{their_trace}"]}),
         ("POST", "/api/3.0/mlflow/traces/delete-traces", {"experiment_id": "{theirs}", "max_timestamp_millis": 9999999999999}),
         ("POST", "/api/2.0/mlflow/runs/search", {"experiment_ids": ["{mine}", "{theirs}"]}),
         ("POST", "/api/2.0/mlflow/logged-models/search", {"experiment_ids": ["{mine}", "{theirs}"]}),
         ("POST", "/api/3.0/mlflow/datasets/search", {"experiment_ids": ["{mine}", "{theirs}"]}),
         ("POST", "/api/3.0/mlflow/traces/metrics", {"experiment_ids": ["{mine}", "{theirs}"], "view_type": "TRACES", "metric_name": "trace_count", "aggregations": [{"aggregation_type": "COUNT"}]}),
         ("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id={my_run}&run_id={their_run}&metric_key=loss", None),
         ("GET", "/api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={my_run}&run_ids={their_run}&metric_key=loss&max_results=10", None),
         ("POST", "/api/2.0/mlflow/runs/log-batch", {"run_id": "{my_run}", "metrics": [{"key": "x", "value": 1, "timestamp": 1, "step": 0, "run_id": "{their_run}"}]}),
         ("POST", "/api/3.0/mlflow/datasets/create", {"name": "both", "experiment_ids": ["{mine}", "{theirs}"]})],
        ids=lambda value: value.split("?")[0].rsplit("/", 1)[-1] if isinstance(value, str) else "",
    )
    def test_batch(self, world, method, target, body):
        values = {key: value for key, value in vars(world).items() if isinstance(value, str)}

        def fill(value):
            if isinstance(value, str):
                return value.format(**values)
            if isinstance(value, list):
                return [fill(inner) for inner in value]
            return {key: fill(inner) for key, inner in value.items()} if isinstance(value, dict) else value

        answer = world.call("alice", method, target.format(**values), b"" if body is None else fill(body))
        assert_refused(answer, 403)

    def test_a_search_that_names_no_experiment(self, world):
        for body in ({}, {"locations": []}, {"locations": [{}]}, {"locations": [{"type": "MLFLOW_EXPERIMENT"}]}):
            answer = world.call("alice", "POST", "/api/3.0/mlflow/traces/search", body)
            assert answer.status in (400, 403) or world.their_trace not in answer.text
        answer = world.call("alice", "POST", "/api/2.0/mlflow/runs/search", {})
        assert answer.status in (400, 403) or world.their_run not in answer.text
        answer = world.call("alice", "POST", "/api/3.0/mlflow/datasets/search", {})
        assert answer.status in (400, 403) or world.their_dataset not in answer.text


# --- 12: paths -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    ["/api/3.0/mlflow/traces/{my_trace}/../{their_trace}", "/api/3.0/mlflow/traces/{my_trace}/%2e%2e/{their_trace}", "/api/3.0/mlflow/traces/x/../{their_trace}",
     "/api/3.0/mlflow/traces/{my_trace}%2F..%2F{their_trace}", "/api/3.0/mlflow/traces/%2e/{their_trace}", "/api/3.0/mlflow/traces/./{their_trace}",
     "//api/3.0/mlflow/traces/{their_trace}", "/api//3.0/mlflow/traces/{their_trace}", "/api/3.0/mlflow/traces//{their_trace}", "/api/3.0/mlflow/traces/{their_trace}//",
     "/api/3.0/mlflow/traces/{their_trace}/", "/api/3.0/mlflow/traces/{their_trace}%2F", "/api/3.0/mlflow/traces/{their_trace}.", "/api/3.0/mlflow/traces/{their_trace}..",
     "/api/3.0/mlflow/traces/{their_trace}/.", "/api/3.0/mlflow/traces/{their_trace};x=y", "/api/3.0/mlflow/traces/{their_trace}%00", "/api/3.0/mlflow/traces/{their_trace}%20",
     "/api/3.0/mlflow/traces/{their_trace}%0a", "/api/3.0/mlflow/traces/%74r-{their_hex}", "/API/3.0/mlflow/traces/{their_trace}", "/api/3.0/MLFLOW/traces/{their_trace}",
     "/api/3.0/mlflow/traces/%252e%252e/{their_trace}", "/api/3.0/mlflow/traces/{my_trace}%252f..%252f{their_trace}", "/api/3.0\\mlflow\\traces\\{their_trace}",
     "/api/3.0/mlflow/traces/{my_trace}/..%5c{their_trace}", "/api/3.0/mlflow/traces/%c0%ae%c0%ae/{their_trace}", "/api/3.0/mlflow/traces/%ff{their_trace}",
     "/ajax-api/3.0/mlflow/traces/{their_trace}", "/ajax-api/../api/3.0/mlflow/traces/{their_trace}", "/health/../api/3.0/mlflow/traces/{their_trace}",
     "/version/%2e%2e/api/3.0/mlflow/traces/{their_trace}", "/static-files/..%2fapi/3.0/mlflow/traces/{their_trace}", "/health;/api/3.0/mlflow/traces/{their_trace}",
     "/api/3.0/mlflow/traces/{their_trace}?trace_id={my_trace}", "/api/3.0/mlflow/traces/{my_trace}?trace_id={their_trace}", "/api/3.0/mlflow/traces/get?trace_id={my_trace}&trace_id={their_trace}",
     "/api/3.0/mlflow/traces/get?trace_id={my_trace}&trace%5Fid={their_trace}", "/api/3.0/mlflow/traces/get?traceId={my_trace}&trace_id={their_trace}",
     "/api/3.0/mlflow/traces/get?trace_id={their_trace}&trace_id={my_trace}", "/api/3.0/mlflow/traces/get?trace_id={my_trace};trace_id={their_trace}",
     "http://other.example/api/3.0/mlflow/traces/{their_trace}", "/api/3.0/mlflow/traces/{their_trace}#x", "/api/2.0/mlflow/traces/{their_trace}/info?request_id={my_trace}",
     "/api/4.0/mlflow/traces/{their_trace}", "/api/3.0/mlflow/traces/{their_trace}/info"],
)
def test_a_path_has_one_reading(world, target):
    """However Dave's trace is spelled, Alice does not get it, and neither does a parser that disagrees with ours."""
    values = {key: value for key, value in vars(world).items() if isinstance(value, str)}
    answer = world.call("alice", "GET", target.format(their_hex=world.their_trace.removeprefix("tr-"), **values))
    assert answer.status in (400, 403, 404, 501), f"{answer.status}: {answer.text[:300]}"
    assert "secret formula" not in answer.text


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "GETS"])
def test_other_methods_are_not_forwarded(world, method):
    payload = (f"{method} /api/3.0/mlflow/traces/{world.their_trace} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
               f"Authorization: {wire.basic('alice', world.tokens['alice'])}\r\n\r\n").encode()
    received = wire.exchange(world.url, payload, 5)
    status = int(received.split(b" ", 2)[1]) if received else 400
    assert 400 <= status < 502, received[:300]
    assert b"secret formula" not in received


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"])
def test_a_method_is_not_overridden(world, header):
    answer = world.call("bob", "GET", f"/api/3.0/mlflow/traces/{world.my_trace}/tags", b"", [(header, "PATCH")])
    assert answer.status in (400, 403, 404, 405)


# --- 13, 18: headers -----------------------------------------------------------------------


class TestHeadersHaveOneReading:
    def test_two_authorizations(self, world):
        target = f"/api/3.0/mlflow/traces/{world.their_trace}"
        for first, second in (("alice", "dave"), ("dave", "alice")):
            headers = [("Authorization", wire.basic(who, world.tokens[who])) for who in (first, second)]
            answer = wire.request(world.url, "GET", target, headers)
            assert answer.status in (400, 401), answer.text

    @pytest.mark.parametrize("second", ["X-Mlflow-Experiment-Id", "x-mlflow-experiment-id", "X-MLFLOW-EXPERIMENT-ID"])
    def test_two_experiments(self, world, second):
        for order in ((world.mine, world.theirs), (world.theirs, world.mine)):
            trace_id = new_trace_id()
            headers = [OTLP, into(order[0]), (second, order[1])]
            answer = world.call("alice", "POST", "/v1/traces", wire.otlp(trace_id), headers)
            assert answer.status in (400, 403), answer.text
            assert world.truth("GET", f"/api/3.0/mlflow/traces/{trace_id}").status_code == 404

    @pytest.mark.parametrize("value", ["{mine},{theirs}", "{mine}, {theirs}", "{mine}\t", " {mine} ", "0{mine}", "+{mine}", "{mine}.0", "%3{mine}", "{mine};{theirs}"])
    def test_two_experiments_in_one_header(self, world, value):
        trace_id = new_trace_id()
        value = value.format(mine=world.mine, theirs=world.theirs)
        answer = world.call("alice", "POST", "/v1/traces", wire.otlp(trace_id), [OTLP, ("X-Mlflow-Experiment-Id", value)])
        found = world.truth("GET", f"/api/3.0/mlflow/traces/{trace_id}")
        if answer.status == 200:
            assert value.strip() == world.mine  # white space around a value is not part of it
            assert found.json()["trace"]["trace_info"]["trace_location"]["mlflow_experiment"]["experiment_id"] == world.mine
        else:
            assert found.status_code == 404

    @pytest.mark.parametrize("name", ["X_Mlflow_Experiment_Id", "X-Mlflow_Experiment-Id", "X_MLFLOW_RUN_ID"])
    def test_an_underscore_is_not_a_hyphen(self, world, name):
        """A WSGI server reads both as one variable."""
        trace_id = new_trace_id()
        value = world.their_run if "RUN" in name else world.theirs
        world.call("alice", "POST", "/v1/traces", wire.otlp(trace_id), [OTLP, into(world.mine), (name, value)])
        found = world.truth("GET", f"/api/3.0/mlflow/traces/{trace_id}")
        if found.status_code == 200:
            info = found.json()["trace"]["trace_info"]
            assert info["trace_location"]["mlflow_experiment"]["experiment_id"] == world.mine
            assert world.their_run not in json.dumps(info)

    def test_a_header_that_connection_names_is_not_dropped_on_the_way(self, world):
        trace_id = new_trace_id()
        payload = wire.otlp(trace_id)
        head = (f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nAuthorization: {wire.basic('alice', world.tokens['alice'])}\r\n"
                f"Content-Type: application/x-protobuf\r\nX-Mlflow-Experiment-Id: {world.mine}\r\n"
                f"Connection: close, X-Mlflow-Experiment-Id, Authorization\r\nContent-Length: {len(payload)}\r\n\r\n").encode()
        answer, _ = wire.parse(wire.exchange(world.url, head + payload, 10))
        found = world.truth("GET", f"/api/3.0/mlflow/traces/{trace_id}")
        if found.status_code == 200:
            assert found.json()["trace"]["trace_info"]["trace_location"]["mlflow_experiment"]["experiment_id"] == world.mine
        else:
            assert answer.status in (400, 403)

    @pytest.mark.parametrize(
        "header, value",
        [("X-MLflow-Authorization", "dave"), ("X-Forwarded-User", "dave"), ("X-Remote-User", "dave"), ("Remote-User", "dave"), ("X-Forwarded-For", "127.0.0.1"),
         ("X-Forwarded-Host", "localhost"), ("X-Forwarded-Prefix", "/health"), ("X-Script-Name", "/health"), ("X-Original-Url", "/health"), ("X-Rewrite-Url", "/health"),
         ("Forwarded", "for=127.0.0.1;host=localhost"), ("X-MLFLOW-WORKSPACE", "default"), ("X-Tracegate-Principal", "user:dave"), ("Cookie", "session=dave"), ("Proxy-Authorization", "dave")],
    )
    def test_no_header_makes_one_somebody_else(self, world, header, value):
        if value == "dave":
            value = wire.basic("dave", world.tokens["dave"]) if "uthorization" in header else value
        target = f"/api/3.0/mlflow/traces/{world.their_trace}"
        assert world.call("alice", "GET", target, b"", [(header, value)]).status in (400, 403)
        assert world.call(None, "GET", target, b"", [(header, value)]).status in (400, 401)

    @pytest.mark.parametrize(
        "framing",
        ["Content-Length: {size}\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: {size}", "Content-Length: {size}\r\nContent-Length: 0",
         "Content-Length: 0\r\nContent-Length: {size}", "Content-Length: +{size}", "Content-Length: {size}, 0", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity",
         "Transfer-Encoding: identity", "Transfer-Encoding : chunked", "Transfer-Encoding:\x0bchunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "Content-Length: {size}\r\n Transfer-Encoding: chunked"],
    )
    def test_a_second_request_is_not_smuggled_in_a_body(self, world, framing):
        """Whatever the reading of the body's length, Bob's hidden request is refused as Bob's or never seen."""
        credentials = f"Authorization: {wire.basic('bob', world.tokens['bob'])}\r\n"
        tag = f"smuggled-{uuid.uuid4().hex[:6]}"
        hidden_body = json.dumps({"key": tag, "value": "yes"})
        hidden = (f"0\r\n\r\nPATCH /api/3.0/mlflow/traces/{world.my_trace}/tags HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                  f"Content-Length: {len(hidden_body)}\r\nConnection: close\r\n\r\n{hidden_body}")
        head = (f"POST /api/2.0/mlflow/experiments/search HTTP/1.1\r\nHost: x\r\n{credentials}Content-Type: application/json\r\n"
                f"{framing.format(size=len(hidden))}\r\n\r\n")
        received = wire.exchange(world.url, (head + hidden).encode("latin-1"), 5)
        assert received.startswith(b"HTTP/1.1 4") or b"HTTP/1.1 401" in received or not received, received[:600]
        assert tag not in json.dumps(world.trace(world.my_trace)["trace_info"])

    @pytest.mark.parametrize("line", ["X-Mlflow-Experiment-Id : {theirs}", "X-Mlflow-Experiment-Id\x00: {theirs}", " X-Mlflow-Experiment-Id: {theirs}", "X-Mlflow-Experiment-Id: {mine}\r\n\t{theirs}"])
    def test_malformed_header_lines(self, world, line):
        trace_id = new_trace_id()
        payload = wire.otlp(trace_id)
        head = (f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nAuthorization: {wire.basic('alice', world.tokens['alice'])}\r\nConnection: close\r\n"
                f"Content-Type: application/x-protobuf\r\n{line.format(mine=world.mine, theirs=world.theirs)}\r\nContent-Length: {len(payload)}\r\n\r\n")
        wire.exchange(world.url, head.encode("latin-1") + payload, 5)
        assert world.truth("GET", f"/api/3.0/mlflow/traces/{trace_id}").status_code == 404


# --- 14, 20: bodies ------------------------------------------------------------------------


class TestBodiesHaveOneReading:
    @pytest.mark.parametrize(
        "text",
        ['{"experiment_id": "MINE", "experiment_id": "THEIRS", "key": "k", "value": "v"}', '{"experiment_id": "THEIRS", "experiment_id": "MINE", "key": "k", "value": "v"}',
         '{"experiment_id": "MINE", "experimentId": "THEIRS", "key": "k", "value": "v"}', '{"experimentId": "THEIRS", "experiment_id": "MINE", "key": "k", "value": "v"}',
         '{"experiment_id": "MINE", "experiment\\u005fid": "THEIRS", "key": "k", "value": "v"}', '{"experiment_id": "THEIRS", "key": "k", "value": "v"}',
         '{"experimentId": "THEIRS", "key": "k", "value": "v"}', '{"experiment_id": ["MINE", "THEIRS"], "key": "k", "value": "v"}', '{"experiment_id": THEIRS, "key": "k", "value": "v"}',
         '[{"experiment_id": "THEIRS", "key": "k", "value": "v"}]', '"{\\"experiment_id\\": \\"THEIRS\\", \\"key\\": \\"k\\", \\"value\\": \\"v\\"}"',
         '{"experiment_id": "MINE", "key": "k", "value": "v"} {"experiment_id": "THEIRS"}', '\ufeff{"experiment_id": "THEIRS", "key": "k", "value": "v"}',
         "{'experiment_id': 'THEIRS', 'key': 'k', 'value': 'v'}", '{"experiment_id": "MINE", /* */ "key": "k", "value": "v"}', '{"Experiment_Id": "MINE", "experiment_id": "THEIRS", "key": "k", "value": "v"}'],
    )
    @pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/json; charset=utf-16", "application/x-www-form-urlencoded"])
    @pytest.mark.usefixtures("untouched")
    def test_json(self, world, text, content_type):
        text = text.replace("MINE", world.mine).replace("THEIRS", world.theirs)
        answer = world.call("alice", "POST", "/api/2.0/mlflow/experiments/set-experiment-tag", text.encode(), [("Content-Type", content_type)])
        assert answer.status in (400, 403, 415), answer.text

    @pytest.mark.usefixtures("untouched")
    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-7"])
    def test_json_in_another_encoding(self, world, encoding):
        body = json.dumps({"experiment_id": world.theirs, "key": "k", "value": "v"}).encode(encoding)
        answer = world.call("alice", "POST", "/api/2.0/mlflow/experiments/set-experiment-tag", body, [("Content-Type", "application/json")])
        assert answer.status in (400, 403, 415), answer.text

    @pytest.mark.usefixtures("untouched")
    def test_nested_two_spellings(self, world):
        mine, theirs = start_trace(world.my_trace, world.mine), start_trace(world.their_trace, world.mine)
        for body in (
            {"trace": {"trace_info": mine["trace"]["trace_info"], "traceInfo": theirs["trace"]["trace_info"]}},
            {"trace": {"traceInfo": theirs["trace"]["trace_info"]}},
            start_trace(new_trace_id(), world.mine, traceId=world.their_trace),
            start_trace(new_trace_id(), world.mine, traceLocation={"type": "MLFLOW_EXPERIMENT", "mlflowExperiment": {"experimentId": world.theirs}}),
        ):
            answer = world.call("alice", "POST", "/api/3.0/mlflow/traces", body)
            assert_refused(answer, 400, 403)

    @pytest.mark.parametrize(
        "target, body",
        [("/api/2.0/mlflow/experiments/get", {"experiment_id": "{theirs}"}), ("/api/2.0/mlflow/runs/get", {"run_id": "{their_run}"}),
         ("/api/2.0/mlflow/runs/get?run_id={my_run}", {"run_id": "{their_run}"}), ("/api/3.0/mlflow/traces/get", {"trace_id": "{their_trace}"}),
         ("/api/3.0/mlflow/traces/get?trace_id={my_trace}", {"trace_id": "{their_trace}"}), ("/api/3.0/mlflow/traces/{my_trace}", {"trace_id": "{their_trace}"}),
         ("/api/3.0/mlflow/traces/batchGet", {"trace_ids": ["{their_trace}"]}), ("/api/2.0/mlflow/traces", {"experiment_ids": ["{theirs}"]}),
         ("/api/2.0/mlflow/artifacts/list", {"run_id": "{their_run}"}), ("/api/2.0/mlflow/experiments/get-by-name", {"experiment_name": "secret-lab"})],
    )
    def test_a_get_whose_body_says_something_else(self, world, target, body):
        """Without a query MLflow reads the body of a GET."""
        values = {key: value for key, value in vars(world).items() if isinstance(value, str)}
        body = json.dumps({key: [v.format(**values) for v in value] if isinstance(value, list) else value.format(**values) for key, value in body.items()})
        answer = world.call("alice", "GET", target.format(**values), body.encode(), [("Content-Type", "application/json")])
        if answer.status == 200:
            assert world.their_trace not in answer.text and world.their_run not in answer.text and "secret" not in answer.text
        else:
            assert answer.status in (400, 403, 404), answer.text

    @pytest.mark.parametrize(
        "headers",
        [[("Content-Type", "application/json")], [("Content-Type", "text/plain")], [], [("Content-Type", "application/x-protobuf"), ("Content-Encoding", "br")],
         [("Content-Type", "application/x-protobuf"), ("Content-Encoding", "gzip, gzip")], [("Content-Type", "application/x-protobuf"), ("Content-Encoding", "gzip"), ("Content-Encoding", "identity")],
         [("Content-Type", "application/x-protobuf"), ("Content-Type", "application/json")]],
        ids=["json", "text", "none", "brotli", "gzip-gzip", "gzip-identity", "two-types"],
    )
    @pytest.mark.usefixtures("untouched")
    def test_otlp_said_to_be_something_else(self, world, headers):
        answer = world.call("alice", "POST", "/v1/traces", wire.otlp(world.their_trace), [*headers, into(world.mine)])
        assert answer.status in (400, 403, 415), answer.text

    @pytest.mark.usefixtures("untouched")
    def test_otlp_followed_by_more(self, world):
        """Protobuf messages that stand one after the other are one message: the second part counts too."""
        answer = world.call("alice", "POST", "/v1/traces", wire.otlp(new_trace_id()) + wire.otlp(world.their_trace), [OTLP, into(world.mine)])
        assert answer.status in (200, 400, 403), answer.text

    @pytest.mark.usefixtures("untouched")
    def test_a_second_gzip_member(self, world):
        body = wire.gzip_of(wire.otlp(new_trace_id()), 1) + wire.gzip_of(wire.otlp(world.their_trace), 1)
        answer = world.call("alice", "POST", "/v1/traces", body, [OTLP, into(world.mine), ("Content-Encoding", "gzip")])
        assert answer.status in (200, 400, 403), answer.text


# --- 15-16: searching for what may not be read, and forged pages ---------------------------


LENAS_ORACLES = [
    {"filter": "trace.text LIKE '%seeded%'"}, {"filter": "metadata.`mlflow.traceInputs` LIKE '%s%'"}, {"filter": "request_metadata.`mlflow.traceInputs` LIKE '%s%'"},
    {"filter": "feedback.quality = 0.9"}, {"filter": "expectation.expected = 'x'"}, {"filter": "span.name = 'look_up'"}, {"filter": "span.content LIKE '%seeded%'"},
    {"filter": "span.attributes.x = 'y'"}, {"filter": "attributes.request_preview LIKE '%s%'"}, {"filter": "trace.request LIKE '%s%'"}, {"filter": "prompt = 'p/1'"}, {"filter": "attributes.run_id = 'x'"},
    {"order_by": ["metadata.`mlflow.traceInputs` ASC"]}, {"order_by": ["feedback.quality DESC"]}, {"order_by": ["request_metadata.`mlflow.traceOutputs`"]},
]


@pytest.mark.parametrize("question", LENAS_ORACLES, ids=lambda question: next(iter(question.values()))[:40] if isinstance(next(iter(question.values())), str) else "order:" + next(iter(question.values()))[0][:40])
@pytest.mark.parametrize("route", ["v3", "v2"])
def test_lena_cannot_search_by_what_she_may_not_read(world, question, route):
    if route == "v3":
        body = {"locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": world.mine}}], **question}
        answer = world.call("lena", "POST", "/api/3.0/mlflow/traces/search", body)
    else:
        from urllib.parse import quote

        query = f"filter={quote(question['filter'])}" if "filter" in question else f"order_by={quote(question['order_by'][0])}"
        answer = world.call("lena", "GET", f"/api/2.0/mlflow/traces?experiment_ids={world.mine}&{query}")
    assert_refused(answer, 400, 403)


@pytest.mark.parametrize("target", ["/api/3.0/mlflow/traces/metrics", "/api/3.0/mlflow/traces/calculate-filter-correlation"])
def test_lena_gets_no_aggregates(world, target):
    body = {"experiment_ids": [world.mine], "view_type": "TRACES", "metric_name": "trace_count", "aggregations": [{"aggregation_type": "COUNT"}],
            "filter_string1": "trace.text LIKE '%a%'", "filter_string2": "tags.a = 'b'"}
    assert_refused(world.call("lena", "POST", target, body), 403)


class TestPageTokens:
    TARGET = "/api/2.0/mlflow/experiments/search"

    @pytest.fixture(scope="class")
    def token(self, world, as_caller):
        for _ in range(3):
            as_caller("alice").run("create_experiment", name=f"page-{uuid.uuid4().hex[:8]}").value
        return world.call("alice", "POST", self.TARGET, {"max_results": 1}).json()["next_page_token"]

    def test_continue_ones_own_search(self, world, token):
        answer = world.call("alice", "POST", self.TARGET, {"max_results": 1, "page_token": token})
        assert answer.status == 200 and len(answer.json()["experiments"]) == 1

    def test_tell_nothing(self, token):
        for padding in ("", "=", "=="):
            try:
                assert b"offset" not in base64.urlsafe_b64decode(token + padding)
            except ValueError:
                pass

    def test_of_another_caller(self, world, token):
        for who in ("dave", "carol", "admin"):
            assert_refused(world.call(who, "POST", self.TARGET, {"max_results": 1, "page_token": token}), 400, 403)

    def test_of_another_question(self, world, token):
        body = {"max_results": 1, "page_token": token, "filter": "name LIKE '%'"}
        assert_refused(world.call("alice", "POST", self.TARGET, body), 400, 403)
        body = {"locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": world.mine}}], "page_token": token}
        assert_refused(world.call("alice", "POST", "/api/3.0/mlflow/traces/search", body), 400, 403)
        assert_refused(world.call("alice", "GET", f"/api/2.0/mlflow/registered-models/search?page_token={token}"), 400, 403)

    def test_altered(self, world, token):
        for place in (0, len(token) // 2, len(token) - 2):
            other = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
            assert_refused(world.call("alice", "POST", self.TARGET, {"max_results": 1, "page_token": other}), 400, 403)
        for other in (token[:-1], token + "A", token + token, token[::-1]):
            assert_refused(world.call("alice", "POST", self.TARGET, {"max_results": 1, "page_token": other}), 400, 403)

    @pytest.mark.parametrize("content", ['{"offset": 0}', '{"offset": 1}', '{"offset":-1}', "0", ""])
    def test_forged_as_mlflows(self, world, content):
        token = base64.b64encode(content.encode()).decode()
        if token:
            assert_refused(world.call("alice", "POST", self.TARGET, {"max_results": 1, "page_token": token}), 400, 403)


# --- 17: races -----------------------------------------------------------------------------


class TestTwoWritersClaimOneTrace:
    @pytest.mark.parametrize("route", ["start", "otlp", "mixed"])
    def test_exactly_one_experiment_owns_it(self, world, route):
        rounds, barrier = 15, threading.Barrier(4)

        def write(who, experiment, trace_id, kind):
            barrier.wait(30)
            if kind == "start":
                return world.call(who, "POST", "/api/3.0/mlflow/traces", start_trace(trace_id, experiment)).status
            return world.call(who, "POST", "/v1/traces", wire.otlp(trace_id), [OTLP, into(experiment)]).status

        kinds = {"start": ("start", "start"), "otlp": ("otlp", "otlp"), "mixed": ("start", "otlp")}[route]
        with ThreadPoolExecutor(4) as pool:
            for _ in range(rounds):
                trace_id = new_trace_id()
                mine = [pool.submit(write, "alice", world.mine, trace_id, kind) for kind in kinds]
                theirs = [pool.submit(write, "dave", world.theirs, trace_id, kind) for kind in kinds[::-1]]
                mine, theirs = ([future.result(60) for future in futures] for futures in (mine, theirs))
                # One side is let in (each time it asks), the other is refused (each time).
                winners = [experiment for statuses, experiment in ((mine, world.mine), (theirs, world.theirs)) if 200 in statuses]
                assert len(winners) == 1, (mine, theirs)
                assert set(mine if winners == [world.theirs] else theirs) == {403}, (mine, theirs)
                location = world.info(trace_id)["trace_location"]
                assert location["mlflow_experiment"]["experiment_id"] == winners[0]


# --- 19: memory ----------------------------------------------------------------------------


class TestBombs:
    MEBIBYTE = 1024 * 1024
    ALLOWED_GROWTH_KIB = 96 * 1024

    def send(self, world, body, encoding="gzip"):
        headers = [OTLP, into(world.mine)] + ([("Content-Encoding", encoding)] if encoding else [])
        before = world.server.memory_kib("VmRSS")
        answer = world.call("alice", "POST", "/v1/traces", body, headers)
        peak = world.server.memory_kib("VmHWM")
        return answer, peak - before

    def reset_peak(self, world):
        # Linux: sets VmHWM back to the present size.
        with open(f"/proc/{world.server.pid}/clear_refs", "w") as file:
            file.write("5")

    @pytest.mark.parametrize("kind", ["zeros", "one huge attribute", "many tiny spans"])
    def test_memory_stays_flat(self, world, kind):
        self.reset_peak(world)
        if kind == "zeros":
            body = wire.gzip_of(bytes(self.MEBIBYTE), 1024)
        elif kind == "one huge attribute":
            # resource_spans { scope_spans { spans { name = … } } }, each longer than the whole limit
            def field(number, length):
                out, value = bytes([number << 3 | 2]), length
                while value >= 0x80:
                    out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
                return out + bytes([value])

            size = 1024 * self.MEBIBYTE
            head = field(1, size + 18) + field(2, size + 12) + field(2, size + 6) + field(5, size)
            body = wire.gzip_of(head, 1) + wire.gzip_of(b"a" * self.MEBIBYTE, 1024)
        else:
            # Two bytes each, an empty span: tens of millions of them.
            size = 64 * self.MEBIBYTE
            length = b""
            value = size
            while value >= 0x80:
                length, value = length + bytes([value & 0x7F | 0x80]), value >> 7
            inner = b"\x12" + length + bytes([value])
            outer = size + len(inner)
            length, value = b"", outer
            while value >= 0x80:
                length, value = length + bytes([value & 0x7F | 0x80]), value >> 7
            head = b"\x0a" + length + bytes([value]) + inner
            body = wire.gzip_of(head, 1) + wire.gzip_of(b"\x12\x00" * (self.MEBIBYTE // 2), 64)
        answer, growth = self.send(world, body)
        assert answer.status in (400, 413), f"{answer.status}: {answer.text[:300]}"
        assert growth < self.ALLOWED_GROWTH_KIB, f"grew by {growth // 1024} MiB"
        assert world.call("alice", "GET", "/health").status == 200

    def test_a_refused_body_says_which_limit(self, world):
        answer, _ = self.send(world, wire.gzip_of(bytes(self.MEBIBYTE), 1024))
        if answer.status == 413:
            assert re.search(r"limits?\.", answer.text), answer.text


class TestPagesOfOtherSites:
    """A browser sends Basic credentials along with whatever page asks it to."""

    @pytest.mark.parametrize("headers", [
        [("Origin", "https://evil.example")], [("Origin", "null")], [("Sec-Fetch-Site", "cross-site")],
    ])
    def test_get_nothing_done(self, world, headers):
        body = {"experiment_id": world.mine, "key": "forged", "value": "x"}
        answer = world.call("alice", "POST", "/api/2.0/mlflow/experiments/set-experiment-tag", body, headers)
        assert_refused(answer, 403, code="PERMISSION_DENIED")

    def test_our_own_pages_do(self, world):
        body = {"experiment_id": world.mine, "key": "own", "value": "x"}
        headers = [("Origin", world.url), ("Sec-Fetch-Site", "same-origin")]
        assert world.call("alice", "POST", "/api/2.0/mlflow/experiments/set-experiment-tag", body, headers).status == 200


class TestTracesOlderThanTracegate:
    def test_are_nobodys_own(self, world):
        """Who may only ingest does not take over a trace that was there before."""
        old = new_trace_id()
        made = world.truth("POST", "/api/3.0/mlflow/traces", json=start_trace(old, world.mine, metadata={"mlflow.user": "somebody"}))
        assert made.status_code == 200
        assert_refused(world.call("agent", "POST", "/api/3.0/mlflow/traces", start_trace(old, world.mine)), 403)
        tag = world.call("agent", "PATCH", f"/api/3.0/mlflow/traces/{old}/tags", {"key": "k", "value": "v"})
        assert_refused(tag, 403)
        payload = world.call("agent", "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{world.mine}/traces/{old}/artifacts/traces.json", b"{}")
        assert_refused(payload, 403)
        # Spans into any trace of the experiment are what an ingester is for; they make it nobody's own either.
        assert world.call("agent", "POST", "/v1/traces", wire.otlp(old), [OTLP, into(world.mine)]).status == 200
        assert_refused(world.call("agent", "PATCH", f"/api/3.0/mlflow/traces/{old}/tags", {"key": "k", "value": "v"}), 403)
