//! Where the payload of an experiment's traces and its artifacts lie, as far as somebody else than the experiment has a
//! say there: in a volume, or in an external location.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::App;
use super::roots::segments;
use crate::access::{Location, Securable, SecurableKind};
use crate::store::StoreError;

/// What decides about an experiment's payload beside its own ACL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadPlace {
    /// Nothing: it lies where only the store itself reaches.
    Own,
    /// A volume, and the directory in it.
    Volume(Securable, String),
    /// An external location in which no volume is.
    External(Securable),
    /// It names a volume in a way that has no reading: nobody's but administrators'.
    Unreadable,
}

/// What locations of stores lie in, as of a version of policy.
#[derive(Default)]
pub struct PayloadPlaces {
    known: Mutex<(i64, HashMap<String, PayloadPlace>)>,
}

/// Locations that are remembered at once.
const MOST: usize = 10_000;

impl App {
    /// What an experiment's `artifact_location` lies in.
    pub async fn payload_place(&self, location: &str) -> Result<PayloadPlace, StoreError> {
        if let Some(named) = by_name(location) {
            return Ok(named);
        }
        if location.starts_with("mlflow-artifacts:") {
            return Ok(PayloadPlace::Own);
        }
        let Ok(place) = location.parse::<Location>() else { return Ok(PayloadPlace::Own) };
        let version = self.policy.version();
        {
            let mut known = self.payload_places.known.lock();
            if known.0 != version || known.1.len() >= MOST {
                *known = (version, HashMap::new());
            }
            if let Some(found) = known.1.get(place.as_str()) {
                return Ok(found.clone());
            }
        }
        let kept = self.store.catalog_place_of(&place).await?;
        let found = around(kept.found, &place);
        let mut known = self.payload_places.known.lock();
        // What was read may be of a later version than the one that it is kept for, and no earlier one.
        if known.0 == version && kept.version == version {
            known.1.insert(place.as_str().to_owned(), found.clone());
        }
        Ok(found)
    }
}

/// A place, by what keeps the one around it.
fn around(keeper: Option<(Securable, String)>, place: &Location) -> PayloadPlace {
    let Some((keeper, location)) = keeper else { return PayloadPlace::Own };
    if keeper.kind != SecurableKind::Volume {
        return PayloadPlace::External(keeper);
    }
    let inside = place.as_str().strip_prefix(location.as_str()).map(|inside| inside.trim_start_matches('/'));
    match inside.map(segments) {
        Some(Ok(path)) => PayloadPlace::Volume(keeper, path.join("/")),
        _ => PayloadPlace::Unreadable,
    }
}

/// A location that names a volume.
fn by_name(location: &str) -> Option<PayloadPlace> {
    let scheme = location.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("dbfs:"));
    if !scheme || !location.to_ascii_lowercase().contains("volumes") {
        return None;
    }
    let named = || {
        let path = segments(location.strip_prefix("dbfs:/Volumes/")?).ok()?;
        let [catalog, schema, volume, rest @ ..] = path.as_slice() else { return None };
        if [catalog, schema, volume].iter().any(|name| name.contains('.')) {
            return None;
        }
        let name = format!("{catalog}.{schema}.{volume}");
        let named = Securable::new(SecurableKind::Volume, &name).ok()?;
        Some(PayloadPlace::Volume(named, rest.join("/")))
    };
    Some(named().unwrap_or(PayloadPlace::Unreadable))
}

/// The path by which a root in a volume is kept apart from others; none for what names no volume.
pub fn root_in_volume(location: &str) -> Option<String> {
    match by_name(location)? {
        PayloadPlace::Volume(named, path) => {
            let root = format!("dbfs:/Volumes/{}/{path}", named.id.replace('.', "/"));
            Some(root.trim_end_matches('/').to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_named_in_one_way_and_all_others_are_closed() {
        let volume = |id: &str| Securable::new(SecurableKind::Volume, id).unwrap();
        for (location, path) in [("dbfs:/Volumes/Main/S/v/a/b", "a/b"), ("dbfs:/Volumes/main/s/v/", "")] {
            assert_eq!(by_name(location), Some(PayloadPlace::Volume(volume("main.s.v"), path.to_owned())));
        }
        for odd in [
            "dbfs:/Volumes/main/s",
            "dbfs:/Volumes/main//s/v",
            "dbfs:/Volumes/a/b/c/../d/x",
            "dbfs:/Volumes/a/b/c/%2e%2e/x",
            "dbfs:/volumes/a/b/c",
            "DBFS:/Volumes/a/b/c",
            "dbfs:///Volumes/a/b/c",
            "dbfs://profile@databricks/Volumes/a/b/c",
            "dbfs:/Volumes/a.b/c/d",
        ] {
            assert_eq!(by_name(odd), Some(PayloadPlace::Unreadable), "{odd}");
        }
        for other in
            ["mlflow-artifacts:/1", "s3://bucket/Volumes/a/b/c", "dbfs:/databricks/mlflow-tracking/1", ""]
        {
            assert_eq!(by_name(other), None, "{other}");
        }
        let place = |text: &str| text.parse::<Location>().unwrap();
        let kept = Some((volume("main.s.v"), "s3://bucket/v".to_owned()));
        for (text, path) in [("s3://bucket/v/team/a", "team/a"), ("s3://bucket/v", "")] {
            let found = around(kept.clone(), &place(text));
            assert_eq!(found, PayloadPlace::Volume(volume("main.s.v"), path.to_owned()));
        }
        assert_eq!(root_in_volume("dbfs:/Volumes/Main/S/v/X/").as_deref(), Some("dbfs:/Volumes/main/s/v/X"));
    }
}
