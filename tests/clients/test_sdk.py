"""The unmodified MLflow 3.17 SDK, as somebody who may: everything works as if Tracegate were not there."""

import uuid

import pytest

pytestmark = pytest.mark.every_store


@pytest.fixture
def alice(as_caller):
    return as_caller("alice")


def fresh(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
def test_nested_spans_are_written_and_read_back(alice, support_bot, asynchronous):
    trace_id = alice.run("write_trace", experiment_id=support_bot, text="ping", asynchronous=asynchronous).value
    trace = alice.run("get_trace", trace_id=trace_id).value
    assert trace["experiment"] == support_bot
    assert set(trace["spans"]) == {"answer", "look_up", "generate", "rerank"}
    assert trace["spans"]["answer"]["inputs"] == {"question": "ping"}
    assert "ping" in trace["request_preview"]


@pytest.mark.parametrize("credential", ["basic", "bearer"])
def test_both_ways_of_sending_a_token_work(as_caller, support_bot, credential):
    caller = as_caller("alice", credential=credential)
    assert caller.run("get_experiment", experiment_id=support_bot).value == "support-bot"


def test_set_experiment_finds_by_name(alice, support_bot):
    assert alice.run("set_experiment", name="support-bot").value == support_bot


def test_a_large_trace_passes_whole(alice, support_bot):
    trace_id = alice.run("write_large_trace", experiment_id=support_bot, megabytes=20).value
    trace = alice.run("get_trace", trace_id=trace_id).value
    assert trace["spans"]["large"]["outputs_size"] > 20 * 1024 * 1024
    alice.run("delete_trace", experiment_id=support_bot, trace_id=trace_id).value


def test_search_over_one_experiment_filters_and_sorts(alice, support_bot, seeded):
    found = alice.run(
        "search_traces", experiment_ids=[support_bot],
        filter_string="tags.origin = 'seed'", order_by=["timestamp_ms DESC"],
    ).value
    assert seeded.trace in [trace["id"] for trace in found]
    assert all(trace["spans"] > 0 for trace in found)


def test_search_over_several_experiments(alice, support_bot):
    other = alice.run("create_experiment", name=fresh("second")).value
    there = alice.run("write_trace", experiment_id=other).value
    here = alice.run("write_trace", experiment_id=support_bot).value
    found = alice.run("search_traces", experiment_ids=[support_bot, other]).value
    assert {(there, other), (here, support_bot)} <= {(trace["id"], trace["experiment"]) for trace in found}


def test_search_pages_hold_every_trace_once(alice):
    experiment = alice.run("create_experiment", name=fresh("pages")).value
    written = {alice.run("write_trace", experiment_id=experiment).value for _ in range(5)}
    found = alice.run("search_traces", experiment_ids=[experiment], full=False).value
    assert sorted(trace["id"] for trace in found) == sorted(written)


def test_tags_are_set_and_deleted(alice, support_bot):
    trace_id = alice.run("write_trace", experiment_id=support_bot).value
    for key in ("plain", "with space", "a/b"):
        alice.run("set_trace_tag", trace_id=trace_id, key=key, value="red").value
        assert alice.run("get_trace", trace_id=trace_id).value["tags"][key] == "red"
        alice.run("delete_trace_tag", trace_id=trace_id, key=key).value
        assert key not in alice.run("get_trace", trace_id=trace_id).value["tags"]


def test_feedback_and_expectations_live_a_whole_life(alice, support_bot):
    trace_id = alice.run("write_trace", experiment_id=support_bot).value
    feedback = alice.run("log_feedback", trace_id=trace_id).value["assessment_id"]
    expectation = alice.run("log_expectation", trace_id=trace_id).value["assessment_id"]
    alice.run("update_feedback", trace_id=trace_id, assessment_id=feedback, value=0.1).value
    read = alice.run("get_assessment", trace_id=trace_id, assessment_id=feedback).value
    assert read["feedback"]["value"] == 0.1
    override = alice.run("override_feedback", trace_id=trace_id, assessment_id=feedback, value=0.2).value
    assert override["overrides"] == feedback
    alice.run("delete_assessment", trace_id=trace_id, assessment_id=expectation).value
    left = alice.run("get_trace", trace_id=trace_id).value["assessments"]
    assert expectation not in [assessment["assessment_id"] for assessment in left]


def test_traces_are_deleted_by_id_and_by_time(alice):
    experiment = alice.run("create_experiment", name=fresh("deletions")).value
    first, second = (alice.run("write_trace", experiment_id=experiment).value for _ in range(2))
    assert alice.run("delete_trace", experiment_id=experiment, trace_id=first).value == 1
    left = alice.run("search_traces", experiment_ids=[experiment], full=False).value
    assert [trace["id"] for trace in left] == [second]
    assert alice.run("delete_old_traces", experiment_id=experiment).value == 1
    assert alice.run("search_traces", experiment_ids=[experiment], full=False).value == []


def test_a_run_with_metrics_params_tags_artifacts_and_a_trace(alice, support_bot):
    run_id = alice.run("full_run", experiment_id=support_bot).value
    run = alice.run("get_run", run_id=run_id).value
    assert run["metrics"] == {"loss": 0.25, "precision": 0.5, "recall": 0.75}
    assert run["params"] == {"epochs": "3"}
    assert run["tags"]["stage"] == "test"
    assert alice.run("metric_history", run_id=run_id).value == [0.25]
    assert run_id in alice.run("search_runs", experiment_ids=[support_bot]).value
    alice.run("log_artifact", run_id=run_id).value
    assert set(alice.run("list_artifacts", run_id=run_id).value) == {"late", "notes", "x.json"}
    assert alice.run("list_artifacts", run_id=run_id, path="notes").value == ["notes/a.txt"]
    assert alice.run("download_artifact", run_id=run_id, path="late/late.txt").value == "from a file"
    found = alice.run("search_traces", experiment_ids=[support_bot], filter_string=f"attributes.run_id = '{run_id}'").value
    assert len(found) == 1


def test_logged_models(alice, support_bot):
    model_id = alice.run("create_logged_model", experiment_id=support_bot, name="assistant").value
    assert alice.run("get_logged_model", model_id=model_id).value == "assistant"
    assert model_id in alice.run("search_logged_models", experiment_ids=[support_bot]).value
    alice.run("delete_logged_model", model_id=model_id).value


def test_prompts(alice):
    name = fresh("prompt")
    assert alice.run("register_prompt", name=name).value == 1
    assert alice.run("register_prompt", name=name, template="Reply to {{question}}").value == 2
    assert alice.run("load_prompt", name=name, version=2).value == "Reply to {{question}}"
    assert name in alice.run("search_prompts").value
    alice.run("delete_prompt", name=name).value


def test_scorers(alice, support_bot):
    name = fresh("kindness")
    assert alice.run("register_scorer", experiment_id=support_bot, name=name).value == name
    assert name in alice.run("list_scorers", experiment_id=support_bot).value
    alice.run("delete_scorer", experiment_id=support_bot, name=name).value


def test_evaluation_datasets(alice, support_bot):
    name = fresh("questions")
    dataset = alice.run("create_dataset", experiment_id=support_bot, name=name).value
    assert alice.run("read_dataset", dataset_id=dataset).value == [{"question": "why"}]
    assert name in alice.run("search_datasets", experiment_id=support_bot).value
    alice.run("delete_dataset", dataset_id=dataset).value


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_plain_opentelemetry_exporter(alice, support_bot, compression):
    outcome = alice.run("export_otlp", experiment_id=support_bot, compression=compression)
    assert "Failed to export" not in outcome.log
    trace = alice.run("get_trace", trace_id=outcome.value).value
    assert set(trace["spans"]) == {"otel-root", "otel-child"}


def test_an_experiment_is_created_found_renamed_and_deleted(alice):
    name, later = fresh("mine"), fresh("renamed")
    experiment = alice.run("create_experiment", name=name).value
    assert alice.run("find_experiment", name=name).value == experiment
    assert name in alice.run("search_experiments").value
    alice.run("rename_experiment", experiment_id=experiment, name=later).value
    alice.run("set_experiment_tag", experiment_id=experiment).value
    assert alice.run("find_experiment", name=later).value == experiment
    assert alice.run("find_experiment", name=name).value is None
    alice.run("delete_experiment", experiment_id=experiment).value
    assert later not in alice.run("search_experiments").value


def test_small_pages_of_experiments_hold_all_of_them(alice):
    for _ in range(3):
        alice.run("create_experiment", name=fresh("paged")).value
    whole = alice.run("search_experiments").value
    assert alice.run("search_experiments", max_results=2).value == whole
