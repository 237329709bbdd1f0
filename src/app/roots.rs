//! Where artifacts lie: which experiment owns a path under the artifact proxy.
//!
//! Roots are indexed from the backend's experiments. A path is owned by the experiment with the longest
//! root above it; a root that two experiments share is nobody's.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::App;
use super::LookupError;
use crate::access::ExperimentId;
use crate::backend::Backend;
use crate::wire::Malformed;

/// An unknown path asks the backend again at most so often.
const REFRESH_PAUSE: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct ArtifactRoots {
    index: RwLock<Index>,
    refreshing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Index {
    /// Owner by root path; `None` where two experiments share it.
    roots: HashMap<Vec<String>, Option<ExperimentId>>,
    read_at: Option<Instant>,
}

impl ArtifactRoots {
    /// The owner of a path and what is left of it below the owner's root.
    pub async fn place<'s>(
        &self,
        app: &App,
        backend: &dyn Backend,
        segments: &'s [String],
    ) -> Result<Option<(ExperimentId, Vec<&'s str>)>, LookupError> {
        if self.index.read().read_at.is_none() {
            self.refresh(app, backend).await?;
        }
        if let Some(found) = self.find(segments) {
            return Ok(found);
        }
        let old = self.index.read().read_at.is_none_or(|at| at.elapsed() > REFRESH_PAUSE);
        // A default root is the experiment's own id: ask for that one instead of reading them all.
        if let Some(id) = segments.first().and_then(|first| ExperimentId::parse(first).ok())
            && let Some(facts) = backend.experiment(&id).await?
        {
            self.note(&facts.artifact_location, &facts.id);
        } else if old {
            self.refresh(app, backend).await?;
        }
        Ok(self.find(segments).flatten())
    }

    /// Whether a new root would lie in, above or at another experiment's, by a fresh reading.
    pub async fn overlaps(
        &self,
        app: &App,
        backend: &dyn Backend,
        segments: &[String],
    ) -> Result<bool, LookupError> {
        self.refresh(app, backend).await?;
        let index = self.index.read();
        Ok(index.roots.keys().any(|root| root.starts_with(segments) || segments.starts_with(root)))
    }

    /// `None`: not indexed. `Some(None)`: shared by two, so nobody's.
    fn find<'s>(&self, segments: &'s [String]) -> Option<Option<(ExperimentId, Vec<&'s str>)>> {
        let index = self.index.read();
        for length in (1..=segments.len()).rev() {
            if let Some(owner) = index.roots.get(&segments[..length]) {
                let rest = segments[length..].iter().map(String::as_str).collect();
                return Some(owner.clone().map(|owner| (owner, rest)));
            }
        }
        None
    }

    fn note(&self, location: &str, experiment: &ExperimentId) {
        if let Some(path) = proxied_path(location)
            && let Ok(root) = segments(&path)
        {
            self.index.write().add(root, experiment);
        }
    }

    async fn refresh(&self, app: &App, backend: &dyn Backend) -> Result<(), LookupError> {
        let _turn = self.refreshing.lock().await;
        let mut fresh = Index::default();
        let mut token: Option<String> = None;
        loop {
            let (page, next) = backend.experiments(token.as_deref()).await?;
            for facts in page {
                if let Some(root) = super::payload::root_in_volume(&facts.artifact_location) {
                    fresh.add(in_volume(&root), &facts.id);
                } else if let Some(root) =
                    proxied_path(&facts.artifact_location).and_then(|path| segments(&path).ok())
                {
                    fresh.add(root, &facts.id);
                }
                app.owners.learn(app, facts).await?;
            }
            match next {
                Some(next) => token = Some(next),
                None => break,
            }
        }
        fresh.read_at = Some(Instant::now());
        *self.index.write() = fresh;
        Ok(())
    }
}

impl Index {
    fn add(&mut self, root: Vec<String>, experiment: &ExperimentId) {
        let owner = self.roots.entry(root).or_insert_with(|| Some(experiment.clone()));
        if owner.as_ref().is_some_and(|owner| owner != experiment) {
            *owner = None;
        }
    }
}

/// The path of a location under the artifact proxy; none for other stores.
pub fn proxied_path(location: &str) -> Option<String> {
    let rest = location.strip_prefix("mlflow-artifacts:")?;
    let path = match rest.strip_prefix("//") {
        // `mlflow-artifacts://host/path` and `mlflow-artifacts:///path`.
        Some(with_host) => with_host.split_once('/').map_or("", |(_, path)| path),
        None => rest,
    };
    Some(path.trim_matches('/').to_owned())
}

/// The segments of a root in a volume: the first is one that no path under the artifact proxy can have.
pub fn in_volume(root: &str) -> Vec<String> {
    std::iter::once("\0").chain(root.split('/')).map(str::to_owned).collect()
}

/// The segments of an artifact path; anything with a second reading is refused.
pub fn segments(path: &str) -> Result<Vec<String>, Malformed> {
    let refuse = |problem: &str| Malformed::new("artifact path", problem);
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/')
        .map(|segment| match segment {
            "" => Err(refuse("has an empty segment")),
            "." | ".." => Err(refuse("has a `.` or `..` segment")),
            _ if segment.contains('\\') || segment.chars().any(char::is_control) => {
                Err(refuse("has a backslash or a control character"))
            }
            _ if has_escape(segment) => Err(refuse("is encoded twice")),
            _ => Ok(segment.to_owned()),
        })
        .collect()
}

fn has_escape(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    bytes.windows(3).any(|w| w[0] == b'%' && w[1].is_ascii_hexdigit() && w[2].is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(path: &str) -> Vec<String> {
        segments(path).unwrap()
    }

    #[test]
    fn the_longest_root_owns_a_path_and_a_shared_root_is_nobodys() {
        let roots = ArtifactRoots::default();
        let id = |text: &str| ExperimentId::parse(text).unwrap();
        roots.note("mlflow-artifacts:/1", &id("1"));
        roots.note("mlflow-artifacts:/1/nested", &id("2"));
        roots.note("mlflow-artifacts://host/team/x", &id("3"));
        roots.note("mlflow-artifacts:/team/x", &id("4"));
        let path = owned("1/abc/artifacts/a.txt");
        assert_eq!(roots.find(&path), Some(Some((id("1"), vec!["abc", "artifacts", "a.txt"]))));
        let nested = owned("1/nested/y");
        assert_eq!(roots.find(&nested), Some(Some((id("2"), vec!["y"]))));
        assert_eq!(roots.find(&owned("team/x/y")), Some(None));
        assert_eq!(roots.find(&owned("2/y")), None);
    }

    #[test]
    fn artifact_paths_have_one_reading() {
        assert_eq!(owned("1/a b/ü"), ["1", "a b", "ü"]);
        assert!(owned("").is_empty());
        for bad in ["1/../2", "1//2", "./1", "1/%2e%2e/2", "1\\2", "/1", "1/a\0", "1/.."] {
            assert!(segments(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_proxied_locations_have_a_path() {
        assert_eq!(proxied_path("mlflow-artifacts:/1").as_deref(), Some("1"));
        assert_eq!(proxied_path("mlflow-artifacts:///1/").as_deref(), Some("1"));
        assert_eq!(proxied_path("mlflow-artifacts://h:5000/a/b").as_deref(), Some("a/b"));
        for other in ["s3://bucket/1", "/var/mlruns", "file:///x", "dbfs:/Volumes/c/s/v"] {
            assert!(proxied_path(other).is_none(), "{other}");
        }
    }
}
