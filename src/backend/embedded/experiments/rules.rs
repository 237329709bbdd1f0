//! What an experiment may be called, tagged with and rooted at.

use serde_json::Value;

use crate::backend::embedded::names;
use crate::backend::embedded::problem::Problem;

const NAME_LIMIT: usize = 500;
const TAG_VALUE_LIMIT: usize = 20_000;
const LOCATION_LIMIT: usize = 2048;
/// Views of its pages that MLflow's web UI keeps in an experiment's tags.
pub const CUSTOM_VIEWS: usize = 50;
const CUSTOM_VIEW: &str = "mlflow.customView.view";
const RETENTION_LIMIT: usize = 32;

pub fn check_name(name: &str) -> Result<(), Problem> {
    names::check_length("name", NAME_LIMIT, name)
}

pub fn check_tag(key: &str, value: &str) -> Result<(), Problem> {
    names::check("key", key)?;
    names::check_length("key", names::NAME_LIMIT, key)?;
    names::check_length("value", TAG_VALUE_LIMIT, value)?;
    match key {
        "mlflow.trace.archivalRetention" => check_archival(value, "value", Some("duration")),
        "mlflow.trace.archiveNow" => check_archival(value, "older_than", None),
        _ => Ok(()),
    }
}

pub fn is_custom_view(key: &str) -> bool {
    key.starts_with(CUSTOM_VIEW)
}

pub fn too_many_views(experiment: Option<i64>) -> Problem {
    let whose = experiment.map(|id| format!(" for experiment {id}")).unwrap_or_default();
    Problem::invalid(format!(
        "Unable to create another custom view{whose}; the maximum number of custom views per experiment is \
         {CUSTOM_VIEWS}. Delete an existing custom view before creating a new one."
    ))
}

/// The tags that tell MLflow when to archive traces hold a JSON object with a time span like `30d`.
fn check_archival(value: &str, field: &str, kind: Option<&str>) -> Result<(), Problem> {
    let config = match serde_json::from_str(value) {
        Ok(Value::Object(config)) => config,
        _ => return Err(Problem::invalid("Trace archival config must be encoded as a JSON object.")),
    };
    if let Some(kind) = kind.filter(|kind| config.get("type").and_then(Value::as_str) != Some(*kind)) {
        return Err(Problem::invalid(format!("Trace archival config must use type '{kind}'.")));
    }
    let span = match config.get(field) {
        None | Some(Value::Null) if kind.is_none() => return Ok(()),
        span => span.and_then(Value::as_str).map(str::trim),
    };
    if span.is_some_and(|span| span.chars().count() > RETENTION_LIMIT) {
        return Err(Problem::invalid(format!(
            "Trace archival duration must be at most {RETENTION_LIMIT} characters."
        )));
    }
    match span.and_then(|span| span.strip_suffix(['m', 'h', 'd'])) {
        Some(count) if !count.starts_with('0') && is_digits(count) => Ok(()),
        _ => Err(Problem::invalid(
            "Trace archival retention must be in the form `<int><unit>`, where unit is one of 'm', 'h', or 'd'.",
        )),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Schemes whose URIs name a host that MLflow's server would connect to.
const HOST_SCHEMES: [&str; 10] =
    ["abfss", "b2", "ftp", "hdfs", "http", "https", "mlflow-artifacts", "r2", "sftp", "viewfs"];
/// Those of them in whose paths `;` begins parameters.
const WITH_PARAMS: [&str; 4] = ["ftp", "http", "https", "sftp"];

/// Where an experiment keeps its artifacts if it names a place of its own.
pub fn check_location(location: &str) -> Result<(), Problem> {
    let scheme = scheme(location);
    let (path, query) = location.split_once('?').unwrap_or((location, ""));
    let last = path.rsplit('/').next().unwrap_or_default();
    let may_have_params = scheme.as_deref().is_none_or(|scheme| WITH_PARAMS.contains(&scheme));
    if location.contains('#') || (may_have_params && last.contains(';')) {
        return Err(Problem::invalid("'artifact_location' URL can't include fragments or params."));
    }
    if decoded(query).contains("..") {
        return Err(Problem::invalid("Invalid query string"));
    }
    check_host("artifact_location", location)?;
    if location.starts_with("runs:") {
        return Err(Problem::invalid(format!(
            "Artifact location cannot be a runs:/ URI. Given: '{location}'"
        )));
    }
    if location.chars().count() > LOCATION_LIMIT {
        return Err(Problem::invalid(format!(
            "Invalid artifact path length. The length of the artifact path cannot be greater than \
             {LOCATION_LIMIT} characters. To configure this limit, please set the \
             MLFLOW_ARTIFACT_LOCATION_MAX_LENGTH environment variable."
        )));
    }
    if !location.starts_with('/') && scheme.is_none() {
        return Err(Problem::invalid(format!(
            "'artifact_location' must be a URI or an absolute path. Given: '{location}'"
        )));
    }
    Ok(())
}

/// Refuses a URI by which a client would choose a host. `field` is what the message calls it.
pub fn check_host(field: &str, uri: &str) -> Result<(), Problem> {
    match scheme(uri).filter(|scheme| names_host(scheme, uri)) {
        Some(scheme) => Err(Problem::invalid(format!(
            "'{field}' cannot use the '{scheme}' scheme: the '{scheme}' scheme addresses a host other than the \
             tracking server's configured artifact storage, so the server would connect to the host named in the \
             URI. Set the MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES environment variable on the server to \
             allow it."
        ))),
        None => Ok(()),
    }
}

fn names_host(scheme: &str, location: &str) -> bool {
    let rest = &location[scheme.len()..];
    // `mlflow-artifacts:/path` and `mlflow-artifacts:///path` are of this server.
    let own = scheme == "mlflow-artifacts" && (!rest.starts_with("://") || rest.starts_with(":///"));
    HOST_SCHEMES.contains(&scheme) && !own
}

/// Percent-decoded until nothing is left to decode.
fn decoded(query: &str) -> String {
    let mut text = query.to_owned();
    for _ in 0..10 {
        let next = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if next == text {
            break;
        }
        text = next;
    }
    text
}

/// In lower case.
fn scheme(location: &str) -> Option<String> {
    let (scheme, _) = location.split_once(':')?;
    let fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    fits.then(|| scheme.to_ascii_lowercase())
}
