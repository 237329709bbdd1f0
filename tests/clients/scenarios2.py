"""What MLflow 2.22 users do: its own trace routes (2.0), with ids that the server mints."""

import mlflow
from mlflow import MlflowClient


def client():
    return MlflowClient()


def write_trace(experiment_name, text="hello"):
    mlflow.set_experiment(experiment_name)

    @mlflow.trace
    def inner(question):
        return question.upper()

    @mlflow.trace(name="answer")
    def answer(question):
        return inner(question)

    answer(text)
    mlflow.flush_trace_async_logging()
    return mlflow.get_last_active_trace_id()


def get_trace(trace_id):
    trace = client().get_trace(trace_id)
    return {
        "experiment": trace.info.experiment_id,
        "metadata": trace.info.request_metadata,
        "tags": trace.info.tags,
        "spans": [span.name for span in trace.data.spans],
    }


def search_traces(experiment_ids):
    return [trace.info.request_id for trace in client().search_traces(experiment_ids=experiment_ids)]


def set_trace_tag(trace_id, key="team", value="red"):
    client().set_trace_tag(trace_id, key, value)


def delete_trace_tag(trace_id, key):
    client().delete_trace_tag(trace_id, key)


def delete_trace(experiment_id, trace_id):
    return client().delete_traces(experiment_id=experiment_id, request_ids=[trace_id])


def full_run(experiment_id):
    with mlflow.start_run(experiment_id=experiment_id) as run:
        mlflow.log_metric("loss", 0.25)
        mlflow.log_param("epochs", 3)
        mlflow.set_tag("stage", "test")
        mlflow.log_text("hello", "notes/a.txt")
    return run.info.run_id


def get_run(run_id):
    return client().get_run(run_id).data.metrics


def list_artifacts(run_id):
    return [item.path for item in client().list_artifacts(run_id)]


def find_experiment(name):
    found = client().get_experiment_by_name(name)
    return found.experiment_id if found else None


def search_experiments():
    return [experiment.name for experiment in client().search_experiments()]
