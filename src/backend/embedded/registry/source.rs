//! Where a version's files come from: which sources are taken, and what they lead to.
//!
//! A source must not lead a reader of the version to files of others. One below `mlflow-artifacts:` or `runs:`
//! must lie in the run or logged model that the request names (and that the gateway has asked about), one of
//! another version of the registry takes that version's origin, and no path climbs or is relative.

use sqlx::AnyConnection;

use super::super::experiments::check_host;
use super::super::logged_models;
use super::super::problem::Problem;
use super::names;
use super::read::{Model, Version};
use super::uri::{Fragments, Uri, without_escapes};
use super::{MODEL_TAGS, aliases, says_prompt, stages};

/// What stands in place of a source for the versions of prompts.
const PROMPT_PLACEHOLDERS: [&str; 2] = ["dummy-source", "prompt-template"];
/// Where a version is said to come from; what is empty was not said.
#[derive(Debug, Clone)]
pub struct Origin {
    pub source: String,
    pub run_id: Option<String>,
    pub model_id: Option<String>,
}

/// What a request of a version comes to.
#[derive(Debug)]
pub struct Resolved {
    pub source: String,
    pub run_id: String,
    /// The logged model that is to know of the version.
    pub model_id: Option<String>,
    pub storage_location: String,
}

/// Checks what needs no look at the store.
pub fn check(source: &str, is_prompt: bool) -> Result<(), Problem> {
    if is_prompt && !PROMPT_PLACEHOLDERS.contains(&source) {
        return Err(Problem::invalid(format!(
            "Invalid prompt source: '{source}'. Prompt sources must use an MLflow placeholder."
        )));
    }
    check_host("source", source)
}

/// Checks the source of a version and finds what it leads to.
pub async fn resolve(
    connection: &mut AnyConnection,
    origin: Origin,
    is_prompt: bool,
) -> Result<Resolved, Problem> {
    let origin = if is_prompt { origin } else { inherit(connection, origin).await? };
    let model_id = origin.model_id.filter(|id| !id.is_empty());
    let mut run_id = origin.run_id.unwrap_or_default();
    let source = origin.source;
    if !is_prompt {
        match &model_id {
            Some(model_id) => check_against_model(connection, &source, model_id).await?,
            None => check_against_run(connection, &source, &run_id).await?,
        }
    }
    let mut storage_location = source.clone();
    if Uri::parse(&source, Fragments::Apart).scheme == "models" {
        let target = match ModelUri::parse(&source) {
            Some(ModelUri::Logged(model_id)) => {
                logged_models::origin(connection, model_id).await.map(|model| {
                    if run_id.is_empty() {
                        run_id = model.source_run_id;
                    }
                    model.artifact_location
                })
            }
            Some(ModelUri::Version(name, version)) => {
                Version::numbered(connection, name, names::version(version)?)
                    .await
                    .map(|version| version.storage_location)
            }
            _ => Err(must_contain(&source, "model_id")),
        };
        storage_location = target.map_err(|problem| Problem {
            message: format!(
                "Unable to fetch model from model URI source artifact location '{source}'.Error: {problem}"
            ),
            ..problem
        })?;
    }
    if let Some(model_id) = model_id.as_deref().filter(|_| run_id.is_empty()) {
        run_id = logged_models::origin(connection, model_id).await?.source_run_id;
    }
    let model_id = model_id.filter(|_| !is_prompt);
    Ok(Resolved { source, run_id, model_id, storage_location })
}

/// A source that is another version of the registry gives the new one its origin.
async fn inherit(connection: &mut AnyConnection, origin: Origin) -> Result<Origin, Problem> {
    let source = &origin.source;
    let uri = Uri::parse(source, Fragments::Apart);
    if uri.scheme != "models" {
        return Ok(origin);
    }
    let invalid = |why: &str| Problem::invalid(format!("Invalid model version source: '{source}'. {why}"));
    if !uri.authority.is_empty() {
        return Err(invalid("Registered model sources must use the active model registry."));
    }
    let parsed = ModelUri::parse(source).ok_or_else(|| must_contain(source, "model_id"))?;
    let name = match parsed {
        ModelUri::Logged(_) => return Ok(origin),
        ModelUri::Version(name, _) | ModelUri::Stage(name, _) | ModelUri::Alias(name, _) => name,
    };
    let model = Model::named(connection, name).await?;
    let tags = MODEL_TAGS.of(connection, &[model.model_no]).await?;
    if tags.get(&model.model_no).is_some_and(|tags| says_prompt(tags)) {
        return Err(invalid("Prompt versions cannot be used as model version sources."));
    }
    let version = match parsed {
        ModelUri::Version(name, version) => {
            Version::numbered(connection, name, names::version(version)?).await?
        }
        ModelUri::Alias(name, alias) => aliases::version_of(connection, name, alias).await?,
        ModelUri::Stage(name, stage) => latest(connection, name, stage).await?,
        ModelUri::Logged(_) => return Ok(origin),
    };
    let differs = |said: &Option<String>, is: &str| said.as_deref().is_some_and(|said| said != is);
    if differs(&origin.run_id, &version.run_id) || differs(&origin.model_id, "") {
        return Err(invalid(
            "The run_id and model_id request parameters must match the referenced model version.",
        ));
    }
    Ok(Origin {
        source: format!("models:/{name}/{}", version.version),
        run_id: Some(version.run_id),
        model_id: origin.model_id,
    })
}

/// The latest version of a stage, or of all.
async fn latest(connection: &mut AnyConnection, name: &str, stage: Option<&str>) -> Result<Version, Problem> {
    let stages: Vec<String> = stage.map(str::to_owned).into_iter().collect();
    let versions = stages::latest_of(connection, name, &stages).await?;
    versions.into_iter().max_by_key(|version| version.version).ok_or_else(|| {
        let stage = stage.map_or(String::new(), |stage| format!(" and stage '{stage}'"));
        Problem::missing(format!("No versions of model with name '{name}'{stage} found"))
    })
}

/// The source is in the run that the request names, or in no run.
async fn check_against_run(
    connection: &mut AnyConnection,
    source: &str,
    run_id: &str,
) -> Result<(), Problem> {
    if is_local(source)? {
        let root = match run_id {
            "" => None,
            _ => Some(run_artifacts(connection, source, run_id).await?),
        };
        return local_within(source, root.as_deref(), "run_id");
    }
    no_relative_path(source)?;
    let uri = Uri::parse(source, Fragments::Apart);
    let refuse = |id: &str| Err(must_contain(source, id));
    match uri.scheme.as_str() {
        "runs" => {
            let named = uri.path.strip_prefix('/').and_then(|path| path.split('/').next()).unwrap_or("");
            let same = uri.authority.is_empty() && !named.is_empty() && named == run_id;
            if same { Ok(()) } else { refuse("run_id") }
        }
        "models" if matches!(ModelUri::parse(source), None | Some(ModelUri::Logged(_))) => refuse("model_id"),
        "mlflow-artifacts" if run_id.is_empty() => refuse("run_id"),
        "mlflow-artifacts" => {
            let root = run_artifacts(connection, source, run_id).await?;
            let within = uri.is_within(&Uri::parse(&root, Fragments::Apart));
            if within { Ok(()) } else { refuse("run_id") }
        }
        _ => Ok(()),
    }
}

/// The source is in the logged model that the request names, or in none.
async fn check_against_model(
    connection: &mut AnyConnection,
    source: &str,
    model_id: &str,
) -> Result<(), Problem> {
    let refuse = || Err(must_contain(source, "model_id"));
    if is_local(source)? {
        let root = model_artifacts(connection, source, model_id).await?;
        return local_within(source, Some(&root), "model_id");
    }
    no_relative_path(source)?;
    let uri = Uri::parse(source, Fragments::Apart);
    match uri.scheme.as_str() {
        "runs" => refuse(),
        "models" => match ModelUri::parse(source) {
            None => refuse(),
            Some(ModelUri::Logged(named)) if named != model_id => refuse(),
            Some(_) => Ok(()),
        },
        "mlflow-artifacts" => {
            let root = model_artifacts(connection, source, model_id).await?;
            let within = uri.is_within(&Uri::parse(&root, Fragments::Apart));
            if within { Ok(()) } else { refuse() }
        }
        _ => Ok(()),
    }
}

async fn run_artifacts(
    connection: &mut AnyConnection,
    source: &str,
    run_id: &str,
) -> Result<String, Problem> {
    let found: Option<String> = sqlx::query_scalar("SELECT artifact_uri FROM runs WHERE run_id = $1")
        .bind(run_id)
        .fetch_optional(connection)
        .await?;
    found.ok_or_else(|| must_contain(source, "run_id"))
}

async fn model_artifacts(
    connection: &mut AnyConnection,
    source: &str,
    model_id: &str,
) -> Result<String, Problem> {
    let model = logged_models::origin(connection, model_id).await;
    Ok(model.map_err(|_| must_contain(source, "model_id"))?.artifact_location)
}

fn must_contain(source: &str, parameter: &str) -> Problem {
    Problem::invalid(format!(
        "Invalid model version source: '{source}'. The {parameter} request parameter must identify the resource \
         that contains the source."
    ))
}

/// Whether a source is a path of the server's own files.
fn is_local(source: &str) -> Result<bool, Problem> {
    let uri = Uri::parse(source, Fragments::Apart);
    let host = uri.host();
    let remote =
        !host.is_empty() && host != "." && !host.starts_with("localhost") && !host.starts_with("127.0.0.1");
    match uri.scheme.as_str() {
        "" => Ok(true),
        "file" if remote => Err(Problem::invalid(format!(
            "{source} is not a valid remote uri. For remote access on windows, please consider using a different \
             scheme such as SMB (e.g. smb://<hostname>/<path>)."
        ))),
        scheme => Ok(scheme == "file"),
    }
}

/// Local files are taken only from below the local directory of what the request names.
fn local_within(source: &str, root: Option<&str>, parameter: &str) -> Result<(), Problem> {
    let plain = |text: &str| {
        let path = without_escapes(Uri::parse(text, Fragments::Apart).path, false);
        let absolute = path.starts_with('/') && !path.split('/').any(|part| matches!(part, "." | ".."));
        absolute
            .then(|| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>())
    };
    let root = root.filter(|root| matches!(is_local(root), Ok(true)));
    if let (Some(root), Some(path)) = (root.and_then(plain), plain(source))
        && path.starts_with(&root)
    {
        return Ok(());
    }
    Err(Problem::invalid(format!(
        "Invalid model version source: '{source}'. To use a local path as a model version source, the \
         {parameter} request parameter has to be specified and the local path has to be contained within the \
         artifact directory of the run specified by the {parameter}."
    )))
}

/// Refuses paths that climb, or that are not absolute.
fn no_relative_path(source: &str) -> Result<(), Problem> {
    let plain = without_escapes(source, true);
    let path = Uri::parse(&plain, Fragments::Apart).path.trim_end_matches('/');
    let refused = !path.starts_with('/')
        || path.contains('\0')
        || path.split('/').any(|part| part == ".")
        || plain.split('/').any(|part| part == "..");
    if !refused {
        return Ok(());
    }
    Err(Problem::invalid(format!(
        "Invalid model version source: '{source}'. If supplying a source as an http, https, local file path, ftp, \
         objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references \
         present. Please provide an absolute path."
    )))
}

/// What a `models:/…` URI names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModelUri<'a> {
    Logged(&'a str),
    Version(&'a str, &'a str),
    /// A stage, or none for the latest version of all.
    Stage(&'a str, Option<&'a str>),
    Alias(&'a str, &'a str),
}

impl<'a> ModelUri<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let uri = Uri::parse(text, Fragments::InPath);
        if uri.scheme != "models" || !uri.path.starts_with('/') {
            return None;
        }
        let parts: Vec<&str> = uri.path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            [name, ..] if name.trim().is_empty() => None,
            [_, suffix] if suffix.trim().is_empty() => None,
            [name, version] if version.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(Self::Version(name, version))
            }
            [name, suffix] if suffix.to_lowercase() == "latest" => Some(Self::Stage(name, None)),
            [name, stage] => Some(Self::Stage(name, Some(stage))),
            [name] => match name.rsplit_once('@') {
                Some((_, alias)) if alias.trim().is_empty() => None,
                Some((name, alias)) => Some(Self::Alias(name, alias)),
                None => Some(Self::Logged(name)),
            },
            _ => None,
        }
    }
}
