"""What MLflow's SDK does in Databricks mode with ordinary experiments; run as one caller by `harness/worker.py`."""

import os
import tempfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.tracing.attachments import Attachment


def use(name):
    return mlflow.set_experiment(name).experiment_id


def create(name, location):
    return mlflow.create_experiment(name, artifact_location=location)


def location(experiment_id):
    return mlflow.get_experiment(experiment_id).artifact_location


def trace(experiment_id, text="hello", attach=None):
    """A traced call with a nested one; the id of its trace."""
    mlflow.tracing.set_destination(mlflow.entities.trace_location.MlflowExperimentLocation(experiment_id))

    @mlflow.trace(span_type="RETRIEVER", attributes={"top": 3, "share": 0.25})
    def look_up(question):
        return [{"about": question, "sure": True, "none": None}]

    @mlflow.trace
    def answer(question):
        if attach is not None:
            look_up(Attachment(content_type="text/plain", content_bytes=attach.encode()))
        return look_up(question)

    answer(text)
    mlflow.flush_trace_async_logging()
    return mlflow.get_last_active_trace_id()


def get(trace_id):
    found = MlflowClient().get_trace(trace_id)
    return {
        "spans": sorted((span.name, span.span_type) for span in found.data.spans),
        "inputs": {span.name: span.inputs for span in found.data.spans},
        "outputs": {span.name: span.outputs for span in found.data.spans},
        "attributes": {span.name: {key: span.get_attribute(key) for key in ("top", "share")} for span in found.data.spans},
        "tags": dict(found.info.tags),
    }


def search(experiment_id, include_spans=True):
    found = mlflow.search_traces(locations=[experiment_id], return_type="list", include_spans=include_spans)
    return {one.info.trace_id: len(one.data.spans) for one in found}


def log(experiment_id, text="hello", size=None):
    """A run with two artifacts, one in a directory; and a large one, if a size is given."""
    with mlflow.start_run(experiment_id=experiment_id) as run, tempfile.TemporaryDirectory() as directory:
        for name, below in (("a b.txt", None), ("deep.txt", "some/where")):
            (Path(directory) / name).write_text(text)
            mlflow.log_artifact(str(Path(directory) / name), below)
        if size:
            (Path(directory) / "large.bin").write_bytes(os.urandom(size))
            mlflow.log_artifact(str(Path(directory) / "large.bin"))
        return {"run_id": run.info.run_id, "uri": run.info.artifact_uri}


def list_artifacts(run_id, path=None):
    return sorted((one.path, one.is_dir, one.file_size) for one in MlflowClient().list_artifacts(run_id, path))


def download(run_id, path):
    with tempfile.TemporaryDirectory() as directory:
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path, dst_path=directory)).read_bytes().decode("latin-1")


def log_into(run_id, text):
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "evil.txt").write_text(text)
        MlflowClient().log_artifact(run_id, str(Path(directory) / "evil.txt"))


def model(experiment_id):
    """A logged model with a file among its artifacts, written and read back."""
    client = MlflowClient()
    made = client.create_logged_model(experiment_id=experiment_id, name="m")
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "weights.txt").write_text("w")
        client.log_model_artifacts(made.model_id, directory)
        client.finalize_logged_model(made.model_id, "READY")
        listed = sorted(one.path for one in client.list_logged_model_artifacts(made.model_id))
        back = mlflow.artifacts.download_artifacts(artifact_uri=client.get_logged_model(made.model_id).artifact_location, dst_path=directory + "/back")
        return {"model_id": made.model_id, "uri": client.get_logged_model(made.model_id).artifact_location,
                "listed": listed, "text": (Path(back) / "weights.txt").read_text()}
