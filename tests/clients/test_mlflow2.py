"""The unmodified MLflow 2.22 SDK, for what it has."""

import uuid

import pytest

pytestmark = pytest.mark.every_store


@pytest.fixture
def alice(as_mlflow2_caller):
    return as_mlflow2_caller("alice")


def test_a_trace_is_written_searched_tagged_and_deleted(alice):
    # An experiment of its own: 2.22 cannot load traces that came by OTLP alone, which have no file.
    name = f"second-{uuid.uuid4().hex[:8]}"
    trace_id = alice.run("write_trace", experiment_name=name, text="two").value
    trace = alice.run("get_trace", trace_id=trace_id).value
    experiment = trace["experiment"]
    assert experiment == alice.run("find_experiment", name=name).value
    assert set(trace["spans"]) == {"answer", "inner"}
    assert alice.run("search_traces", experiment_ids=[experiment]).value == [trace_id]
    alice.run("set_trace_tag", trace_id=trace_id, key="colour").value
    assert alice.run("get_trace", trace_id=trace_id).value["tags"]["colour"] == "red"
    alice.run("delete_trace_tag", trace_id=trace_id, key="colour").value
    assert alice.run("delete_trace", experiment_id=experiment, trace_id=trace_id).value == 1


def test_a_run(alice, support_bot):
    run_id = alice.run("full_run", experiment_id=support_bot).value
    assert alice.run("get_run", run_id=run_id).value == {"loss": 0.25}
    assert alice.run("list_artifacts", run_id=run_id).value == ["notes"]


def test_experiments(alice, support_bot):
    assert alice.run("find_experiment", name="support-bot").value == support_bot
    assert "support-bot" in alice.run("search_experiments").value


@pytest.mark.gate
class TestRefusals:
    def test_a_reader_reads_and_does_not_write(self, as_mlflow2_caller, alice, support_bot):
        trace_id = alice.run("write_trace", experiment_name="support-bot").value
        bob = as_mlflow2_caller("bob")
        assert bob.run("get_trace", trace_id=trace_id).value["experiment"] == support_bot
        bob.run("set_trace_tag", trace_id=trace_id).assert_refused("trace.tag")
        bob.run("delete_trace", experiment_id=support_bot, trace_id=trace_id).assert_refused("trace.delete")

    def test_a_stranger_sees_nothing(self, as_mlflow2_caller, alice, support_bot):
        trace_id = alice.run("write_trace", experiment_name="support-bot").value
        carol = as_mlflow2_caller("carol")
        assert carol.run("search_experiments").value == []
        assert carol.run("find_experiment", name="support-bot").value is None
        carol.run("get_trace", trace_id=trace_id).assert_refused("trace.read")
        carol.run("search_traces", experiment_ids=[support_bot]).assert_refused("trace.list", "trace.read")

    def test_the_author_is_the_caller(self, alice):
        trace_id = alice.run("write_trace", experiment_name="support-bot").value
        assert alice.run("get_trace", trace_id=trace_id).value["metadata"]["mlflow.user"] == "alice"
