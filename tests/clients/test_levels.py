"""Who may do what on `support-bot`, by the unmodified SDK: allowed or refused as the levels say.

    admin  is in `admins`           agent  CAN_INGEST (a service principal)
    alice  CAN_MANAGE               erin   CAN_ASSESS
    bob    CAN_READ (by a group)    lena   CAN_LIST
    dave   manages another one      carol  nothing

`yes` must work, `no` must be a clean exception that names a privilege of the second column and
the decision; `-` is not tried, because it would change the experiment for the other rows.
A row may go on in the next line. `a|b`: one SDK call makes several requests, and which one fails first depends on the caller.
"""

import re
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.both_modes

TABLE = """
operation            needs                        admin alice bob agent erin lena dave carol

get_experiment       experiment.view              yes   yes   yes yes   yes  yes  no   no
set_experiment_tag   experiment.edit              yes   yes   no  no    no   no   no   no
rename_experiment    experiment.edit              -     -     no  no    no   no   no   no
delete_experiment    experiment.delete            -     -     no  no    no   no   no   no

list_traces          trace.list                   yes   yes   yes no    yes  yes  no   no
search_traces        trace.list|trace.read        yes   yes   yes no    yes  no   no   no
get_trace            trace.read                   yes   yes   yes no    yes  no   no   no
set_trace_tag        trace.tag                    yes   yes   no  no    no   no   no   no
delete_trace_tag     trace.tag                    yes   yes   no  no    no   no   no   no
delete_trace         trace.delete                 yes   yes   no  no    no   no   no   no
delete_old_traces    trace.delete                 -     -     no  no    no   no   no   no

get_assessment       assessment.read              yes   yes   yes no    yes  no   no   no
log_feedback         assessment.write             yes   yes   no  no    yes  no   no   no
log_expectation      assessment.write             yes   yes   no  no    yes  no   no   no
update_feedback      assessment.write             yes   yes   no  no    yes  no   no   no
override_feedback    assessment.read|assessment.write
                                                  yes   yes   no  no    yes  no   no   no
delete_assessment    assessment.write             yes   yes   no  no    yes  no   no   no

get_run              run.read                     yes   yes   yes no    yes  no   no   no
search_runs          run.read                     yes   yes   yes no    yes  no   no   no
metric_history       run.read                     yes   yes   yes no    yes  no   no   no
create_run           run.write                    yes   yes   no  no    no   no   no   no
log_metric           run.write                    yes   yes   no  no    no   no   no   no
log_param            run.write                    yes   yes   no  no    no   no   no   no
set_run_tag          run.write                    yes   yes   no  no    no   no   no   no
delete_run           run.delete                   yes   yes   no  no    no   no   no   no
list_artifacts       artifact.read|run.read       yes   yes   yes no    yes  no   no   no
download_artifact    artifact.read|run.read       yes   yes   yes no    yes  no   no   no
log_artifact         artifact.write|run.read      yes   yes   no  no    no   no   no   no

get_logged_model     run.read                     yes   yes   yes no    yes  no   no   no
search_logged_models run.read                     yes   yes   yes no    yes  no   no   no
create_logged_model  run.write                    yes   yes   no  no    no   no   no   no
delete_logged_model  run.delete                   yes   yes   no  no    no   no   no   no
list_scorers         scorer.read                  yes   yes   yes no    yes  no   no   no
register_scorer      scorer.write                 yes   yes   no  no    no   no   no   no
read_dataset         trace.read                   yes   yes   yes no    yes  no   no   no
search_datasets      trace.read                   yes   yes   yes no    yes  no   no   no
create_dataset       dataset.write                yes   yes   no  no    no   no   no   no
delete_dataset       dataset.write                yes   yes   no  no    no   no   no   no
"""


def arguments(operation, caller, world):
    """What the operation is tried on: something of the seed, or a fresh thing where it would be used up."""
    experiment, seeded, alice = world.experiment, world.seeded, world.alice
    trace = {"trace_id": seeded.trace}
    feedback = {**trace, "assessment_id": seeded.feedback}
    run = {"run_id": seeded.run}

    def made(scenario, **given):
        return alice.run(scenario, experiment_id=experiment, **given).value

    match operation:
        case "list_traces":
            return "search_traces", {"experiment_ids": [experiment], "full": False}
        case "search_traces":
            return operation, {"experiment_ids": [experiment]}
        case "search_runs" | "search_logged_models":
            return operation, {"experiment_ids": [experiment]}
        case "rename_experiment":
            return operation, {"experiment_id": experiment, "name": "taken-over"}
        case "get_trace" | "log_feedback" | "log_expectation" | "set_trace_tag":
            return operation, trace
        case "delete_trace_tag":
            trace_id = made("write_trace", tags={"doomed": "yes"})
            return operation, {"trace_id": trace_id, "key": "doomed"}
        case "delete_trace":
            return operation, {"experiment_id": experiment, "trace_id": made("write_trace")}
        case "get_assessment":
            return operation, feedback
        case "update_feedback" | "override_feedback":
            return operation, {**feedback, "value": 0.3}
        case "delete_assessment":
            doomed = alice.run("log_feedback", **trace).value["assessment_id"]
            return operation, {**trace, "assessment_id": doomed}
        case "get_run" | "metric_history" | "log_metric" | "set_run_tag" | "list_artifacts" | "log_artifact":
            return operation, run
        case "log_param":
            return operation, {**run, "key": f"by-{caller}"}
        case "download_artifact":
            return operation, {**run, "path": "notes/a.txt"}
        case "delete_run":
            return operation, {"run_id": made("create_run")}
        case "get_logged_model":
            return operation, {"model_id": seeded.model}
        case "delete_logged_model":
            return operation, {"model_id": made("create_logged_model", name="doomed")}
        case "create_logged_model" | "register_scorer" | "create_dataset":
            return operation, {"experiment_id": experiment, "name": f"by-{caller}"}
        case "read_dataset":
            return operation, {"dataset_id": seeded.dataset}
        case "delete_dataset":
            return operation, {"dataset_id": made("create_dataset", name=f"doomed-{caller}")}
        case _:
            return operation, {"experiment_id": experiment}


def cells():
    lines = re.sub(r"\n {15,}", " ", TABLE).strip().splitlines()
    header, *rows = [line.split() for line in lines if line.strip()]
    for operation, needs, *answers in rows:
        assert len(answers) == len(header) - 2, operation
        for caller, answer in zip(header[2:], answers, strict=True):
            if answer != "-":
                yield pytest.param(operation, needs, caller, answer == "yes", id=f"{operation}-{caller}-{answer}")


@pytest.fixture(scope="module")
def world(as_caller, seeded, support_bot):
    return SimpleNamespace(alice=as_caller("alice"), seeded=seeded, experiment=support_bot)


@pytest.mark.parametrize("operation, needs, caller, allowed", cells())
def test_level(as_caller, world, direct, operation, needs, caller, allowed):
    if direct and not allowed:
        pytest.skip("--direct: nothing refuses")
    scenario, given = arguments(operation, caller, world)
    outcome = as_caller(caller).run(scenario, **given)
    if allowed:
        outcome.value
    else:
        outcome.assert_refused(*needs.split("|"))


WRITERS = {"admin": True, "alice": True, "bob": False, "agent": True, "erin": False, "lena": False, "dave": False, "carol": False}


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
@pytest.mark.parametrize("caller, allowed", WRITERS.items())
def test_writing_traces(as_caller, support_bot, direct, caller, allowed, asynchronous):
    """The SDK never raises here, whoever calls: what is missing stands in its log."""
    if direct and not allowed:
        pytest.skip("--direct: nothing refuses")
    outcome = as_caller(caller).run("write_trace", experiment_id=support_bot, asynchronous=asynchronous)
    if allowed:
        assert "Failed" not in outcome.log, outcome.log
        trace = as_caller("admin").run("get_trace", trace_id=outcome.value).value
        assert trace["experiment"] == support_bot
        assert len(trace["spans"]) == 4
    else:
        outcome.assert_refusal_logged("trace.write")
        missing = as_caller("admin").run("get_trace", trace_id=outcome.value)
        assert missing.error["error_code"] == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("caller, allowed", WRITERS.items())
def test_exporting_otlp(as_caller, support_bot, direct, caller, allowed, compression):
    if direct and not allowed:
        pytest.skip("--direct: nothing refuses")
    outcome = as_caller(caller).run("export_otlp", experiment_id=support_bot, compression=compression)
    if allowed:
        assert "Failed" not in outcome.log, outcome.log
        assert as_caller("admin").run("get_trace", trace_id=outcome.value).value["experiment"] == support_bot
    else:
        outcome.assert_export_refused("trace.write")
