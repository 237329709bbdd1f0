//! The walk: every experiment, every page of its traces, and who wrote its runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::client::Client;

/// A gateway that restarts, or a server that is slow, is waited for.
const ATTEMPTS: u32 = 30;
const PAUSE: Duration = Duration::from_secs(2);
/// Traces that come or go while one walks shift the pages; then they are walked again, so often.
const WALKS: usize = 3;
const TELL: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Experiment {
    pub id: String,
    pub name: String,
    root: String,
    traces: u64,
    claimed: u64,
    /// Runs and traces by who says to have written them.
    pub writers: BTreeMap<String, u64>,
    elsewhere: BTreeSet<String>,
    unknown_ids: BTreeSet<String>,
    /// The server says that it holds another number of traces than the last walk met.
    unstable: bool,
}

#[derive(Debug, Default)]
pub(super) struct Walk {
    pub experiments: Vec<Experiment>,
}

impl Walk {
    pub async fn through(client: &Client, only: &[String]) -> anyhow::Result<Self> {
        let mut walk = Self { experiments: experiments(client, only).await? };
        let (count, began, mut told) = (walk.experiments.len(), Instant::now(), Instant::now());
        for index in 0..count {
            for attempt in 1..=WALKS {
                let experiment = &mut walk.experiments[index];
                experiment.traces(client).await?;
                if experiment.is_all_there(client).await? {
                    break;
                }
                experiment.unstable = attempt == WALKS;
            }
            walk.experiments[index].runs(client).await?;
            if told.elapsed() >= TELL || index + 1 == count {
                told = Instant::now();
                eprintln!("{}", walk.progress(index + 1, began.elapsed()));
            }
        }
        Ok(walk)
    }

    fn progress(&self, done: usize, took: Duration) -> String {
        let (traces, seconds) = (self.traces(), took.as_secs_f64().max(0.001));
        let left = seconds / done as f64 * (self.experiments.len() - done) as f64;
        format!(
            "{done} of {} experiments, {traces} traces ({:.0} a second), {} claimed now; about {left:.0} s left",
            self.experiments.len(),
            traces as f64 / seconds,
            self.claimed()
        )
    }

    pub fn traces(&self) -> u64 {
        self.experiments.iter().map(|one| one.traces).sum()
    }

    pub fn claimed(&self) -> u64 {
        self.experiments.iter().map(|one| one.claimed).sum()
    }

    pub fn elsewhere(&self) -> BTreeSet<&String> {
        self.experiments.iter().flat_map(|one| &one.elsewhere).collect()
    }

    pub fn unknown_ids(&self) -> BTreeSet<&String> {
        self.experiments.iter().flat_map(|one| &one.unknown_ids).collect()
    }

    pub fn unstable(&self) -> Vec<&String> {
        self.experiments.iter().filter(|one| one.unstable).map(|one| &one.id).collect()
    }

    /// Artifact roots that two experiments share, or that lie one in another: nobody but administrators gets what
    /// lies where two of them meet.
    pub fn shared_roots(&self) -> Vec<[&String; 2]> {
        let segments = |one: &'_ Experiment| one.root.trim_end_matches('/').to_owned() + "/";
        let mut roots: Vec<(String, &Experiment)> =
            self.experiments.iter().map(|one| (segments(one), one)).collect();
        roots.retain(|(root, _)| root != "/");
        roots.sort_by(|one, other| one.0.cmp(&other.0));
        // Sorted, what lies below a root comes right after it.
        let mut above: Vec<(String, &Experiment)> = Vec::new();
        let mut shared = Vec::new();
        for (root, one) in roots {
            while above.last().is_some_and(|(outer, _)| !root.starts_with(outer.as_str())) {
                above.pop();
            }
            if let Some((_, outer)) = above.last() {
                shared.push([&outer.id, &one.id]);
            }
            above.push((root, one));
        }
        shared
    }

    pub fn describe(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{} experiments with {} traces; {} of them were claimed now",
            self.experiments.len(),
            self.traces(),
            self.claimed()
        )];
        let some = |ids: Vec<String>| match ids.len() {
            0..=5 => ids.join(", "),
            more => format!("{}, … ({more})", ids[..5].join(", ")),
        };
        let texts = |ids: BTreeSet<&String>| some(ids.into_iter().cloned().collect());
        for (what, ids) in [
            ("claimed for another experiment before, and staying there", texts(self.elsewhere())),
            ("with ids that MLflow does not make, closed to everybody", texts(self.unknown_ids())),
            (
                "in experiments that changed while they were read (adopted at first sight; or run this again)",
                some(self.unstable().into_iter().cloned().collect()),
            ),
            (
                "experiments with artifacts in each other's place",
                some(self.shared_roots().iter().map(|[one, other]| format!("{one} and {other}")).collect()),
            ),
        ] {
            if !ids.is_empty() {
                lines.push(format!("  {what}: {ids}"));
            }
        }
        lines
    }
}

impl Experiment {
    #[cfg(test)]
    pub fn written_by(id: &str, name: &str, writers: &[(&str, u64)]) -> Self {
        let writers = writers.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Self { id: id.to_owned(), name: name.to_owned(), writers, ..Self::default() }
    }

    async fn traces(&mut self, client: &Client) -> anyhow::Result<()> {
        self.traces = 0;
        let mut authors = BTreeMap::new();
        let mut token = Value::Null;
        loop {
            let page = self.page(client, "traces", &token).await?;
            self.traces += page["traces"].as_u64().unwrap_or_default();
            self.claimed += page["claimed"].as_u64().unwrap_or_default();
            self.elsewhere.extend(texts(&page["elsewhere"]));
            self.unknown_ids.extend(texts(&page["unknown_ids"]));
            add(&mut authors, &page["authors"]);
            token = page["next_page_token"].clone();
            if token.is_null() {
                break;
            }
        }
        self.writers = authors;
        Ok(())
    }

    async fn runs(&mut self, client: &Client) -> anyhow::Result<()> {
        let mut token = Value::Null;
        loop {
            let page = self.page(client, "runs", &token).await?;
            add(&mut self.writers, &page["authors"]);
            token = page["next_page_token"].clone();
            if token.is_null() {
                return Ok(());
            }
        }
    }

    async fn is_all_there(&self, client: &Client) -> anyhow::Result<bool> {
        let held = self.page(client, "held", &Value::Null).await?;
        Ok(held["traces"].as_u64().is_none_or(|held| held == self.traces))
    }

    async fn page(&self, client: &Client, what: &str, token: &Value) -> anyhow::Result<Value> {
        ask(client, what, &json!({ "experiment_id": self.id, "page_token": token })).await
    }
}

async fn experiments(client: &Client, only: &[String]) -> anyhow::Result<Vec<Experiment>> {
    let mut experiments = Vec::new();
    let mut token = Value::Null;
    loop {
        let page = ask(client, "experiments", &json!({ "page_token": token })).await?;
        for one in page["experiments"].as_array().into_iter().flatten() {
            let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            experiments.push(Experiment {
                id: text("experiment_id"),
                name: text("name"),
                root: text("artifact_location"),
                ..Experiment::default()
            });
        }
        token = page["next_page_token"].clone();
        if token.is_null() {
            break;
        }
    }
    if let Some(missing) = only.iter().find(|id| !experiments.iter().any(|one| one.id == **id)) {
        anyhow::bail!("`--experiment {missing}`: the server has no experiment of this id");
    }
    experiments.retain(|one| only.is_empty() || only.contains(&one.id));
    Ok(experiments)
}

/// Asks for a page, which can be asked for again: a gateway or server that is away is waited for.
async fn ask(client: &Client, what: &str, body: &Value) -> anyhow::Result<Value> {
    let path = format!("/api/tracegate/v1/adoption/{what}");
    let mut attempt = 1;
    loop {
        match client.call_async(Method::POST, &path, &[], Some(body)).await {
            Err(error) if attempt < ATTEMPTS && is_passing(&error) => {
                eprintln!("waiting: {error:#}");
                tokio::time::sleep(PAUSE).await;
                attempt += 1;
            }
            answer => return answer,
        }
    }
}

/// Whether the same question may be answered later: the gateway cannot be reached, or something behind it is away.
fn is_passing(error: &anyhow::Error) -> bool {
    let text = error.to_string();
    ["429", "502", "503", "504"].iter().any(|status| text.starts_with(&format!("{status}:")))
        || text.contains("cannot be reached")
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn add(counts: &mut BTreeMap<String, u64>, more: &Value) {
    for (name, count) in more.as_object().into_iter().flatten() {
        *counts.entry(name.clone()).or_default() += count.as_u64().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_in_each_others_place_are_found() {
        let one =
            |id: &str, root: &str| Experiment { id: id.into(), root: root.into(), ..Experiment::default() };
        let walk = Walk {
            experiments: vec![
                one("1", "mlflow-artifacts:/1"),
                one("2", "mlflow-artifacts:/1/inner/"),
                one("3", "mlflow-artifacts:/10"),
                one("4", "mlflow-artifacts:/10"),
                one("5", "mlflow-artifacts:/1/inner2"),
                one("6", ""),
            ],
        };
        let shared: Vec<[&str; 2]> =
            walk.shared_roots().into_iter().map(|pair| pair.map(String::as_str)).collect();
        assert_eq!(shared, [["1", "2"], ["1", "5"], ["3", "4"]]);
    }

    #[test]
    fn what_passes_is_waited_for_and_a_refusal_is_told() {
        for (text, passing) in [
            ("503: no decision can be made now", true),
            ("the gateway at `http://127.0.0.1:1` cannot be reached: refused", true),
            ("403: `user:bob` does not have `workspace.manage`", false),
            ("409: there is nothing to adopt", false),
            ("500: 503: x", false),
        ] {
            assert_eq!(is_passing(&anyhow::anyhow!("{text}")), passing, "{text}");
        }
    }
}
