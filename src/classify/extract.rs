//! Reads the ids of the things that a request names, from path, query, header and JSON body.

use serde_json::{Map, Value};

use super::manifest::{Matched, Need, Target};
use crate::wire::{Head, Malformed};

/// A thing that a request names, before it is resolved to securables.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Thing {
    pub target: Target,
    pub id: String,
}

/// A need and the thing that it is about.
#[derive(Debug, Clone)]
pub struct Named<'m> {
    pub need: &'m Need,
    pub thing: Thing,
}

/// Reads every id that the operation's needs name. A missing, doubled, contradictory or malformed id
/// is an error that names the field.
pub fn extract<'m>(
    _matched: &Matched<'m>,
    _head: &Head,
    _body: Option<&Map<String, Value>>,
) -> Result<Vec<Named<'m>>, Malformed> {
    todo!()
}
