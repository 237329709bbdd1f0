"""Clients that use the real MLflow SDK, one principal each, and one with OpenTelemetry's own exporter."""

import random
import secrets
import time

from load import forever


def _sdk(context):
    """The SDK as its documentation says; its settings are in the environment."""
    import mlflow
    from mlflow.entities.trace_location import MlflowExperimentLocation

    mlflow.tracing.set_destination(MlflowExperimentLocation(context.experiments["support-bot"]))
    return mlflow


def _write_trace(mlflow):
    with mlflow.start_span("turn", span_type="AGENT") as turn:
        turn.set_inputs({"question": secrets.token_hex(8)})
        with mlflow.start_span("look up") as inner:
            inner.set_outputs({"found": 3})
        turn.set_outputs({"answer": "on its way"})


def _some(context):
    traces = context.recent_traces()
    return random.choice(traces) if traces else None


def writer(context):
    """CAN_EDIT: traces, and tags on those that were acknowledged."""
    mlflow = _sdk(context)

    def tag():
        if trace := _some(context):
            mlflow.set_trace_tag(trace, f"soak.{secrets.token_hex(6)}", secrets.token_hex(4))

    context.begun()
    forever(context, [("allow", lambda: _write_trace(mlflow)), ("allow", tag)], 0.15)


def agent(context):
    """CAN_INGEST: may write and not read."""
    mlflow = _sdk(context)

    def read():
        if trace := _some(context):
            mlflow.MlflowClient().get_trace(trace)

    write = ("allow", lambda: _write_trace(mlflow))
    context.begun()
    forever(context, [write, write, write, ("deny", read)], 0.2)


def reader(context):
    """CAN_READ, through a group: may search and read, and change nothing."""
    mlflow = _sdk(context)
    support = [context.experiments["support-bot"]]

    def read():
        if trace := _some(context):
            mlflow.MlflowClient().get_trace(trace)

    def tag():
        if trace := _some(context):
            mlflow.set_trace_tag(trace, "soak.refused", "no")

    def foreign():
        mlflow.search_traces(locations=[context.experiments["secret-lab"]], max_results=5, include_spans=False)

    def search():
        mlflow.search_traces(locations=support, max_results=5, return_type="list")

    context.begun()
    forever(context, [("allow", search), ("allow", read), ("deny", tag), ("allow", read), ("deny", foreign)], 0.2)


def lister(context):
    """CAN_LIST: sees that traces exist and not what is in them."""
    mlflow = _sdk(context)
    support = [context.experiments["support-bot"]]

    def search():
        mlflow.search_traces(locations=support, max_results=5, include_spans=False, return_type="list")

    def tag():
        if trace := _some(context):
            mlflow.set_trace_tag(trace, "soak.refused", "no")

    context.begun()
    forever(context, [("allow", search), ("deny", tag)], 0.3)


def exporter(context):
    """OpenTelemetry's exporter with the agent's token: spans without the SDK."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(
        endpoint=f"{context.url}/v1/traces", timeout=20, certificate_file=context.trusted,
        headers={"authorization": f"Bearer {context.tokens['agent']}", "x-mlflow-experiment-id": context.experiments["support-bot"]},
    )))
    tracer = provider.get_tracer("soak")

    def export():
        with tracer.start_as_current_span("exported") as span:
            span.set_attribute("at", time.time())

    context.begun()
    forever(context, [("allow", export)], 0.2)


KINDS = {"sdk-writer": writer, "sdk-agent": agent, "sdk-reader": reader, "sdk-lister": lister, "sdk-exporter": exporter}
WHO = {"sdk-writer": "edith", "sdk-agent": "agent", "sdk-reader": "bob", "sdk-lister": "lena"}
