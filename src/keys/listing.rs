//! The keys as administrators see them: never what they are.

use super::{Keys, KeysError};
use crate::clock::UnixMillis;
use crate::store::{KeyRow, Purpose};

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Known to all, and not used yet.
    Announced,
    /// What is made is made with it.
    Active,
    /// What was made with it is good.
    Accepted,
    /// Gone, and what was made with it too.
    Retired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Database,
    /// `server.keys_file` of the replica that answers.
    File,
}

/// A key without itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct ListedKey {
    /// `sealing`, `token`, `client-secret`, `session`, `session-tokens` or `checkpoint`.
    pub purpose: String,
    pub id: String,
    pub state: KeyState,
    pub source: Source,
    pub created_at_ms: Option<i64>,
    pub created_by: Option<String>,
    /// From when on it makes. Null for keys of a file, and for those that a file replaced.
    pub active_from_ms: Option<i64>,
    pub retired_at_ms: Option<i64>,
    pub retired_by: Option<String>,
    /// Tokens, client secrets or sessions in force that were made with it. Null where that is not counted.
    pub in_use: Option<i64>,
}

impl Keys {
    /// All keys, retired ones too.
    pub async fn list(&self) -> Result<Vec<ListedKey>, KeysError> {
        self.refresh().await?;
        let (rows, now) = (self.store.keys().await?, self.clock.now());
        let counts = self.store.key_dependents(now).await?;
        let held = self.held.load_full();
        let mut listed = Vec::new();
        for purpose in Purpose::ALL {
            let ring = &held.rings[purpose as usize];
            let in_use = |id: &str| {
                let counted = purpose != Purpose::Sealing;
                counted.then(|| counts.get(&(purpose, id.to_owned())).copied().unwrap_or(0))
            };
            for row in rows.iter().filter(|row| row.purpose == purpose) {
                let in_use = in_use(&row.id).filter(|_| row.value.is_some());
                listed.push(ListedKey { in_use, ..self.describe(row) });
            }
            let file = held.file.as_ref().and_then(|file| file.of(purpose));
            for id in file.iter().flat_map(|file| file.keys.keys()) {
                let active = ring.active_id(now) == id;
                listed.push(ListedKey {
                    purpose: purpose.as_str().to_owned(),
                    id: id.clone(),
                    state: if active { KeyState::Active } else { KeyState::Accepted },
                    source: Source::File,
                    created_at_ms: None,
                    created_by: None,
                    active_from_ms: None,
                    retired_at_ms: None,
                    retired_by: None,
                    in_use: in_use(id),
                });
            }
        }
        Ok(listed)
    }

    /// A key of the database.
    pub fn describe(&self, row: &KeyRow) -> ListedKey {
        let now = self.clock.now();
        let replaced = self.is_replaced(row.purpose);
        let state = match row.value {
            None => KeyState::Retired,
            Some(_) if !replaced && row.active_from > now => KeyState::Announced,
            Some(_) if self.ring(row.purpose).active_id(now) == row.id => KeyState::Active,
            Some(_) => KeyState::Accepted,
        };
        let time = |time: UnixMillis| time.0;
        ListedKey {
            purpose: row.purpose.as_str().to_owned(),
            id: row.id.clone(),
            state,
            source: Source::Database,
            created_at_ms: Some(row.created_at.0),
            created_by: Some(row.created_by.clone()),
            active_from_ms: Some(row.active_from.0).filter(|_| !replaced),
            retired_at_ms: row.retired_at.map(time),
            retired_by: row.retired_by.clone(),
            in_use: None,
        }
    }

    /// Whether a file has the keys of a purpose, so that those of the database make nothing.
    pub fn is_replaced(&self, purpose: Purpose) -> bool {
        self.held.load().file.as_ref().is_some_and(|file| file.of(purpose).is_some())
    }
}
