use proptest::prelude::*;
use serde_json::json;

use super::*;

/// What one request says.
#[derive(Debug, Clone)]
enum Said {
    Head(Head),
    Spans(FromSpans),
}

fn texts(pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect()
}

fn told(order: &[&Said]) -> State {
    let mut state = None;
    for said in order {
        state = Some(match said {
            Said::Head(head) => with_head(state, head.clone(), "mlflow-artifacts:/1/traces/t/artifacts"),
            Said::Spans(spans) => {
                with_spans(state, "t", 1, "mlflow-artifacts:/1/traces/t/artifacts", spans.clone())
            }
        });
    }
    let mut state = state.unwrap();
    state.span_tags.sort();
    state
}

prop_compose! {
    fn heads()(
        time in 0..100_i64,
        duration in proptest::option::of(0..100_i64),
        state in prop::sample::select(vec!["OK", "ERROR", "IN_PROGRESS", "STATE_UNSPECIFIED"]),
        preview in proptest::option::of("h[a-c]"),
        tag in any::<bool>(),
        usage in any::<bool>(),
        session in any::<bool>(),
    ) -> Head {
        let mut metadata = texts(&[("a", "head")]);
        if usage {
            metadata.insert(TOKEN_USAGE.to_owned(), json!(r#"{"input_tokens": 7}"#));
        }
        if session {
            metadata.insert(SESSION.to_owned(), json!("head"));
        }
        Head {
            trace_id: "t".to_owned(),
            experiment_id: 1,
            request_time: time,
            duration,
            state: state.to_owned(),
            client_request_id: Some("c".to_owned()),
            request_preview: preview.clone(),
            response_preview: preview,
            tags: if tag { texts(&[("both", "head"), ("head", "h")]) } else { Map::new() },
            metadata,
        }
    }
}

prop_compose! {
    fn spans()(
        start in 0..100_i64,
        end in proptest::option::of(0..200_i64),
        root in any::<bool>(),
        usage in any::<bool>(),
    ) -> FromSpans {
        FromSpans {
            start,
            end,
            root_state: root.then(|| "ERROR".to_owned()),
            request_preview: root.then(|| "from the root".to_owned()),
            user: Some("u".to_owned()),
            tags: vec![("both".to_owned(), "span".to_owned())],
            tokens: usage.then_some([Some(1), Some(2), Some(3), None, None, None]),
            ..FromSpans::default()
        }
    }
}

proptest! {
    #[test]
    fn no_order_and_no_repetition_shows(
        head in heads(),
        first in spans(),
        second in spans(),
        order in Just(vec![0, 1, 2, 0, 1, 2]).prop_shuffle(),
    ) {
        // One export has the root, as one trace has one.
        let second = FromSpans { root_state: None, request_preview: None, ..second };
        let all = [Said::Head(head), Said::Spans(first), Said::Spans(second)];
        let expected = told(&[&all[0], &all[1], &all[2]]);
        let shuffled: Vec<&Said> = order.iter().map(|at| &all[*at]).collect();
        prop_assert_eq!(told(&shuffled), expected);
    }
}

#[test]
fn spans_fill_in_what_start_trace_leaves_open() {
    let head = Head {
        trace_id: "t".to_owned(),
        experiment_id: 1,
        request_time: 1_000,
        duration: Some(50),
        state: "IN_PROGRESS".to_owned(),
        client_request_id: None,
        request_preview: None,
        response_preview: Some("answer".to_owned()),
        tags: texts(&[("k", "head"), (ARTIFACT_LOCATION, "elsewhere")]),
        metadata: texts(&[(COST, r#"{"total_cost": 1}"#), (TOKEN_USAGE, "nothing")]),
    };
    let spans = FromSpans {
        start: 990,
        end: Some(2_000),
        root_state: Some("OK".to_owned()),
        request_preview: Some("question".to_owned()),
        response_preview: Some("other".to_owned()),
        tags: vec![("k".to_owned(), "span".to_owned())],
        ..FromSpans::default()
    };
    let state = told(&[&Said::Head(head), &Said::Spans(spans)]);
    assert_eq!((state.request_time, state.duration), (990, Some(1_010)));
    assert_eq!((state.state.as_str(), state.request_preview.as_deref()), ("OK", Some("question")));
    assert_eq!(state.response_preview.as_deref(), Some("answer"));
    assert_eq!(state.tags["k"], "span");
    assert_eq!(state.tags[ARTIFACT_LOCATION], "mlflow-artifacts:/1/traces/t/artifacts");
    assert_eq!(state.metadata[COST], r#"{"total_cost": 1.0}"#);
    assert!(!state.metadata.contains_key(TOKEN_USAGE));
}

#[test]
fn the_end_that_start_trace_tells_is_cut_from_nanoseconds() {
    let ends_after = |spans_end| {
        let head = Head {
            trace_id: "t".to_owned(),
            experiment_id: 1,
            request_time: 1_000,
            duration: Some(50),
            state: "OK".to_owned(),
            client_request_id: None,
            request_preview: None,
            response_preview: None,
            tags: Map::new(),
            metadata: Map::new(),
        };
        let spans = FromSpans { start: 1_000, end: Some(spans_end), ..FromSpans::default() };
        let (head, spans) = (Said::Head(head), Said::Spans(spans));
        let state = told(&[&head, &spans]);
        assert_eq!(state, told(&[&spans, &head]));
        state.duration
    };
    assert_eq!([1_040, 1_051, 1_052].map(ends_after), [Some(50), Some(50), Some(52)]);
}

#[test]
fn the_last_start_trace_counts_unless_the_root_span_knows_more() {
    let head = |state: &str| {
        Said::Head(Head {
            trace_id: "t".to_owned(),
            experiment_id: 1,
            request_time: 0,
            duration: None,
            state: state.to_owned(),
            client_request_id: None,
            request_preview: None,
            response_preview: None,
            tags: Map::new(),
            metadata: Map::new(),
        })
    };
    let root = Said::Spans(FromSpans { root_state: Some("OK".to_owned()), ..FromSpans::default() });
    assert_eq!(told(&[&head("ERROR"), &head("IN_PROGRESS")]).state, "IN_PROGRESS");
    assert_eq!(told(&[&root, &head("IN_PROGRESS")]).state, "OK");
    assert_eq!(told(&[&root, &head("ERROR")]).state, "ERROR");
}
