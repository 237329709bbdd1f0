use super::pieces::Pieces;
use super::*;
use crate::backend::embedded::filter::{Comparator, Value};
use crate::backend::embedded::search::meaning::SpanColumn;
use crate::backend::embedded::testing::TestStore;

async fn execute(store: &TestStore, sql: &str) {
    sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&store.shared.database.writer).await.unwrap();
}

async fn add(store: &TestStore, trace: i64, content: &str) {
    execute(
        store,
        &format!(
            "INSERT INTO traces (trace_no, trace_id, experiment_id, request_time, state) VALUES \
             ({trace}, 't{trace}', 0, {trace}, 'OK') ON CONFLICT DO NOTHING"
        ),
    )
    .await;
    execute(
        store,
        &format!(
            "INSERT INTO spans (trace_no, span_id, name, status, start_time, content) VALUES \
             ({trace}, 'a', 'n', 'OK', 0, '{content}') ON CONFLICT (trace_no, span_id) DO UPDATE SET \
             content = excluded.content"
        ),
    )
    .await;
}

/// Fills the index until nothing is pending.
async fn settle(store: &TestStore) {
    let shared = &store.shared;
    let index = shared.content.as_ref().unwrap();
    let filler = fill::Filler {
        index: index.database.clone(),
        traces: shared.database.clone(),
        writer: shared.writer.clone(),
        objects: shared.objects.clone(),
    };
    while filler.step().await.unwrap() > 0 {}
}

async fn pieces_that_hold(store: &TestStore, text: &str) -> Option<Vec<i64>> {
    let mut filter = SpanFilter::default();
    filter.push(SpanColumn::Content, Comparator::Like, Value::Text(format!("%{text}%")));
    candidates(&store.shared, &filter).await.unwrap()
}

#[actix_rt::test]
async fn changes_are_found_before_and_after_they_are_indexed() {
    let store = TestStore::open().await;
    settle(&store).await;
    for trace in 1..=5 {
        add(&store, trace, &format!("{{\"word\": \"Zürich{trace}\"}}")).await;
    }
    settle(&store).await;
    assert_eq!(pieces_that_hold(&store, "Zürich3").await, Some(vec![3]));
    assert_eq!(pieces_that_hold(&store, "zÜRICH4").await, Some(vec![4]));
    assert_eq!(pieces_that_hold(&store, "ich").await, Some(vec![1, 2, 3, 4, 5]));
    assert_eq!(pieces_that_hold(&store, "\"word\": \"").await, Some(vec![1, 2, 3, 4, 5]));
    assert_eq!(pieces_that_hold(&store, "ab").await, None);
    add(&store, 3, "{\"word\": \"Basel\"}").await;
    assert!(pieces_that_hold(&store, "Basel").await.unwrap().contains(&3));
    settle(&store).await;
    assert_eq!(pieces_that_hold(&store, "Basel").await, Some(vec![3]));
    assert_eq!(pieces_that_hold(&store, "Zürich3").await, Some(vec![]));
    execute(&store, "DELETE FROM traces WHERE trace_no = 5").await;
    settle(&store).await;
    assert_eq!(pieces_that_hold(&store, "Zürich5").await, Some(vec![]));
}

#[actix_rt::test]
async fn an_index_of_other_traces_begins_anew() {
    let store = TestStore::open().await;
    add(&store, 1, "{\"word\": \"Genève\"}").await;
    settle(&store).await;
    execute(&store, "UPDATE content_index SET id = 'another'").await;
    execute(&store, "DELETE FROM content_pending").await;
    settle(&store).await;
    assert_eq!(pieces_that_hold(&store, "Genève").await, Some(vec![1]));
}

#[test]
fn pieces_overlap_and_characters_stay_whole() {
    let mut pieces = Pieces::default();
    let text = "aé€".repeat(200_000);
    let mut cut = Vec::new();
    for chunk in text.as_bytes().chunks(7) {
        pieces.push(chunk);
        cut.extend(pieces.full());
    }
    pieces.end();
    cut.extend(pieces.last());
    assert!(cut.len() > 3);
    for window in cut.windows(2) {
        let end: String = window[0].chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
        assert!(window[1].contains(&end));
        assert!(window[0].chars().all(|character| "aé€".contains(character)));
    }
}
