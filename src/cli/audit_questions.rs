//! The questions that people ask most, a command each. Without `--limit` they answer all pages.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, print};
use super::times;

/// What MLflow itself calls the session and the end user of a trace.
const SESSION: &str = "mlflow.trace.session";
const USER: &str = "mlflow.trace.user";
/// The longest page that the gateway answers.
const PAGE: usize = 1000;

#[derive(Debug, Args)]
pub(super) struct PeriodArguments {
    /// Not before this time: 2026-01-31, 2026-01-31T12:00:00Z or milliseconds since 1970
    #[arg(long, value_parser = times::parse)]
    from: Option<i64>,
    /// Before this time
    #[arg(long, value_parser = times::parse)]
    to: Option<i64>,
    /// The newest so many; all if not given
    #[arg(long)]
    limit: Option<usize>,
    #[arg(long)]
    json: bool,
}

impl PeriodArguments {
    fn query(&self) -> Vec<(&'static str, String)> {
        let time = |key, time: Option<i64>| time.map(|time| (key, time.to_string()));
        [time("since", self.from), time("until", self.to)].into_iter().flatten().collect()
    }
}

#[derive(Debug, Args)]
pub(super) struct PersonArguments {
    /// user:NAME or service_principal:NAME
    principal: String,
    #[command(flatten)]
    period: PeriodArguments,
}

#[derive(Debug, Args)]
pub(super) struct DenialArguments {
    /// Of this principal alone
    #[arg(long)]
    principal: Option<String>,
    /// On this securable alone
    #[arg(long)]
    securable: Option<String>,
    #[command(flatten)]
    period: PeriodArguments,
}

#[derive(Debug, Args)]
pub(super) struct AddressArguments {
    /// Not before this time
    #[arg(long, value_parser = times::parse)]
    from: Option<i64>,
    #[arg(long)]
    limit: Option<usize>,
    #[arg(long)]
    json: bool,
}

/// One way to say whose traces.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Whose {
    /// The session, by `mlflow.trace.session`
    #[arg(long)]
    session: Option<String>,
    /// The end user, by `mlflow.trace.user`
    #[arg(long)]
    user: Option<String>,
    /// KEY=VALUE of a tag, metadata or attribute that `audit.subject_keys` names
    #[arg(long)]
    subject: Option<String>,
    #[arg(long)]
    trace_id: Option<String>,
}

impl Whose {
    fn query(self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let subject = |key: &str, value: String| vec![("key", key.to_owned()), ("value", value)];
        Ok(match self {
            Self { trace_id: Some(trace), .. } => vec![("trace_id", trace)],
            Self { session: Some(session), .. } => subject(SESSION, session),
            Self { user: Some(user), .. } => subject(USER, user),
            Self { subject: given, .. } => {
                let given = given.unwrap_or_default();
                let (key, value) = given
                    .split_once('=')
                    .ok_or_else(|| anyhow::anyhow!("`--subject {given}` must be KEY=VALUE"))?;
                subject(key, value.to_owned())
            }
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct SawArguments {
    #[command(flatten)]
    whose: Whose,
    /// read: contents or metadata; listed: also who saw that it exists; wrote: also who wrote to it
    #[arg(long, default_value = "listed")]
    level: String,
    /// Not before this time
    #[arg(long, value_parser = times::parse)]
    from: Option<i64>,
    /// Before this time
    #[arg(long, value_parser = times::parse)]
    to: Option<i64>,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct SubjectArguments {
    #[command(flatten)]
    whose: Whose,
    /// Forget which traces these are; the traces themselves stay
    #[arg(long)]
    erase: bool,
    #[arg(long)]
    json: bool,
}

pub(super) fn saw(arguments: SawArguments) -> anyhow::Result<()> {
    let mut query = arguments.whose.query()?;
    query.push(("level", arguments.level));
    query.extend(arguments.from.map(|from| ("since", from.to_string())));
    query.extend(arguments.to.map(|to| ("until", to.to_string())));
    let answer = Client::from_environment()?.call(Method::GET, "audit/seen", &query, None)?;
    let columns = ["principal", "actor", "level", "operation", "traces", "times", "first_ms", "last_ms"];
    print(&answer, arguments.json, "readers", &columns);
    Ok(())
}

pub(super) fn subject(arguments: SubjectArguments) -> anyhow::Result<()> {
    let query = arguments.whose.query()?;
    if query.iter().any(|(key, _)| *key == "trace_id") {
        anyhow::bail!("`--trace-id` is not of use here: name a session, a user or a subject");
    }
    let client = Client::from_environment()?;
    if arguments.erase {
        let answer = client.call(Method::DELETE, "audit/subjects", &query, None)?;
        print(&answer, arguments.json, "", &[]);
        return Ok(());
    }
    let found = all(&client, "audit/subjects", "trace_ids", &query, None)?;
    if arguments.json {
        print(&json!({ "trace_ids": found }), true, "trace_ids", &[]);
    } else {
        for trace in found.iter().filter_map(Value::as_str) {
            super::print_line(trace);
        }
    }
    Ok(())
}

pub(super) fn person(arguments: PersonArguments) -> anyhow::Result<()> {
    let mut query = arguments.period.query();
    query.push(("principal", arguments.principal));
    let columns =
        ["time_ms", "kind", "operation", "decision", "outcome", "status", "securables", "sight", "trace_ids"];
    events(&arguments.period, query, &columns)
}

pub(super) fn denials(arguments: DenialArguments) -> anyhow::Result<()> {
    let mut query = arguments.period.query();
    query.push(("decision", "deny".to_owned()));
    query.extend(arguments.principal.map(|principal| ("principal", principal)));
    query.extend(arguments.securable.map(|securable| ("securable", securable)));
    events(
        &arguments.period,
        query,
        &["time_ms", "principal", "actor", "operation", "status", "securables", "reason"],
    )
}

pub(super) fn changes(arguments: PeriodArguments) -> anyhow::Result<()> {
    let mut query = arguments.query();
    query.push(("kind", "policy_change".to_owned()));
    events(&arguments, query, &["time_ms", "principal", "policy_version", "policy_change"])
}

pub(super) fn failed_logins(arguments: PeriodArguments) -> anyhow::Result<()> {
    let mut query = arguments.query();
    query.push(("status", "401".to_owned()));
    events(&arguments, query, &["time_ms", "source_address", "user_agent", "claimed", "repeated", "reason"])
}

pub(super) fn break_glass(arguments: PeriodArguments) -> anyhow::Result<()> {
    let mut query = arguments.query();
    query.push(("operation", "tracegate.break_glass".to_owned()));
    events(&arguments, query, &["time_ms", "principal", "decision", "status", "policy_change", "reason"])
}

pub(super) fn new_addresses(arguments: AddressArguments) -> anyhow::Result<()> {
    let query: Vec<_> = arguments.from.map(|from| ("since", from.to_string())).into_iter().collect();
    let found = all(&Client::from_environment()?, "audit/addresses", "addresses", &query, arguments.limit)?;
    let columns = ["first_ms", "principal", "address", "known_elsewhere"];
    print(&json!({ "addresses": found }), arguments.json, "addresses", &columns);
    Ok(())
}

fn events(period: &PeriodArguments, query: Vec<(&str, String)>, columns: &[&str]) -> anyhow::Result<()> {
    let mut found = all(&Client::from_environment()?, "audit/events", "events", &query, period.limit)?;
    if !period.json {
        for event in &mut found {
            // What stands inside `request` is wanted as a column too.
            for field in ["source_address", "user_agent"] {
                event[field] = event["request"][field].clone();
            }
        }
    }
    print(&json!({ "events": found }), period.json, "events", columns);
    Ok(())
}

/// Every entry of a list, over all its pages, or the first so many.
pub(super) fn all(
    client: &Client,
    path: &str,
    list: &str,
    query: &[(&str, String)],
    limit: Option<usize>,
) -> anyhow::Result<Vec<Value>> {
    let mut found: Vec<Value> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let room = limit.map_or(PAGE, |limit| (limit - found.len()).min(PAGE));
        if room == 0 {
            return Ok(found);
        }
        let mut asked = query.to_vec();
        asked.push(("limit", room.to_string()));
        asked.extend(after.clone().map(|after| ("after", after)));
        let mut answer = client.call(Method::GET, path, &asked, None)?;
        match answer[list].take() {
            Value::Array(page) => found.extend(page),
            _ => anyhow::bail!("the gateway's answer has no list `{list}`"),
        }
        match answer["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(found),
        }
        if found.len().is_multiple_of(10 * PAGE) {
            eprintln!("{} read", found.len());
        }
    }
}
