//! What the demo starts with: callers of every level, two experiments, and real traces in both, written
//! through the gateway like anybody's.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use super::client::Client;
use crate::access::{Effect, NewGrant, Principal, Securable};
use crate::app::App;

pub(super) struct Seeded {
    pub tokens: BTreeMap<String, String>,
    pub experiments: BTreeMap<String, String>,
}

/// The callers in the order in which they are shown.
pub(super) const CALLERS_TOLD: &[(&str, &str)] = &[
    ("admin", "administrator"),
    ("alice", "CAN_MANAGE on support-bot"),
    ("bob", "CAN_READ on support-bot, through the group analysts"),
    ("agent", "a service principal with CAN_INGEST on support-bot"),
    ("erin", "CAN_ASSESS on support-bot"),
    ("lena", "CAN_LIST on support-bot"),
    ("dave", "CAN_MANAGE on secret-lab"),
    ("carol", "nothing"),
];

/// Seeds whatever is not there yet; tokens are new at each start.
pub(super) async fn seed(app: &Arc<App>, url: &str) -> anyhow::Result<Seeded> {
    let now = app.clock.now();
    let mut tokens = BTreeMap::new();
    for (name, _) in CALLERS_TOLD {
        let principal = principal(name)?;
        app.store.ensure_principal(&principal, "demo", now).await?;
        let (token, _) = app.identity.issue_token(&principal, "demo", None, "demo").await?;
        tokens.insert((*name).to_owned(), token);
    }
    app.store.add_member(&Principal::group("admins")?, &principal("admin")?, "demo", now).await?;
    app.store.add_member(&Principal::group("analysts")?, &principal("bob")?, "demo", now).await?;
    app.reload_policy().await?;

    let admin = Client::new(url, &tokens["admin"]);
    let mut experiments = BTreeMap::new();
    let mut fresh = Vec::new();
    for name in ["support-bot", "secret-lab"] {
        let (id, made) = experiment(&admin, name).await?;
        if made {
            fresh.push(name);
        }
        experiments.insert(name.to_owned(), id);
    }
    let support: Securable = format!("experiment:{}", experiments["support-bot"]).parse()?;
    let secret: Securable = format!("experiment:{}", experiments["secret-lab"]).parse()?;
    let grants = [
        (principal("alice")?, &support, "CAN_MANAGE"),
        (Principal::group("analysts")?, &support, "CAN_READ"),
        (principal("agent")?, &support, "CAN_INGEST"),
        (principal("erin")?, &support, "CAN_ASSESS"),
        (principal("lena")?, &support, "CAN_LIST"),
        (principal("dave")?, &secret, "CAN_MANAGE"),
    ];
    for (principal, securable, level) in grants {
        let grant = NewGrant {
            principal,
            securable: securable.clone(),
            privilege: level.to_owned(),
            effect: Effect::Allow,
            reason: Some("demo".to_owned()),
            expires_at: None,
        };
        app.store.add_grant(&grant, "demo", now).await?;
    }
    app.reload_policy().await?;
    let authors = [("support-bot", "alice", SUPPORT), ("secret-lab", "dave", SECRET)];
    for (name, author, talks) in authors {
        if fresh.contains(&name) {
            let client = Client::new(url, &tokens[author]);
            for (question, answer) in talks {
                trace(&client, &experiments[name], question, answer, now.0).await?;
            }
        }
    }
    Ok(Seeded { tokens, experiments })
}

const SUPPORT: &[(&str, &str)] = &[
    ("How do I reset my password?", "Open the account page and choose Reset."),
    ("My order 1042 has not arrived.", "It left our warehouse on Monday."),
    ("Please cancel my subscription.", "It ends with this month."),
];
const SECRET: &[(&str, &str)] = &[
    ("What did the third trial show?", "Compound 7 was stable for 40 days."),
    ("Who knows about the merger?", "Only the board."),
];

fn principal(name: &str) -> anyhow::Result<Principal> {
    Ok(if name == "agent" { Principal::service_principal(name)? } else { Principal::user(name)? })
}

async fn experiment(admin: &Client, name: &str) -> anyhow::Result<(String, bool)> {
    let by_name = [("experiment_name", name.to_owned())];
    let path = "/api/2.0/mlflow/experiments/get-by-name";
    if let Ok(found) = admin.call_async(Method::GET, path, &by_name, None).await
        && let Some(id) = found["experiment"]["experiment_id"].as_str()
    {
        return Ok((id.to_owned(), false));
    }
    let body = json!({ "name": name });
    let made = admin.call_async(Method::POST, "/api/2.0/mlflow/experiments/create", &[], Some(&body)).await?;
    let id = made["experiment_id"].as_str();
    Ok((id.ok_or_else(|| anyhow::anyhow!("MLflow answered without an experiment id"))?.to_owned(), true))
}

/// One trace with nested spans, written as MLflow's own SDK writes it: its head, then its payload.
async fn trace(
    client: &Client,
    experiment: &str,
    question: &str,
    answer: &str,
    now_ms: i64,
) -> anyhow::Result<()> {
    let id = uuid::Uuid::new_v4();
    let hex = id.simple().to_string();
    let trace_id = format!("tr-{hex}");
    let (inputs, outputs) = (json!({ "question": question }).to_string(), json!(answer).to_string());
    let seconds = u64::try_from(now_ms / 1000)?;
    let info = json!({ "trace": { "trace_info": {
        "trace_id": trace_id,
        "trace_location": { "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": { "experiment_id": experiment } },
        "request_time": format!("{}", rfc3339(seconds)),
        "execution_duration": "0.350s",
        "state": "OK",
        "trace_metadata": {
            "mlflow.trace_schema.version": "3", "mlflow.traceInputs": inputs, "mlflow.traceOutputs": outputs,
        },
        "tags": { "mlflow.traceName": "answer", "demo": "true" },
        "request_preview": inputs,
        "response_preview": outputs,
    } } });
    client.call_async(Method::POST, "/api/3.0/mlflow/traces", &[], Some(&info)).await?;

    let start = seconds * 1_000_000_000;
    let span = |number: u64, parent: Option<u64>, name: &str, kind: &str, input: &str, output: &str| {
        let attribute = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
        let mut span = json!({
            "traceId": hex, "spanId": format!("{number:016x}"), "name": name, "kind": 1,
            "startTimeUnixNano": (start + number * 1_000_000).to_string(),
            "endTimeUnixNano": (start + 350_000_000 - number * 1_000_000).to_string(),
            "status": { "code": 1 },
            "attributes": [
                attribute("mlflow.spanType", kind),
                attribute("mlflow.spanInputs", input),
                attribute("mlflow.spanOutputs", output),
            ],
        });
        if let Some(parent) = parent {
            span["parentSpanId"] = Value::String(format!("{parent:016x}"));
        }
        span
    };
    let spans = [
        span(1, None, "answer", "AGENT", &inputs, &outputs),
        span(2, Some(1), "retrieve", "RETRIEVER", &inputs, "[\"handbook, page 12\"]"),
        span(3, Some(1), "complete", "CHAT_MODEL", &inputs, &outputs),
    ];
    let export = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] });
    client.export(experiment, &export).await
}

/// `2026-01-31T12:00:00Z` of seconds since 1970.
fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil date from days, by counting eras of 400 years from 0000-03-01.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest % 3600 / 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_written_as_the_calendar_has_them() {
        assert_eq!(super::rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(super::rfc3339(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(super::rfc3339(1_795_322_417), "2026-11-22T04:40:17Z");
    }
}
