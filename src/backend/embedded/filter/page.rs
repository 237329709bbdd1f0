//! Where a page ended: the keys of its last row, in a token that the client carries to the next page. Rows
//! that come or go meanwhile shift nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::super::problem::Problem;
use super::super::python;
use super::order::{KeyKind, Order};
use super::sql::Bind;

/// The end of a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub keys: Vec<Option<Bind>>,
}

/// What a search asks for, in short: a token of another one would skip or repeat rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search(String);

impl Search {
    /// Of everything that decides which rows come in which order: the operation, the filter, the order, where.
    pub fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.len().to_le_bytes());
            hash.update(part.as_bytes());
        }
        Self(hex::encode(&hash.finalize()[..8]))
    }

    /// Reads the token of a request; none or an empty one is the first page.
    pub fn token(&self, text: Option<&str>, order: &Order) -> Result<Option<Token>, Problem> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
        // As Python decodes: what is no digit of base64 is passed over.
        let digits: String =
            text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
        let bytes = URL_SAFE_NO_PAD
            .decode(digits)
            .map_err(|_| Problem::invalid("Invalid page token, could not base64-decode"))?;
        let unreadable = || Problem::invalid("Invalid page token: it is not one of this server");
        let parsed: Value = serde_json::from_slice(&bytes).map_err(|_| {
            Problem::invalid(format!("Invalid page token, decoded value={}", python::bytes(&bytes)))
        })?;
        let keys = parsed.get("keys").and_then(Value::as_array).ok_or_else(unreadable)?;
        if parsed.get("search").and_then(Value::as_str) != Some(&self.0) || keys.len() != order.0.len() {
            return Err(Problem::invalid(
                "Invalid page token: it belongs to a search with another filter, order or location",
            ));
        }
        let keys = keys.iter().zip(&order.0).map(|(value, key)| read(value, key.kind).ok_or_else(unreadable));
        Ok(Some(Token { keys: keys.collect::<Result<_, _>>()? }))
    }

    /// The token of the page that ends with this row, which was selected with the order's columns last.
    pub fn token_after(&self, row: &AnyRow, order: &Order) -> Result<String, Problem> {
        let first = row.len().saturating_sub(order.0.len());
        let mut keys = Vec::with_capacity(order.0.len());
        for (index, key) in order.0.iter().enumerate() {
            keys.push(match key.kind {
                KeyKind::Integer => json!(row.try_get::<Option<i64>, _>(first + index)?),
                // As bits: JSON has neither infinity nor all digits.
                KeyKind::Float => json!(row.try_get::<Option<f64>, _>(first + index)?.map(f64::to_bits)),
                KeyKind::Text => json!(row.try_get::<Option<String>, _>(first + index)?),
            });
        }
        let token = json!({ "search": self.0, "keys": keys });
        Ok(URL_SAFE_NO_PAD.encode(token.to_string()))
    }
}

fn read(value: &Value, kind: KeyKind) -> Option<Option<Bind>> {
    if value.is_null() {
        return Some(None);
    }
    Some(Some(match kind {
        KeyKind::Integer => Bind::Integer(value.as_i64()?),
        KeyKind::Float => Bind::Float(f64::from_bits(value.as_u64()?)),
        KeyKind::Text => {
            let text = value.as_str()?;
            Bind::Text((!text.contains('\0')).then(|| text.to_owned())?)
        }
    }))
}
