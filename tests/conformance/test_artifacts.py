"""Artifacts through the server: files, folders, ranges, what must not be reached; what any server says of itself."""

import pytest

from inputs import UNKNOWN_ID
from mirror import part


@pytest.fixture
def run(m, experiment):
    return m.post("runs/create", experiment_id=experiment, start_time=1, run_name="files")["run"]["info"]["run_id"]


def put(m, root, path, body, kind="text/plain"):
    return m.call("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{root}/{path}", body=body, headers={"Content-Type": kind})


def test_files(m, experiment, run):
    root = f"{experiment}/{run}/artifacts"
    for path, body in [("a.txt", b"hello"), ("deep/er/b.json", b'{"a": 1}'), ("empty", b""), ("binary.bin", bytes(range(256))), (part("ü ✓.txt"), b"x"), ("page.html", b"<html>"), ("a.txt", b"again"), ("no-extension", b"x"), ("x.tar.gz", b"x"), ("image.png", b"x"), ("MLmodel", b"a: 1"), ("code.py", b"1")]:
        put(m, root, path, body)
        m.get(f"/api/2.0/mlflow-artifacts/artifacts/{root}/{path}")
        m.get("/get-artifact", run_id=run, path=path)
    for path in (None, "deep", "deep/er", "a.txt", "nobody", "", "/", "..", "deep/", "deep/../deep"):
        m.get("artifacts/list", {"run_id": run, **({"path": path} if path is not None else {})})
        m.get("/api/2.0/mlflow-artifacts/artifacts", {"path": f"{root}/{path or ''}"})
    m.get("artifacts/list", run_uuid=run)
    m.get("artifacts/list", run_id=UNKNOWN_ID)
    m.get("artifacts/list", {})
    m.get("/get-artifact", run_id=run, path="nobody")
    m.get("/get-artifact", run_id=run)
    m.get("/get-artifact", run_id=UNKNOWN_ID, path="a.txt")
    m.get("/get-artifact", run_id=run, path="../../x")
    m.get("/api/2.0/mlflow-artifacts/artifacts")
    m.get("/api/2.0/mlflow-artifacts/artifacts", path="nobody")
    m.get(f"/api/2.0/mlflow-artifacts/artifacts/{root}/nobody")
    m.call("GET", f"/api/2.0/mlflow-artifacts/artifacts/{root}/binary.bin", headers={"Range": "bytes=10-19"})
    m.call("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{root}/a.txt")
    m.get(f"/api/2.0/mlflow-artifacts/artifacts/{root}/a.txt")
    m.call("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{root}/nobody")
    m.call("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{root}/deep")
    m.get("artifacts/list", run_id=run)


def test_what_must_not_be_reached(m, experiment, run):
    for path in ("../x", "..%2fx", "%2e%2e/x", "a/../../x", "a%00b", "a//b", "%2fetc%2fpasswd", "a\\..\\b", "C:x", "~", "a%23b", "a%3fb"):
        put(m, f"{experiment}/{run}/artifacts", path, b"x")
        m.get(f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/{path}")
    m.get("/api/2.0/mlflow-artifacts/artifacts", path="../..")


def test_uploads_in_parts(m, experiment, run):
    for action in ("create", "complete", "abort"):
        m.post(f"/api/2.0/mlflow-artifacts/mpu/{action}/{experiment}/{run}/artifacts/big", path="big", num_parts=2, upload_id="x", parts=[])
    m.get(f"/api/2.0/mlflow-artifacts/presigned/{experiment}/{run}/artifacts/big")


def test_upload_of_pages(m, run):
    m.call("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=ui/x.txt", body=b"from a page", headers={"Content-Type": "text/plain"})
    m.call("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}", body=b"x", headers={"Content-Type": "text/plain"})
    m.call("POST", "/ajax-api/2.0/mlflow/upload-artifact?path=x", body=b"x", headers={"Content-Type": "text/plain"})
    m.call("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=ui/y.txt", body=b"", headers={"Content-Type": "text/plain"})
    m.get("artifacts/list", run_id=run, path="ui")


def test_the_server_itself(m):
    m.get("/health")
    m.get("/version")
    m.get("/api/3.0/mlflow/server-info")
    m.get("/ajax-api/3.0/mlflow/server-info")
