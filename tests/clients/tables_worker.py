"""What MLflow's SDK does in Databricks mode with traces in tables; run as one caller by `harness/worker.py`."""

import mlflow
import mlflow.tracing.archival
from mlflow.client import MlflowClient
from mlflow.entities import AssessmentSource
from mlflow.entities.trace_location import UCSchemaLocation, UnityCatalog


def use_prefix(name, catalog, schema, prefix):
    """An experiment whose traces go to tables with a prefix."""
    place = UnityCatalog(catalog_name=catalog, schema_name=schema, table_prefix=prefix)
    experiment = mlflow.set_experiment(name, trace_location=place)
    return {"experiment_id": experiment.experiment_id, "tags": dict(mlflow.get_experiment(experiment.experiment_id).tags)}


def use_schema(name, catalog, schema):
    """An experiment whose traces go to the tables of a schema."""
    experiment = mlflow.set_experiment(name)
    place = UCSchemaLocation(catalog_name=catalog, schema_name=schema)
    made = mlflow.tracing.set_experiment_trace_location(location=place, experiment_id=experiment.experiment_id)
    return {"experiment_id": experiment.experiment_id, "spans": made.full_otel_spans_table_name}


def leave_schema(experiment_id, catalog, schema):
    place = UCSchemaLocation(catalog_name=catalog, schema_name=schema)
    mlflow.tracing.unset_experiment_trace_location(location=place, experiment_id=experiment_id)


def choose(experiment_id):
    mlflow.set_experiment(experiment_id=experiment_id)


def say(question, fails=False):
    """A traced call with a nested one; answers the id of its trace."""

    @mlflow.trace(name="look_up", span_type="RETRIEVER", attributes={"top": 3})
    def look_up(question):
        if fails:
            raise ValueError("nothing found")
        return [f"about {question}"]

    @mlflow.trace(name="answer")
    def answer(question):
        mlflow.update_current_trace(tags={"team": "support"}, metadata={"mlflow.trace.session": "s-1"})
        return {"found": look_up(question), "sure": 0.5}

    try:
        answer(question)
    except ValueError:
        pass
    mlflow.flush_trace_async_logging()
    return mlflow.get_last_active_trace_id()


def described(trace):
    return {
        "trace_id": trace.info.trace_id,
        "state": str(trace.info.state),
        "tags": dict(trace.info.tags),
        "metadata": dict(trace.info.trace_metadata),
        "request_preview": trace.info.request_preview,
        "milliseconds": trace.info.execution_duration,
        "spans": [
            {
                "name": span.name, "inputs": span.inputs, "outputs": span.outputs, "type": span.span_type,
                "status": span.status.status_code.value, "top": span.attributes.get("top"), "parent": span.parent_id is not None,
                "events": [event.name for event in span.events],
            }
            for span in trace.data.spans
        ],
        "assessments": [
            {"id": made.assessment_id, "name": made.name, "value": made.value, "by": made.source.source_id,
             "kind": made.source.source_type, "rationale": made.rationale}
            for made in trace.info.assessments
        ],
    }


def get(trace_id):
    trace = mlflow.get_trace(trace_id)
    return described(trace) if trace is not None else None


def search(location, filter_string=None, max_results=100, order_by=None):
    found = mlflow.search_traces(
        locations=[location], filter_string=filter_string, max_results=max_results, order_by=order_by, return_type="list",
    )
    return [described(trace) for trace in found]


def pages(location, size):
    """The ids of all traces, a page at a time."""
    client, token, found = MlflowClient(), None, []
    while True:
        page = client.search_traces(locations=[location], max_results=size, page_token=token, include_spans=False)
        found.append([trace.info.trace_id for trace in page])
        token = page.token
        if not token:
            return found


def assess(trace_id, value, human=True):
    source = AssessmentSource(source_type="HUMAN" if human else "CODE", source_id="somebody-else")
    made = mlflow.log_feedback(trace_id=trace_id, name="helpful", value=value, source=source, rationale="because")
    return made.assessment_id


def expect(trace_id, value):
    made = mlflow.log_expectation(trace_id=trace_id, name="answer", value=value)
    return made.assessment_id


def reassess(trace_id, assessment_id, value):
    from mlflow.entities import Feedback

    made = mlflow.update_assessment(
        trace_id=trace_id, assessment_id=assessment_id, assessment=Feedback(name="helpful", value=value)
    )
    return made.value


def assessment(trace_id, assessment_id):
    made = mlflow.get_assessment(trace_id=trace_id, assessment_id=assessment_id)
    return {"value": made.value, "by": made.source.source_id}


def unassess(trace_id, assessment_id):
    mlflow.delete_assessment(trace_id=trace_id, assessment_id=assessment_id)


def tag(trace_id, key, value):
    mlflow.set_trace_tag(trace_id, key, value)


def untag(trace_id, key):
    mlflow.delete_trace_tag(trace_id, key)


def link(trace_ids, experiment_id):
    client = MlflowClient()
    run = client.create_run(experiment_id)
    client.link_traces_to_run(trace_ids, run.info.run_id)
    return run.info.run_id


def archive(experiment_id, table):
    """Archives an experiment as MLflow's own function does, by Databricks' client."""
    mlflow.tracing.archival.enable_databricks_trace_archival(delta_table_fullname=table, experiment_id=experiment_id)


def unarchive(experiment_id):
    mlflow.tracing.archival.disable_databricks_trace_archival(experiment_id=experiment_id)
