"""Experiments whose artifacts and spans lie in a volume: every door to the same payload, tried by callers of every kind of
privilege on the experiment and on the volume. `UPDATE_GOLDEN=1` writes the table of answers anew."""

import os
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.service import catalog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from harness import processes
from harness.caller import Caller

GOLDEN = Path(__file__).parent.parent / "golden" / "payload_matrix.txt"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("payload")
    outside = directory / "outside"
    outside.mkdir()
    started = processes.start_demo(directory / "gate", None, TRACEGATE__LAKE__EXTERNAL_DIRECTORIES=f'["{outside}"]')
    started.directory, started.outside = directory, outside
    yield started
    started.stop()


@pytest.fixture(scope="module")
def people(server):
    started = {}

    def get(who):
        if who not in started:
            environment = {
                "MLFLOW_TRACKING_URI": "databricks", "DATABRICKS_HOST": server.url,
                "DATABRICKS_TOKEN": server.details["tokens"][who], "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
                "MLFLOW_ASYNC_TRACE_LOGGING_RETRY_TIMEOUT": "5", "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
            }
            started[who] = Caller(who, environment, "databricks_worker", server.directory / f"{who}.log")
        return started[who]

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
def admin(server):
    return WorkspaceClient(config=Config(host=server.url, token=server.details["tokens"]["admin"], auth_type="pat"))


def grant(admin, kind, name, who, *privileges, remove=()):
    change = catalog.PermissionsChange(
        principal=who, add=[catalog.Privilege(one) for one in privileges], remove=[catalog.Privilege(one) for one in remove]
    )
    admin.grants.update(securable_type=kind, full_name=name, changes=[change])


@pytest.fixture(scope="module")
def volume(admin):
    name = f"pay_{uuid.uuid4().hex[:8]}"
    admin.catalogs.create(name=name)
    admin.schemas.create(name="s", catalog_name=name)
    for own in ("v", "other"):
        admin.volumes.create(catalog_name=name, schema_name="s", name=own, volume_type=catalog.VolumeType.MANAGED)
    for who in ("alice", "bob"):
        grant(admin, "catalog", name, who, "USE_CATALOG")
        grant(admin, "schema", f"{name}.s", who, "USE_SCHEMA")
    grant(admin, "volume", f"{name}.s.v", "alice", "READ_VOLUME", "WRITE_VOLUME")
    return f"{name}.s.v"


@pytest.fixture(scope="module")
def root(volume):
    return f"/Volumes/{volume.replace('.', '/')}/team"


def export(trace):
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = bytes.fromhex(trace[3:]), os.urandom(8), "by otlp"
    span.start_time_unix_nano, span.end_time_unix_nano = 1_700_000_000_000_000_000, 1_700_000_000_500_000_000
    return request.SerializeToString()


@pytest.fixture(scope="module")
def held(people, raw, root):
    """An experiment of alice's in the volume, with a trace of each kind and a run with a file."""
    alice = people("alice")
    experiment = alice.run("create", name=f"pay-{uuid.uuid4().hex[:8]}", location=f"dbfs:{root}").value
    by_file = alice.run("trace", experiment_id=experiment, text="in the volume").value
    by_otlp = f"tr-{uuid.uuid4().hex}"
    sent = raw("alice", "POST", "/v1/traces", data=export(by_otlp),
               headers={"content-type": "application/x-protobuf", "x-mlflow-experiment-id": experiment})
    assert sent.status_code == 200, sent.text
    run = alice.run("log", experiment_id=experiment, text="artifact").value
    return {"experiment": experiment, "file": by_file, "otlp": by_otlp, "run": run["run_id"], "uri": run["uri"]}


def doors(held, root):
    """Name, kind, method, path and what is sent: `metadata`, `read` or `write` of the payload through the experiment,
    `file_read` or `file_write` through the volume alone."""
    e, file, otlp, run = held["experiment"], held["file"], held["otlp"], held["run"]
    traces, internal = "/api/3.0/mlflow/traces", f"/WorkspaceInternal/Mlflow/Artifacts/{e}/Runs/{run}/artifacts"
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": e}}
    search = {"locations": [location], "max_results": 5}
    get = lambda name, kind, path: (name, kind, "GET", path, {})
    post = lambda name, kind, path, body: (name, kind, "POST", path, {"json": body})
    otlp_headers = {"content-type": "application/x-protobuf", "x-mlflow-experiment-id": e}
    return [
        get("experiments/get", "view", f"/api/2.0/mlflow/experiments/get?experiment_id={e}"),
        get("traces/ID", "metadata", f"{traces}/{file}"),
        post("traces/search", "metadata", f"{traces}/search", search),
        post("traces/batchGetInfos", "metadata", f"{traces}/batchGetInfos", {"trace_ids": [file]}),
        post("traces/search by spans", "read", f"{traces}/search", {**search, "filter": "span.name = 'by otlp'"}),
        post("traces/search by text", "read", f"{traces}/search", {**search, "filter": "trace.text LIKE '%otlp%'"}),
        get("traces/get", "read", f"{traces}/get?trace_id={otlp}"),
        get("traces/batchGet", "read", f"{traces}/batchGet?trace_ids={otlp}"),
        get("get-trace-artifact, spans here", "read", f"/ajax-api/3.0/mlflow/get-trace-artifact?request_id={otlp}"),
        get("get-trace-artifact, file", "read", f"/ajax-api/3.0/mlflow/get-trace-artifact?request_id={file}"),
        get("get-trace-artifact of 2.0", "read", f"/ajax-api/2.0/mlflow/get-trace-artifact?request_id={file}"),
        get("credentials-for-data-download", "read", f"/api/2.0/mlflow/traces/{otlp}/credentials-for-data-download"),
        get("trace-data", "read", f"/api/2.0/fs/trace-data/{otlp}"),
        post("traces/metrics", "read", f"{traces}/metrics",
             {"experiment_ids": [e], "view_type": "TRACES", "metric_name": "trace_count", "aggregations": [{"aggregation_type": "COUNT"}]}),
        get("artifacts/list", "read", f"/api/2.0/mlflow/artifacts/list?run_id={run}"),
        get("get-artifact", "read", f"/get-artifact?run_id={run}&path=some/where/deep.txt"),
        post("credentials-for-read", "read", "/api/2.0/mlflow/artifacts/credentials-for-read", {"run_id": run, "path": ["x"]}),
        get("files, by the run", "read", f"/api/2.0/fs/files{internal}/some/where/deep.txt"),
        post("graphql artifacts", "read", "/graphql", {
            "operationName": "X",
            "query": f'query X {{ mlflowListArtifacts(input: {{runId: "{run}"}}) {{ files {{ path }} }} }}',
        }),
        get("files, by the volume", "file_read", f"/api/2.0/fs/files{root}/traces/{file}/artifacts/traces.json"),
        get("directories, by the volume", "file_read", f"/api/2.0/fs/directories{root}/traces"),
        post("create-download-url", "file_read", f"/api/2.0/fs/create-download-url?path={root}/traces/{file}/artifacts/traces.json", None),
        post("traces (start)", "start", traces, {"trace": {"trace_info": {
            "trace_id": f"tr-{uuid.uuid4().hex}", "trace_location": location, "request_time": "2026-01-01T00:00:00Z", "state": "OK",
        }}}),
        ("v1/traces", "write", "POST", "/v1/traces", {"data": export(f"tr-{uuid.uuid4().hex}"), "headers": otlp_headers}),
        get("credentials-for-data-upload", "write", f"/api/2.0/mlflow/traces/{otlp}/credentials-for-data-upload"),
        ("trace-data PUT", "write", "PUT", f"/api/2.0/fs/trace-data/{otlp}", {"data": b'{"spans": []}'}),
        post("credentials-for-write", "write", "/api/2.0/mlflow/artifacts/credentials-for-write", {"run_id": run, "path": ["x"]}),
        ("upload-artifact", "write", "POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=x", {"data": b"x"}),
        ("files PUT, by the run", "write", "PUT", f"/api/2.0/fs/files{internal}/x?overwrite=true", {"data": b"x"}),
        ("files PUT, by the volume", "file_write", "PUT", f"/api/2.0/fs/files{root}/x?overwrite=true", {"data": b"x"}),
        ("files DELETE, by the volume", "file_write", "DELETE", f"/api/2.0/fs/files{root}/x", {}),
    ]


ROWS = [
    (level, privileges)
    for level in (None, "CAN_LIST", "CAN_INGEST", "CAN_READ", "CAN_EDIT")
    for privileges in ((), ("READ_VOLUME",), ("WRITE_VOLUME",), ("READ_VOLUME", "WRITE_VOLUME"))
]


class holding:
    """Bob with a level on the experiment and privileges on the volume, and nothing else, for a while."""

    def __init__(self, raw, admin, held, volume, level, privileges):
        self.raw, self.admin, self.held, self.volume = raw, admin, held, volume
        self.level, self.privileges = level, privileges

    def __enter__(self):
        if self.level:
            body = {"principal": "user:bob", "securable": f"experiment:{self.held['experiment']}", "privilege": self.level}
            self.id = self.raw("alice", "POST", "/api/tracegate/v1/grants", json=body).json()["grant"]["id"]
        if self.privileges:
            grant(self.admin, "volume", self.volume, "bob", *self.privileges)

    def __exit__(self, *_):
        if self.level:
            self.raw("alice", "DELETE", f"/api/tracegate/v1/grants/{self.id}").raise_for_status()
        if self.privileges:
            grant(self.admin, "volume", self.volume, "bob", remove=self.privileges)


class TestDoors:
    def test_no_door_to_the_payload_is_wider_than_another(self, raw, admin, held, volume, root):
        tried = doors(held, root)
        width = max(len(door[0]) for door in tried) + 2
        text = ["Doors to the payload of an experiment in a volume, by what a caller has on the experiment and on the volume.", ""]
        names = [f"{level or '-'} {'+'.join(one[0] for one in privileges) or '-'}" for level, privileges in ROWS]
        text.append(" " * width + "  ".join(f"{name:>14}" for name in names))
        answers = {door[0]: [] for door in tried}
        for level, privileges in ROWS:
            with holding(raw, admin, held, volume, level, privileges):
                for name, kind, method, path, more in tried:
                    answer = raw("bob", method, path, **more)
                    # Our own store has no GraphQL, which it says to those alone who were let through.
                    through = answer.status_code < 300 or answer.status_code == 501 and "graphql" in name
                    said = "yes" if through or answer.status_code == 404 and "volume" not in answer.text and "RESOURCE_DOES_NOT" not in answer.text else "no"
                    assert said == "yes" or answer.status_code in (403, 404), (name, level, privileges, answer.status_code, answer.text)
                    reads, writes = "READ_VOLUME" in privileges, "WRITE_VOLUME" in privileges
                    edits, looks = level == "CAN_EDIT", level in ("CAN_READ", "CAN_EDIT")
                    must = {
                        "view": level is not None,
                        "read": looks and reads,
                        "file_read": reads,
                        "file_write": writes,
                        # What an agent that only ingests may write besides is in the table.
                        "write": edits and writes if level != "CAN_INGEST" else said == "yes" and writes,
                        "metadata": looks if level != "CAN_LIST" else said == "yes",
                        "start": edits or level == "CAN_INGEST",
                    }[kind]
                    if kind == "write" and level == "CAN_INGEST" and not writes:
                        must = False
                    assert (said == "yes") == must, (name, kind, level, privileges, answer.status_code, answer.text[:300])
                    answers[name].append(said)
        for name, row in answers.items():
            text.append(f"{name:<{width}}" + "  ".join(f"{said:>14}" for said in row))
        text = "\n".join(line.rstrip() for line in text) + "\n"
        if os.environ.get("UPDATE_GOLDEN"):
            GOLDEN.write_text(text)
        assert GOLDEN.read_text() == text

    def test_spans_and_artifacts_lie_in_the_volume_and_are_the_same_by_each_door(self, people, raw, held, root):
        alice = people("alice")
        assert held["uri"] == f"dbfs:{root}/{held['run']}/artifacts"
        by_volume = raw("alice", "GET", f"/api/2.0/fs/files{root}/traces/{held['file']}/artifacts/traces.json")
        by_trace = raw("alice", "GET", f"/ajax-api/3.0/mlflow/get-trace-artifact?request_id={held['file']}")
        assert by_volume.status_code == 200 and by_volume.content == by_trace.content
        assert len(alice.run("get", trace_id=held["file"]).value["spans"]) == 2
        assert alice.run("download", run_id=held["run"], path="some/where/deep.txt").value == "artifact"
        by_run = raw("alice", "GET", f"/get-artifact?run_id={held['run']}&path=some/where/deep.txt")
        assert by_run.content == b"artifact" and by_run.headers["content-type"] == "application/octet-stream"
        listed = raw("alice", "GET", f"/api/2.0/mlflow/artifacts/list?run_id={held['run']}&path=some").json()
        assert listed["files"] == [{"path": "some/where", "is_dir": True}] and listed["root_uri"] == held["uri"]

    def test_a_file_from_the_web_pages_lies_where_the_others_do(self, raw, held, root):
        def upload(path, data):
            return raw("alice", "POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={held['run']}{path}", data=data)

        sent = upload("&path=pages/x.txt", b"from a page")
        assert (sent.status_code, sent.content) == (200, b"")
        assert raw("alice", "GET", f"/api/2.0/fs/files{root}/{held['run']}/artifacts/pages/x.txt").content == b"from a page"
        largest = 10 * 1024 * 1024
        assert upload("&path=pages/large", b"x" * largest).status_code == 200
        for path, data in (("&path=pages/y", b"x" * (largest + 1)), ("&path=pages/y", b""), ("", b"x"), ("&path=../y", b"x"), ("&path=a/%252e%252e/y", b"x")):
            assert upload(path, data).status_code == 400, path
        listed = raw("alice", "GET", f"/api/2.0/mlflow/artifacts/list?run_id={held['run']}&path=pages").json()["files"]
        assert [one["path"] for one in listed] == ["pages/large", "pages/x.txt"]

    def test_urls_for_artifacts_are_good_for_both_ways_and_leave_the_trace_on_record(self, raw, held, root):
        def url(how):
            body = {"run_id": held["run"], "path": ["by/url.txt"]}
            info = raw("alice", "POST", f"/api/2.0/mlflow/artifacts/credentials-for-{how}", json=body).json()["credential_infos"][0]
            parts = urlsplit(info["signed_uri"])
            return f"{parts.path}?{parts.query}", {one["name"]: one["value"] for one in info["headers"]}

        path, headers = url("write")
        for data in (b"first", b"second"):
            assert raw(None, "PUT", path, headers=headers, data=data).status_code == 204
        assert raw(None, "GET", path, headers=headers).status_code == 401
        path, headers = url("read")
        assert raw(None, "GET", path, headers=headers).content == b"second"
        assert raw("alice", "GET", f"/api/2.0/fs/files{root}/{held['run']}/artifacts/by/url.txt").content == b"second"
        internal = f"/WorkspaceInternal/Mlflow/Artifacts/{held['experiment']}/Traces/{held['file']}/artifacts"
        read = raw("alice", "GET", f"/api/2.0/fs/files{internal}/traces.json")
        assert read.status_code == 200
        decision = read.headers["x-tracegate-decision-id"]
        events = raw("admin", "GET", f"/api/tracegate/v1/audit/events?trace_id={held['file']}").json()["events"]
        assert decision in [event["decision_id"] for event in events]

    def test_a_signed_url_ends_with_the_volume_too(self, raw, admin, held, volume):
        with holding(raw, admin, held, volume, "CAN_READ", ("READ_VOLUME",)):
            answer = raw("bob", "GET", f"/api/2.0/mlflow/traces/{held['otlp']}/credentials-for-data-download")
            info = answer.json()["credential_info"]
            path, headers = urlsplit(info["signed_uri"]).path, {one["name"]: one["value"] for one in info["headers"]}
            assert raw(None, "GET", path, headers=headers).status_code == 200
            grant(admin, "volume", volume, "bob", remove=["READ_VOLUME"])
            assert raw(None, "GET", path, headers=headers).status_code == 403


class TestRoots:
    def test_an_experiment_is_rooted_only_where_its_maker_may_write(self, raw, admin, volume, root, held):
        def create(who, location):
            return raw(who, "POST", "/api/2.0/mlflow/experiments/create", json={"name": uuid.uuid4().hex, "artifact_location": location})

        other = f"/Volumes/{volume.rsplit('.', 1)[0].replace('.', '/')}/other"
        hidden, missing = create("bob", f"dbfs:{other}/x"), create("bob", f"dbfs:{other}s/x")
        assert hidden.status_code == missing.status_code == 404, (hidden.text, missing.text)
        with holding(raw, admin, held, volume, None, ("READ_VOLUME",)):
            assert create("bob", f"dbfs:{root}-bob").status_code == 403
        with holding(raw, admin, held, volume, None, ("READ_VOLUME", "WRITE_VOLUME")):
            # In, above and at alice's, in any spelling of the names.
            upper = root.replace(volume.split(".")[0], volume.split(".")[0].upper())
            for taken in (root, f"{root}/deeper", root.rsplit("/", 1)[0], upper, f"{root}/"):
                assert create("bob", f"dbfs:{taken}").status_code == 403, taken
            for odd in (f"dbfs:{root}/../x", f"dbfs:/{root}", f"dbfs://x@databricks{root}", "dbfs:/Volumes/a/b", f"DBFS:{root}-x", f"dbfs:{root}%2f..%2fx"):
                assert create("bob", odd).status_code in (400, 403, 404), odd
            made = create("bob", f"dbfs:{root}-bob")
            assert made.status_code == 200, made.text

    def test_a_place_below_an_external_volume_counts_as_that_volume(self, raw, admin, server, people):
        """An administrator may name the place itself; the volume around it decides all the same."""
        name = f"ext_{uuid.uuid4().hex[:8]}"
        (server.outside / name / "v").mkdir(parents=True)
        admin.external_locations.create(name=name, url=f"file://{server.outside}/{name}", credential_name="local")
        admin.catalogs.create(name=name)
        admin.schemas.create(name="s", catalog_name=name)
        admin.volumes.create(catalog_name=name, schema_name="s", name="v", volume_type=catalog.VolumeType.EXTERNAL,
                             storage_location=f"file://{server.outside}/{name}/v")
        made = raw("admin", "POST", "/api/2.0/mlflow/experiments/create",
                   json={"name": uuid.uuid4().hex, "artifact_location": f"file://{server.outside}/{name}/v/e"})
        assert made.status_code == 200, made.text
        experiment, trace = made.json()["experiment_id"], f"tr-{uuid.uuid4().hex}"
        body = {"principal": "user:bob", "securable": f"experiment:{experiment}", "privilege": "CAN_EDIT"}
        assert raw("admin", "POST", "/api/tracegate/v1/grants", json=body).status_code == 200
        headers = {"content-type": "application/x-protobuf", "x-mlflow-experiment-id": experiment}
        assert raw("bob", "POST", "/v1/traces", data=export(trace), headers=headers).status_code == 403
        assert raw("admin", "POST", "/v1/traces", data=export(trace), headers=headers).status_code == 200
        assert raw("bob", "GET", f"/api/3.0/mlflow/traces/get?trace_id={trace}").status_code == 403
        assert raw("bob", "GET", f"/api/3.0/mlflow/traces/{trace}").status_code == 200
        for kind, full, privilege in (("catalog", name, "USE_CATALOG"), ("schema", f"{name}.s", "USE_SCHEMA"), ("volume", f"{name}.s.v", "READ_VOLUME")):
            grant(admin, kind, full, "bob", privilege)
        assert raw("bob", "GET", f"/api/3.0/mlflow/traces/get?trace_id={trace}").status_code == 200
        # And its artifacts lie at that place, not beside it.
        run = raw("admin", "POST", "/api/2.0/mlflow/runs/create", json={"experiment_id": experiment}).json()["run"]["info"]["run_id"]
        sent = raw("admin", "POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=x.txt", data=b"outside")
        assert sent.status_code == 200, sent.text
        assert (server.outside / name / "v" / "e" / run / "artifacts" / "x.txt").read_bytes() == b"outside"
        assert raw("bob", "GET", f"/get-artifact?run_id={run}&path=x.txt").content == b"outside"

    def test_spans_that_share_a_trace_do_not_come_in_by_another_experiment(self, raw, admin, held, volume):
        """With edit on both, but nothing on the volume: an export to one's own that continues a trace of the other."""
        mine = raw("bob", "POST", "/api/2.0/mlflow/experiments/create", json={"name": uuid.uuid4().hex}).json()["experiment_id"]
        headers = {"content-type": "application/x-protobuf", "x-mlflow-experiment-id": mine}
        with holding(raw, admin, held, volume, "CAN_EDIT", ("READ_VOLUME",)):
            assert raw("bob", "POST", "/v1/traces", data=export(held["otlp"]), headers=headers).status_code == 403
        with holding(raw, admin, held, volume, "CAN_EDIT", ("READ_VOLUME", "WRITE_VOLUME")):
            assert raw("bob", "POST", "/v1/traces", data=export(held["otlp"]), headers=headers).status_code == 200
