"""Every call that MLflow's own SDKs make in the scenarios of `tests/clients`, 3.17 and 2.22.

The SDK talks to a proxy that sends each call to both servers; it hears the real MLflow, so the calls are
those of an SDK that is content, and what the store said is compared.
"""

import os
import sys

import pytest

from harness.caller import Caller
from proxy import Proxy


@pytest.fixture(scope="module")
def sdk(both, tmp_path_factory):
    """Starts a client process for a module of scenarios."""
    proxy = Proxy(both)
    logs = tmp_path_factory.mktemp("sdk")
    started = {}

    def get(module, python=sys.executable):
        if module not in started:
            started[module] = Caller("sdk", {"MLFLOW_TRACKING_URI": proxy.url}, module, logs / f"{module}.log", python)
        return started[module]

    yield get
    for caller in started.values():
        caller.stop()
    proxy.stop()


@pytest.fixture
def sdk3(m, sdk):
    return lambda scenario, **arguments: sdk("scenarios3").run(scenario, **arguments).value


@pytest.fixture
def sdk2(m, sdk):
    python = os.environ.get("MLFLOW2_PYTHON")
    if not python:
        pytest.fail("MLFLOW2_PYTHON must name the Python of an MLflow 2.22 environment (make test sets it)")
    return lambda scenario, **arguments: sdk("scenarios2", python).run(scenario, **arguments).value


def test_traces(sdk3, experiment):
    first = sdk3("write_trace", experiment_id=experiment, text="ping", tags={"a": "b"})
    second = sdk3("write_trace", experiment_id=experiment, asynchronous=True)
    large = sdk3("write_large_trace", experiment_id=experiment, megabytes=3)
    sdk3("write_trace_claiming_user", experiment_id=experiment, user="eve", session_user="u")
    sdk3("write_trace_of", experiment_id=experiment, session="s", user="u")
    for trace in (first, second, large):
        sdk3("get_trace", trace_id=trace)
    for filter_string in (None, "tags.a = 'b'", "metadata.`mlflow.trace.session` = 's'", "span.name = 'rerank'"):
        sdk3("search_traces", experiment_ids=[experiment], filter_string=filter_string, order_by=["timestamp_ms DESC"])
        sdk3("search_traces", experiment_ids=[experiment], filter_string=filter_string, full=False, max_results=2)
    for key in ("plain", "with space", "a/b"):
        sdk3("set_trace_tag", trace_id=first, key=key)
        sdk3("delete_trace_tag", trace_id=first, key=key)
    sdk3("delete_trace", experiment_id=experiment, trace_id=second)
    sdk3("delete_old_traces", experiment_id=experiment)


def test_assessments(sdk3, experiment):
    trace = sdk3("write_trace", experiment_id=experiment)
    feedback = sdk3("log_feedback", trace_id=trace)["assessment_id"]
    expectation = sdk3("log_expectation", trace_id=trace)["assessment_id"]
    sdk3("update_feedback", trace_id=trace, assessment_id=feedback, value=0.1)
    sdk3("get_assessment", trace_id=trace, assessment_id=feedback)
    sdk3("override_feedback", trace_id=trace, assessment_id=feedback, value=0.2)
    sdk3("delete_assessment", trace_id=trace, assessment_id=expectation)
    sdk3("get_trace", trace_id=trace)


def test_experiments(sdk3, tag):
    experiment = sdk3("create_experiment", name=f"sdk-{tag}")
    sdk3("get_experiment", experiment_id=experiment)
    sdk3("find_experiment", name=f"sdk-{tag}")
    sdk3("find_experiment", name=f"nobody-{tag}")
    sdk3("set_experiment", name=f"sdk-{tag}")
    sdk3("set_experiment", name=f"sdk-new-{tag}")
    sdk3("rename_experiment", experiment_id=experiment, name=f"sdk-renamed-{tag}")
    sdk3("set_experiment_tag", experiment_id=experiment)
    sdk3("search_experiments", max_results=3, filter_string="name LIKE 'sdk-%'")
    sdk3("delete_experiment", experiment_id=experiment)


def test_runs_and_artifacts(sdk3, experiment):
    run = sdk3("full_run", experiment_id=experiment)
    sdk3("get_run", run_id=run)
    sdk3("search_runs", experiment_ids=[experiment])
    sdk3("log_metric", run_id=run)
    sdk3("log_param", run_id=run, key="k")
    sdk3("set_run_tag", run_id=run)
    sdk3("metric_history", run_id=run)
    sdk3("log_artifact", run_id=run)
    sdk3("list_artifacts", run_id=run)
    sdk3("list_artifacts", run_id=run, path="notes")
    sdk3("download_artifact", run_id=run, path="late/late.txt")
    sdk3("delete_run", run_id=run)


def test_models_and_prompts(sdk3, experiment, tag):
    model = sdk3("create_logged_model", experiment_id=experiment, name="assistant")
    sdk3("get_logged_model", model_id=model)
    sdk3("search_logged_models", experiment_ids=[experiment])
    sdk3("delete_logged_model", model_id=model)
    name = f"sdk-prompt-{tag}"
    sdk3("register_prompt", name=name)
    sdk3("register_prompt", name=name, template="Reply to {{question}}")
    sdk3("load_prompt", name=name, version=2)
    sdk3("search_prompts")
    sdk3("delete_prompt", name=name)


def test_evaluation(sdk3, experiment):
    sdk3("register_scorer", experiment_id=experiment, name="kindness")
    sdk3("list_scorers", experiment_id=experiment)
    sdk3("delete_scorer", experiment_id=experiment, name="kindness")
    dataset = sdk3("create_dataset", experiment_id=experiment, name=f"questions-{experiment}")
    sdk3("read_dataset", dataset_id=dataset)
    sdk3("search_datasets", experiment_id=experiment)
    sdk3("delete_dataset", dataset_id=dataset)


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_a_plain_exporter(sdk3, experiment, compression):
    trace = sdk3("export_otlp", experiment_id=experiment, compression=compression)
    sdk3("get_trace", trace_id=trace)


def test_mlflow_2(sdk2, experiment, m):
    name = m.get("experiments/get", experiment_id=experiment)["experiment"]["name"]
    trace = sdk2("write_trace", experiment_name=name)
    sdk2("get_trace", trace_id=trace)
    sdk2("search_traces", experiment_ids=[experiment])
    sdk2("set_trace_tag", trace_id=trace)
    sdk2("delete_trace_tag", trace_id=trace, key="team")
    sdk2("delete_trace", experiment_id=experiment, trace_id=trace)
    run = sdk2("full_run", experiment_id=experiment)
    sdk2("get_run", run_id=run)
    sdk2("list_artifacts", run_id=run)
    sdk2("find_experiment", name=name)
    sdk2("search_experiments")
