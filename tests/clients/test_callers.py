"""What each kind of caller sees, beyond yes and no."""

import uuid

import pytest

pytestmark = [pytest.mark.gate, pytest.mark.both_modes]


def fresh(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


class TestLenaWhoMayList:
    def test_sees_that_traces_exist_and_nothing_that_was_said(self, as_caller, support_bot, seeded):
        found = as_caller("lena").run("search_traces", experiment_ids=[support_bot], full=False).value
        mine = next(trace for trace in found if trace["id"] == seeded.trace)
        assert mine["experiment"] == support_bot
        assert not mine["request_preview"] and not mine["response_preview"]
        assert mine["spans"] == 0 and mine["assessments"] == 0
        assert not {"mlflow.traceInputs", "mlflow.traceOutputs"} & set(mine["metadata"])
        assert "seeded question" not in str(mine)

    @pytest.mark.parametrize(
        "filter_string",
        [
            "trace.text LIKE '%seeded%'",
            "metadata.`mlflow.traceInputs` LIKE '%seeded%'",
            "feedback.quality = 0.9",
            "span.name = 'look_up'",
        ],
    )
    def test_cannot_ask_by_a_filter_what_may_not_be_read(self, as_caller, support_bot, seeded, filter_string):
        outcome = as_caller("lena").run(
            "search_traces", experiment_ids=[support_bot], full=False, filter_string=filter_string
        )
        outcome.assert_refused()


class TestAgentWhoMayIngest:
    def test_finds_its_experiment_by_name_as_the_sdk_does(self, as_caller, support_bot):
        assert as_caller("agent").run("set_experiment", name="support-bot").value == support_bot

    def test_tags_its_own_traces_and_no_others(self, as_caller, support_bot, seeded):
        agent = as_caller("agent")
        own = agent.run("write_trace", experiment_id=support_bot).value
        agent.run("set_trace_tag", trace_id=own).value
        agent.run("set_trace_tag", trace_id=seeded.trace).assert_refused()

    def test_does_not_read_back_what_it_wrote(self, as_caller, support_bot):
        agent = as_caller("agent")
        own = agent.run("write_trace", experiment_id=support_bot).value
        agent.run("get_trace", trace_id=own).assert_refused("trace.read")


class TestCarolWhoHasNothing:
    def test_sees_no_experiment(self, as_caller):
        assert as_caller("carol").run("search_experiments").value == []

    def test_finds_no_experiment_by_name_whether_it_exists_or_not(self, as_caller):
        carol = as_caller("carol")
        assert carol.run("find_experiment", name="support-bot").value is None
        assert carol.run("find_experiment", name="no-such-experiment").value is None

    def test_cannot_tell_a_hidden_trace_from_a_missing_one(self, as_caller, seeded):
        carol = as_caller("carol")
        missing_id = "tr-" + "0" * 32
        hidden = carol.run("get_trace", trace_id=seeded.trace)
        missing = carol.run("get_trace", trace_id=missing_id)
        hidden.assert_refused("trace.read")
        missing.assert_refused("trace.read")

    def test_cannot_take_a_hidden_name(self, as_caller):
        carol = as_caller("carol")
        carol.run("create_experiment", name="secret-lab").assert_refused()


class TestSearchesOverSeveralExperiments:
    def test_one_foreign_experiment_refuses_the_whole_search(self, as_caller, support_bot, secret_lab, seeded):
        for who in ("alice", "bob"):
            outcome = as_caller(who).run("search_traces", experiment_ids=[support_bot, secret_lab])
            outcome.assert_refused("trace.list")
            assert seeded.foreign_trace not in str(outcome.error)

    def test_runs_of_a_foreign_experiment_stay_out(self, as_caller, support_bot, secret_lab, seeded):
        outcome = as_caller("alice").run("search_runs", experiment_ids=[support_bot, secret_lab])
        outcome.assert_refused("run.read")

    def test_a_list_of_experiments_is_narrowed(self, as_caller):
        assert "secret-lab" not in as_caller("alice").run("search_experiments").value
        assert "support-bot" not in as_caller("dave").run("search_experiments").value
        assert {"support-bot", "secret-lab"} <= set(as_caller("admin").run("search_experiments").value)

    def test_narrowed_pages_are_full(self, as_caller):
        alice = as_caller("alice")
        assert alice.run("search_experiments", max_results=1).value == alice.run("search_experiments").value


class TestAuthorsAreTheCallers:
    def test_of_a_trace(self, as_caller, support_bot):
        agent = as_caller("agent")
        trace_id = agent.run("write_trace", experiment_id=support_bot).value
        metadata = as_caller("alice").run("get_trace", trace_id=trace_id).value["metadata"]
        assert metadata["mlflow.user"] == "agent"

    def test_even_when_another_is_claimed(self, as_caller, support_bot):
        alice = as_caller("alice")
        trace_id = alice.run(
            "write_trace_claiming_user", experiment_id=support_bot, user="admin", session_user="customer-7"
        ).value
        metadata = alice.run("get_trace", trace_id=trace_id).value["metadata"]
        assert metadata["mlflow.user"] == "alice"
        # The end user of the application is the application's to say.
        assert metadata["mlflow.trace.user"] == "customer-7"

    def test_of_human_feedback(self, as_caller, seeded):
        feedback = as_caller("erin").run("log_feedback", trace_id=seeded.trace, source_id="alice").value
        assert feedback["source"] == {"source_type": "HUMAN", "source_id": "erin"}

    def test_but_a_judge_and_code_stay_as_sent(self, as_caller, seeded):
        for source_type, source_id in [("LLM_JUDGE", "openai:/a-judge"), ("CODE", "nightly.py")]:
            feedback = as_caller("erin").run(
                "log_feedback", trace_id=seeded.trace, source_type=source_type, source_id=source_id
            ).value
            assert feedback["source"] == {"source_type": source_type, "source_id": source_id}


class TestCreators:
    def test_whoever_creates_an_experiment_manages_it_alone(self, as_caller):
        carol, alice = as_caller("carol"), as_caller("alice")
        name = fresh("carols")
        experiment = carol.run("create_experiment", name=name).value
        trace_id = carol.run("write_trace", experiment_id=experiment).value
        carol.run("set_trace_tag", trace_id=trace_id).value
        alice.run("get_trace", trace_id=trace_id).assert_refused("trace.read")
        assert alice.run("find_experiment", name=name).value is None
        carol.run("delete_experiment", experiment_id=experiment).value

    def test_whoever_creates_a_prompt_owns_it(self, as_caller):
        name = fresh("prompt")
        as_caller("alice").run("register_prompt", name=name).value
        as_caller("alice").run("load_prompt", name=name).value
        refused = as_caller("bob").run("load_prompt", name=name)
        assert refused.error is not None
        assert refused.error["error_code"] in ("PERMISSION_DENIED", "RESOURCE_DOES_NOT_EXIST"), refused.error
        assert name not in as_caller("bob").run("search_prompts").value


class TestCredentials:
    @pytest.mark.parametrize("password", ["", "wrong", "tg_" + "0" * 40])
    def test_a_wrong_token_is_a_clean_401(self, start_caller, support_bot, password):
        nobody = start_caller("nobody", MLFLOW_TRACKING_USERNAME="alice", MLFLOW_TRACKING_PASSWORD=password)
        outcome = nobody.run("get_experiment", experiment_id=support_bot)
        assert outcome.error is not None
        assert outcome.error["type"].startswith("mlflow.exceptions."), outcome.error["traceback"]
        assert "401" in outcome.error["message"] or outcome.error["error_code"] == "UNAUTHENTICATED", outcome.error

    def test_a_token_of_another_is_not_ones_own_name(self, start_caller, gate, seeded):
        """Basic with alice's name and carol's token is carol, or nobody; never alice."""
        liar = start_caller(
            "liar", MLFLOW_TRACKING_USERNAME="alice", MLFLOW_TRACKING_PASSWORD=gate.tokens["carol"]
        )
        outcome = liar.run("get_trace", trace_id=seeded.trace)
        assert outcome.error is not None, outcome.value
