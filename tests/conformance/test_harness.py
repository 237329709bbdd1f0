"""The comparison itself: two real MLflow servers say the same, and one changed field is found."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

import compare
import mirror as mirrors
import tolerated
from generate import play
from harness import processes
from material import otlp, span, start, trace_id


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Two MLflow servers of one kind."""
    directories = [tmp_path_factory.mktemp(name) for name in ("one", "other")]
    with ThreadPoolExecutor(2) as pool:
        starts = [pool.submit(processes.start_mlflow, directory) for directory in directories]
    try:
        yield [mirrors.Server(start.result().name, start.result().url) for start in starts]
    finally:
        for start in starts:
            if not start.exception():
                start.result().stop()


def test_two_real_servers_say_the_same(servers):
    mirrors.align(*servers)
    both = mirrors.Mirror(*servers, rules=[])
    play(both, "harness", "self", calls=250)
    assert both.calls >= 250
    assert not both.differences, "\n".join(difference.describe() for difference in both.differences[:3])
    # The random world met most of what it can do.
    assert {"trace.start_v3", "otlp.export", "trace.search", "assessment.create", "run.search"} <= both.seen.keys()


class Liar(mirrors.Server):
    """Changes one thing in the answers that have it."""

    def __init__(self, server, change):
        super().__init__("liar", server.url)
        self.change = change

    def send(self, *call):
        answer = super().send(*call)
        content = compare.parsed(answer.body.decode())
        if isinstance(content, dict):
            self.change(content, answer)
            answer.body = json.dumps(content).encode()
            answer.__dict__.pop("json", None)
        return answer


def lose_a_tag(content, _):
    content.get("trace", {}).get("trace_info", {}).get("tags", {}).pop("a", None)


def swap_an_experiment(content, _):
    place = content.get("trace", {}).get("trace_info", {}).get("trace_location", {}).get("mlflow_experiment")
    if place:
        place["experiment_id"] = "0"


def hasten(content, _):
    info = content.get("trace", {}).get("trace_info", {})
    if "execution_duration" in info:
        info["execution_duration"] = "2s"


def turn_round(content, _):
    content.get("traces", []).reverse()


def another_run(content, _):
    if "run" in content:
        content["run"]["info"]["run_id"] = "0" * 31 + "1"


def another_status(content, answer):
    if "error_code" in content:
        answer.status += 1


def another_word(content, _):
    if "message" in content:
        content["message"] = content["message"].replace("not", "nowhere", 1)


def a_number_as_text(content, _):
    if "run" in content:
        content["run"]["info"]["start_time"] = str(content["run"]["info"]["start_time"])


def one_more_field(content, _):
    content["more"] = None


LIES = [lose_a_tag, swap_an_experiment, hasten, turn_round, another_run, another_status, another_word, a_number_as_text, one_more_field]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_one_change_is_found(servers, lie):
    mirrors.align(*servers)
    both = mirrors.Mirror(servers[0], Liar(servers[1], lie), rules=[])
    experiment = both.post("experiments/create", name=f"lie-{lie.__name__}")["experiment_id"]
    for number in range(2):
        trace = trace_id(lie.__name__, number)
        start(both, trace, experiment, tags={"a": "1"}, request_time=f"2023-01-01T00:00:0{number}Z")
        otlp(both, experiment, [span(trace, 1)])
    both.get(f"/api/3.0/mlflow/traces/{trace}")
    both.post("/api/3.0/mlflow/traces/search", locations=[{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}])
    run = both.post("runs/create", experiment_id=experiment, start_time=5, run_name="a")["run"]["info"]["run_id"]
    both.get("runs/get", run_id=run)
    both.get("runs/get", run_id="f" * 32)
    assert both.differences, f"{lie.__name__} was not noticed"


PAGE = """
| operations | MLflow | Tracegate | differs | why |
|---|---|---|---|---|
| `trace.*` | `404` | `400 INVALID* "so it is"` | `status error_code` | because |
"""


def answer(status, **content):
    return mirrors.Answer(status, {"content-type": "application/json"}, json.dumps(content).encode())


@pytest.mark.parametrize("operation, first, second, places, covered", [
    ("trace.get", answer(404), answer(400, error_code="INVALID_PARAMETER_VALUE", message="so it is"), ["status"], True),
    ("run.get", answer(404), answer(400, error_code="INVALID_PARAMETER_VALUE", message="so it is"), ["status"], False),
    ("trace.get", answer(400), answer(400, error_code="INVALID_PARAMETER_VALUE", message="so it is"), ["status"], False),
    ("trace.get", answer(404), answer(400, error_code="BAD_REQUEST", message="so it is"), ["status"], False),
    ("trace.get", answer(404), answer(400, error_code="INVALID_PARAMETER_VALUE", message="otherwise"), ["status"], False),
    ("trace.get", answer(404), answer(400, error_code="INVALID_PARAMETER_VALUE", message="so it is"), ["status", "message"], False),
])
def test_a_listed_difference_covers_what_it_says_and_no_more(operation, first, second, places, covered):
    (rule,) = tolerated.rules(PAGE)
    assert rule.covers(operation, first, second, places) == covered


def test_a_difference_without_a_reason_is_refused():
    with pytest.raises(ValueError, match="reason"):
        tolerated.rules(PAGE.replace("because", " "))


def test_the_page_is_read():
    assert len(tolerated.rules()) > 5
