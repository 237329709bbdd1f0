//! One page of a search, in JSON: rows are read and shown in short pieces, so that neither many rows nor large
//! ones fill the memory. A page that grows too large ends early; its token goes on behind its last row.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::filter::Query;
use super::filter::order::Order;
use super::filter::page::{Search, Token};
use super::problem::Problem;
use super::reply;
use crate::wire::Reply;

/// Rows that are read at once.
const PIECE: usize = 200;
/// Bytes after which a page ends.
const FULL: usize = 16 * 1024 * 1024;

/// A search: what it selects, with conditions and with the columns of its order last, and where it goes on.
pub struct Listing<'s> {
    pub query: Query,
    pub order: &'s Order,
    pub search: &'s Search,
    pub token: Option<Token>,
}

pub struct Page {
    pub items: Vec<Box<RawValue>>,
    pub next: Option<String>,
}

impl Page {
    /// `{NAME: […], "next_page_token": "…"}`, without what is empty.
    pub fn to_reply(&self, name: &str) -> Result<Reply, Problem> {
        let mut fields = BTreeMap::new();
        if !self.items.is_empty() {
            fields.insert(name, to_raw_value(&self.items).map_err(Problem::internal)?);
        }
        if let Some(next) = &self.next {
            fields.insert("next_page_token", to_raw_value(next).map_err(Problem::internal)?);
        }
        reply::json(&fields)
    }
}

impl Listing<'_> {
    /// At most so many items; `show` makes them of their rows.
    pub async fn page<S>(
        mut self,
        connection: &mut AnyConnection,
        most: usize,
        show: S,
    ) -> Result<Page, Problem>
    where
        S: AsyncFn(&mut AnyConnection, &[AnyRow]) -> Result<Vec<Value>, Problem>,
    {
        let mut page = Page { items: Vec::new(), next: None };
        let mut bytes = 0;
        loop {
            let piece = PIECE.min(most - page.items.len());
            let mut query = self.query.clone();
            if let Some(token) = &self.token {
                self.order.after(&mut query, token);
            }
            let clause = self.order.clause(query.dialect);
            // One more says whether there are more.
            query.push(&clause).push(&format!(" LIMIT {}", piece + 1));
            let mut rows = query.fetch_all(&mut *connection).await?;
            let more = rows.len() > piece;
            rows.truncate(piece);
            for item in show(connection, &rows).await? {
                let item = to_raw_value(&item).map_err(Problem::internal)?;
                bytes += item.get().len();
                page.items.push(item);
            }
            let Some(last) = rows.last().filter(|_| more) else { return Ok(page) };
            let token = self.search.token_after(last, self.order)?;
            if page.items.len() >= most || bytes >= FULL {
                page.next = Some(token);
                return Ok(page);
            }
            self.token = self.search.token(Some(&token), self.order)?;
        }
    }
}
