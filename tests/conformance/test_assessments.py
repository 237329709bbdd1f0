"""Feedback, expectations and issues on traces."""

import pytest

from inputs import LONG, UNKNOWN_ID, abuse
from material import otlp, span, start, trace_id

V3 = "/api/3.0/mlflow/traces"
HUMAN = {"source_type": "HUMAN", "source_id": "somebody"}
TIMES = {"create_time": "2023-01-01T00:00:00Z", "last_update_time": "2023-01-01T00:00:00Z"}


@pytest.fixture
def trace(m, experiment):
    t = trace_id("assessed", experiment)
    start(m, t, experiment)
    otlp(m, experiment, [span(t, 1)])
    return t


def create(m, trace, **fields):
    body = {"assessment_name": "quality", "trace_id": trace, "source": HUMAN, **TIMES, **fields}
    return m.post(f"{V3}/{trace}/assessments", assessment={key: value for key, value in body.items() if value is not ...})["assessment"]["assessment_id"]


KINDS = [
    {"feedback": {"value": 0.5}}, {"feedback": {"value": True}}, {"feedback": {"value": "text"}}, {"feedback": {"value": None}}, {"feedback": {"value": [1, "a", {"b": 2}]}}, {"feedback": {"value": {"a": 1, "b": [True]}}}, {"feedback": {"value": 5}}, {"feedback": {"value": 1e300}}, {"feedback": {}},
    {"feedback": {"value": 1, "error": {"error_code": "E", "error_message": "m", "stack_trace": "s"}}}, {"feedback": {"error": {"error_code": "E"}}}, {"feedback": {"value": 1}, "error": {"error_code": "OLD"}},
    {"expectation": {"value": "expected"}}, {"expectation": {"value": 5}}, {"expectation": {"value": {"a": 1}}}, {"expectation": {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": '{"a": 1}'}}}, {"expectation": {}}, {"expectation": {"serialized_value": {"serialization_format": "XML", "value": "<a/>"}}},
    {"feedback": {"value": 1}, "expectation": {"value": 2}}, {}, {"issue": {"issue_name": "broken"}}, {"issue": {}},
    {"feedback": {"value": 1}, "rationale": "because", "metadata": {"a": "1", "b": ""}, "span_id": "0000000000000001"}, {"feedback": {"value": 1}, "span_id": "ffffffffffffffff"}, {"feedback": {"value": 1}, "span_id": "rubbish"},
    {"feedback": {"value": 1}, "source": {"source_type": "LLM_JUDGE", "source_id": "judge"}}, {"feedback": {"value": 1}, "source": {"source_type": "CODE"}}, {"feedback": {"value": 1}, "source": {}}, {"feedback": {"value": 1}, "source": {"source_type": "BOGUS", "source_id": "x"}}, {"feedback": {"value": 1}, "source": {"source_type": "AI_JUDGE", "source_id": "x"}}, {"feedback": {"value": 1}, "source": ...},
    {"feedback": {"value": 1}, "create_time": ..., "last_update_time": ...}, {"feedback": {"value": 1}, "create_time": "rubbish"}, {"feedback": {"value": 1}, "assessment_name": ...}, {"feedback": {"value": 1}, "assessment_name": ""}, {"feedback": {"value": 1}, "assessment_name": "n" * 250}, {"feedback": {"value": 1}, "assessment_name": "n" * 251},
    {"feedback": {"value": 1}, "assessment_id": "a-mine"}, {"feedback": {"value": 1}, "trace_id": ...}, {"feedback": {"value": 1}, "trace_id": "tr-" + "1" * 32}, {"feedback": {"value": 1}, "valid": False}, {"feedback": {"value": 1}, "overrides": "a-" + UNKNOWN_ID},
    {"feedback": {"value": 1}, "metadata": {"mlflow.assessment.sourceRunId": "x"}}, {"feedback": {"value": LONG}, "rationale": LONG, "metadata": {"k": LONG}}, {"feedback": {"value": "a\u0000b"}}, {"feedback": {"value": "ü🚀"}, "assessment_name": "ü 🚀.x/y"}, {"feedback": "x"}, {"feedback": None}, {"feedback": {"value": 1}, "metadata": {"a": 1}},
]


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_creating(m, trace, number):
    made = create(m, trace, **KINDS[number])
    if m.parted:
        return
    m.get(f"{V3}/{trace}/assessments/{made or 'none'}")
    m.get(f"{V3}/{trace}")
    m.get(f"{V3}/get", trace_id=trace)


def test_a_whole_life(m, trace):
    first = create(m, trace, feedback={"value": 0.5}, rationale="seen")
    path = f"{V3}/{trace}/assessments/{first}"
    for mask, change in [
        ("feedback", {"feedback": {"value": 0.1}}), ("rationale", {"rationale": "again"}), ("assessmentName,feedback", {"assessment_name": "named", "feedback": {"value": "x"}}), ("assessment_name", {"assessment_name": "named again"}), ("metadata", {"metadata": {"a": "1"}}), ("metadata", {"metadata": {"b": "2"}}),
        ("expectation", {"expectation": {"value": "x"}}), ("source", {"source": {"source_type": "CODE", "source_id": "c"}}), ("valid", {"valid": False}), ("", {"rationale": "no mask"}), ("bogus", {"rationale": "x"}), ("span_id", {"span_id": "0000000000000001"}), ("feedback,rationale", {"feedback": {"value": None}}), ("create_time", {"create_time": "2020-01-01T00:00:00Z"}),
    ]:
        m.patch(path, assessment={"assessment_id": first, "trace_id": trace, **change}, update_mask=mask)
        m.get(path)
    m.patch(path, assessment={"rationale": "neither id", "feedback": {"value": 1}})
    m.patch(path, assessment={"rationale": "only the mask is missing"}, update_mask=None)
    second = create(m, trace, feedback={"value": 0.9}, overrides=first)
    m.get(path)
    third = create(m, trace, feedback={"value": 0.95}, overrides=second)
    m.get(f"{V3}/{trace}")
    m.delete(f"{V3}/{trace}/assessments/{third}")
    m.get(f"{V3}/{trace}")
    m.delete(f"{V3}/{trace}/assessments/{second}")
    m.get(path)
    m.delete(path)
    m.delete(path)
    m.get(path)
    expectation = create(m, trace, assessment_name="expected", expectation={"value": {"a": 1}})
    m.patch(f"{V3}/{trace}/assessments/{expectation}", assessment={"expectation": {"value": [1]}}, update_mask="expectation")
    m.patch(f"{V3}/{trace}/assessments/{expectation}", assessment={"feedback": {"value": 1}}, update_mask="feedback")
    m.get(f"{V3}/{trace}")


def test_wrong_input(m, trace):
    good = {"assessment": {"assessment_name": "quality", "trace_id": trace, "source": HUMAN, **TIMES, "feedback": {"value": 1}}}
    abuse(m, "POST", f"{V3}/{trace}/assessments", good)
    made = create(m, trace, feedback={"value": 1})
    abuse(m, "PATCH", f"{V3}/{trace}/assessments/{made}", {"assessment": {"rationale": "r"}, "update_mask": "rationale"})
    for unknown in ("tr-" + "1" * 32, UNKNOWN_ID):
        m.post(f"{V3}/{unknown}/assessments", good)
        m.get(f"{V3}/{unknown}/assessments/{made}")
        m.patch(f"{V3}/{unknown}/assessments/{made}", assessment={"rationale": "r"}, update_mask="rationale")
        m.delete(f"{V3}/{unknown}/assessments/{made}")
        m.get(f"{V3}/{trace}/assessments/{unknown}")
        m.patch(f"{V3}/{trace}/assessments/{unknown}", assessment={"rationale": "r"}, update_mask="rationale")
        m.delete(f"{V3}/{trace}/assessments/{unknown}")


def test_assessments_of_deleted_traces(m, experiment, trace):
    made = create(m, trace, feedback={"value": 1})
    m.post(f"{V3}/delete-traces", experiment_id=experiment, request_ids=[trace])
    m.get(f"{V3}/{trace}/assessments/{made}")
    create(m, trace, feedback={"value": 1})


def test_the_order_of_assessments(m, trace):
    for number, time in enumerate(["2023-01-03T00:00:00Z", "2023-01-01T00:00:00Z", "2023-01-02T00:00:00Z"]):
        create(m, trace, assessment_name=f"n{number}", feedback={"value": number}, create_time=time, last_update_time=time)
    m.get(f"{V3}/{trace}")
    m.get(f"{V3}/get", trace_id=trace)
