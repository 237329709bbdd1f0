"""What MLflow 3.17 users do, as functions; each runs in a client process (`harness/worker.py`).

They use the SDK as its documentation says, take and return plain JSON values, and know nothing
of who calls: whether a call is allowed is the test's business.
"""

import contextlib
import os
import tempfile
import time
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, AssessmentSourceType

HUMAN = AssessmentSourceType.HUMAN


def client():
    return MlflowClient()


@contextlib.contextmanager
def tracing_into(experiment_id, asynchronous=False):
    """Sends traces to an experiment, without the look-up that `mlflow.set_experiment` makes.

    The exporter is chosen when tracing starts, so a change of that setting means a restart of it.
    """
    wanted = "true" if asynchronous else "false"
    if os.environ.get("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING") != wanted:
        os.environ["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"] = wanted
        mlflow.tracing.reset()
    mlflow.tracing.set_destination(mlflow.entities.trace_location.MlflowExperimentLocation(experiment_id))
    yield
    if asynchronous:
        mlflow.flush_trace_async_logging()


def plain(value):
    """Pandas and entity values as JSON ones."""
    return value.to_dictionary() if hasattr(value, "to_dictionary") else value


# --- traces -------------------------------------------------------------------------------


def set_experiment(name):
    return mlflow.set_experiment(name).experiment_id


def write_trace(experiment_id, text="hello", asynchronous=False, tags=None):
    """Nested `@mlflow.trace` spans; returns the id that the SDK gave the trace."""
    with tracing_into(experiment_id, asynchronous):

        @mlflow.trace(span_type="TOOL")
        def look_up(question):
            return f"document about {question}"

        @mlflow.trace(span_type="LLM")
        def generate(question, document):
            with mlflow.start_span("rerank") as span:
                span.set_inputs({"document": document})
                span.set_outputs({"score": 0.5})
            return f"answer: {question}"

        @mlflow.trace(name="answer", span_type="AGENT")
        def answer(question):
            if tags:
                mlflow.update_current_trace(tags=tags)
            return generate(question, look_up(question))

        answer(text)
        return mlflow.get_last_active_trace_id()


def write_large_trace(experiment_id, megabytes):
    with tracing_into(experiment_id), mlflow.start_span("large") as span:
        span.set_inputs({"prompt": "in"})
        span.set_outputs({"text": "x" * (megabytes * 1024 * 1024)})
    return mlflow.get_last_active_trace_id()


def write_many_traces(experiment_id, count):
    """One trace after the other, as fast as the server lets; returns their ids."""
    written = []
    with tracing_into(experiment_id):
        for number in range(count):
            with mlflow.start_span("turn") as span:
                span.set_inputs({"number": number})
            written.append(mlflow.get_last_active_trace_id())
    return written


def write_trace_claiming_user(experiment_id, user, session_user):
    with tracing_into(experiment_id), mlflow.start_span("claims") as span:
        span.set_inputs({"a": 1})
        mlflow.update_current_trace(metadata={"mlflow.user": user, "mlflow.trace.user": session_user})
    return mlflow.get_last_active_trace_id()


def write_trace_of(experiment_id, session, user):
    """A trace that says whose it is, in the way that MLflow's documentation says."""
    with tracing_into(experiment_id), mlflow.start_span("turn") as span:
        span.set_inputs({"question": "where is my order?"})
        span.set_outputs({"answer": "on its way"})
        mlflow.update_current_trace(metadata={"mlflow.trace.session": session, "mlflow.trace.user": user})
    return mlflow.get_last_active_trace_id()


def get_trace(trace_id):
    trace = client().get_trace(trace_id)
    return {
        "id": trace.info.trace_id,
        "experiment": trace.info.experiment_id,
        "state": str(trace.info.state),
        "metadata": trace.info.trace_metadata,
        "tags": trace.info.tags,
        "request_preview": trace.info.request_preview,
        "assessments": [a.to_dictionary() for a in trace.info.assessments],
        "spans": {span.name: {"inputs": span.inputs, "outputs_size": len(str(span.outputs))} for span in trace.data.spans},
    }


def search_traces(experiment_ids, full=True, filter_string=None, order_by=None, max_results=500):
    found = mlflow.search_traces(
        locations=experiment_ids,
        include_spans=full,
        filter_string=filter_string,
        order_by=order_by,
        max_results=max_results,
        return_type="list",
    )
    return [
        {
            "id": trace.info.trace_id,
            "experiment": trace.info.experiment_id,
            "request_preview": trace.info.request_preview,
            "response_preview": trace.info.response_preview,
            "metadata": trace.info.trace_metadata,
            "tags": trace.info.tags,
            "assessments": len(trace.info.assessments or []),
            "spans": len(trace.data.spans) if trace.data else 0,
        }
        for trace in found
    ]


def set_trace_tag(trace_id, key="team", value="red"):
    client().set_trace_tag(trace_id, key, value)


def delete_trace_tag(trace_id, key):
    client().delete_trace_tag(trace_id, key)


def delete_trace(experiment_id, trace_id):
    return client().delete_traces(experiment_id=experiment_id, trace_ids=[trace_id])


def delete_old_traces(experiment_id):
    """Deletes by time, the other form of the same call."""
    return client().delete_traces(
        experiment_id=experiment_id, max_timestamp_millis=int(time.time() * 1000), max_traces=1
    )


# --- assessments --------------------------------------------------------------------------


def log_feedback(trace_id, name="quality", value=0.9, source_type=HUMAN, source_id="somebody"):
    source = AssessmentSource(source_type=source_type, source_id=source_id)
    return plain(mlflow.log_feedback(trace_id=trace_id, name=name, value=value, source=source, rationale="seen"))


def log_expectation(trace_id, name="expected", value="an answer"):
    return plain(
        mlflow.log_expectation(
            trace_id=trace_id, name=name, value=value,
            source=AssessmentSource(source_type=HUMAN, source_id="somebody"),
        )
    )


def get_assessment(trace_id, assessment_id):
    return plain(mlflow.get_assessment(trace_id, assessment_id))


def update_feedback(trace_id, assessment_id, value):
    from mlflow.entities import Feedback

    return plain(mlflow.update_assessment(trace_id, assessment_id, Feedback(name="quality", value=value)))


def override_feedback(trace_id, assessment_id, value):
    return plain(
        mlflow.override_feedback(
            trace_id=trace_id, assessment_id=assessment_id, value=value,
            source=AssessmentSource(source_type=HUMAN, source_id="somebody"),
        )
    )


def delete_assessment(trace_id, assessment_id):
    mlflow.delete_assessment(trace_id, assessment_id)


# --- experiments --------------------------------------------------------------------------


def create_experiment(name, artifact_location=None):
    return client().create_experiment(name, artifact_location=artifact_location)


def get_experiment(experiment_id):
    return client().get_experiment(experiment_id).name


def find_experiment(name):
    found = client().get_experiment_by_name(name)
    return found.experiment_id if found else None


def search_experiments(max_results=1000, filter_string=None):
    token, names = None, []
    while True:
        page = client().search_experiments(max_results=max_results, page_token=token, filter_string=filter_string)
        names += [experiment.name for experiment in page]
        token = page.token
        if not token:
            return names


def rename_experiment(experiment_id, name):
    client().rename_experiment(experiment_id, name)


def set_experiment_tag(experiment_id, key="owner", value="us"):
    client().set_experiment_tag(experiment_id, key, value)


def delete_experiment(experiment_id):
    client().delete_experiment(experiment_id)


# --- runs and artifacts -------------------------------------------------------------------


def create_run(experiment_id):
    return client().create_run(experiment_id).info.run_id


def full_run(experiment_id):
    """A training run as people write it: metrics, parameters, tags, files, a trace inside."""
    with tracing_into(experiment_id), mlflow.start_run(experiment_id=experiment_id) as run:
        mlflow.log_metric("loss", 0.25)
        mlflow.log_metrics({"precision": 0.5, "recall": 0.75})
        mlflow.log_param("epochs", 3)
        mlflow.set_tag("stage", "test")
        mlflow.log_text("hello", "notes/a.txt")
        mlflow.log_dict({"x": 1}, "x.json")
        with mlflow.start_span("inside") as span:
            span.set_inputs({"q": 1})
    return run.info.run_id


def get_run(run_id):
    run = client().get_run(run_id)
    return {"metrics": run.data.metrics, "params": run.data.params, "tags": run.data.tags, "user": run.info.user_id}


def search_runs(experiment_ids):
    return [run.info.run_id for run in client().search_runs(experiment_ids)]


def log_metric(run_id):
    client().log_metric(run_id, "later", 1.0)


def log_param(run_id, key):
    client().log_param(run_id, key, "1")


def set_run_tag(run_id):
    client().set_tag(run_id, "later", "yes")


def delete_run(run_id):
    client().delete_run(run_id)


def metric_history(run_id, key="loss"):
    return [metric.value for metric in client().get_metric_history(run_id, key)]


def log_artifact(run_id, text="from a file"):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "late.txt"
        path.write_text(text)
        client().log_artifact(run_id, str(path), "late")


def list_artifacts(run_id, path=None):
    return [item.path for item in client().list_artifacts(run_id, path)]


def download_artifact(run_id, path):
    with tempfile.TemporaryDirectory() as directory:
        return Path(client().download_artifacts(run_id, path, directory)).read_text()


# --- models, prompts, scorers, datasets ---------------------------------------------------


def create_logged_model(experiment_id, name):
    model = client().create_logged_model(experiment_id, name=name)
    client().finalize_logged_model(model.model_id, "READY")
    return model.model_id


def get_logged_model(model_id):
    return client().get_logged_model(model_id).name


def search_logged_models(experiment_ids):
    return [model.model_id for model in client().search_logged_models(experiment_ids=experiment_ids)]


def delete_logged_model(model_id):
    client().delete_logged_model(model_id)


def register_prompt(name, template="Answer {{question}}"):
    return mlflow.genai.register_prompt(name=name, template=template).version


def load_prompt(name, version=1):
    prompt = mlflow.genai.load_prompt(f"prompts:/{name}/{version}", allow_missing=False, cache_ttl_seconds=0)
    return prompt.template


def search_prompts():
    return [prompt.name for prompt in mlflow.genai.search_prompts()]


def delete_prompt(name):
    for version in client().search_prompt_versions(name):
        client().delete_prompt_version(name, str(version.version))
    client().delete_prompt(name)


def register_scorer(experiment_id, name):
    scorer = mlflow.genai.scorers.Guidelines(name=name, guidelines=["be kind"], model="openai:/none")
    return scorer.register(experiment_id=experiment_id, name=name).name


def list_scorers(experiment_id):
    return [scorer.name for scorer in mlflow.genai.scorers.list_scorers(experiment_id=experiment_id)]


def delete_scorer(experiment_id, name):
    mlflow.genai.scorers.delete_scorer(name=name, experiment_id=experiment_id, version="all")


def create_dataset(experiment_id, name):
    dataset = mlflow.genai.datasets.create_dataset(name=name, experiment_id=[experiment_id])
    dataset.merge_records([{"inputs": {"question": "why"}, "expectations": {"answer": "because"}}])
    return dataset.dataset_id


def read_dataset(dataset_id):
    return mlflow.genai.datasets.get_dataset(dataset_id=dataset_id).to_df()["inputs"].tolist()


def search_datasets(experiment_id):
    return [dataset.name for dataset in mlflow.genai.datasets.search_datasets(experiment_ids=[experiment_id])]


def delete_dataset(dataset_id):
    mlflow.genai.datasets.delete_dataset(dataset_id=dataset_id)


# --- without the SDK: a plain OpenTelemetry exporter --------------------------------------


def export_otlp(experiment_id, compression="none", run_id=None):
    """Parent and child span through the stock OTLP/HTTP exporter; returns the trace's id."""
    import base64

    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    headers = {"x-mlflow-experiment-id": experiment_id}
    if run_id:
        headers["x-mlflow-run-id"] = run_id
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        headers["authorization"] = f"Bearer {token}"
    elif user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{os.environ['MLFLOW_TRACKING_PASSWORD']}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    exporter = OTLPSpanExporter(
        endpoint=os.environ["MLFLOW_TRACKING_URI"] + "/v1/traces",
        headers=headers,
        compression=Compression(compression),
    )
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("tracegate.tests")
    with tracer.start_as_current_span("otel-root") as root:
        root.set_attribute("gen_ai.prompt", "hi")
        with tracer.start_as_current_span("otel-child"):
            pass
        trace_id = format(root.get_span_context().trace_id, "032x")
    provider.force_flush()
    provider.shutdown()
    return "tr-" + trace_id
