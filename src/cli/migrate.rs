//! `tracegate migrate`: as a step of its own before an upgrade, where `tracegate serve` would do it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::backend::EmbeddedShared;
use crate::config::Config;
use crate::database::{Schema, SchemaState};
use crate::store::Store;
use crate::store::audit_index::{AuditIndex, AuditIndexLocation};

/// Something is pending.
const PENDING: u8 = 3;

pub(super) fn run(config: Option<&Path>, check: bool, json: bool) -> anyhow::Result<ExitCode> {
    let config = Config::load(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut states = Vec::new();
    for schema in schemas(&config) {
        let state = if check {
            runtime.block_on(schema.state()).with_context(|| format!("the schema `{}`", schema.name))?
        } else {
            runtime.block_on(schema.migrate()).with_context(|| {
                format!("the schema `{}` is as it was, since it could not be migrated", schema.name)
            })?
        };
        if !json {
            super::print_line(&line(&state, check));
        }
        states.push(state);
    }
    let pending = states.iter().any(|state| !state.pending.is_empty());
    if json {
        super::print_line(&serde_json::json!({ "checked_only": check, "schemas": states }).to_string());
    }
    Ok(if check && pending { ExitCode::from(PENDING) } else { ExitCode::SUCCESS })
}

/// All that the gateway would open with this configuration, but what it can make anew from the rest.
fn schemas(config: &Config) -> Vec<Schema> {
    let data_dir = &config.server.data_dir;
    let audit = data_dir.join("audit.db");
    let audit = match config.database.url.as_deref() {
        Some(url) => AuditIndexLocation::Postgres(url),
        None => AuditIndexLocation::Sqlite(&audit),
    };
    let mut schemas = vec![Store::schema(&config.database, data_dir), AuditIndex::schema(&audit)];
    if config.mlflow.url.is_none() {
        schemas.push(EmbeddedShared::schema(config));
    }
    schemas
}

fn line(state: &SchemaState, check: bool) -> String {
    let SchemaState { schema, version, known, pending, newer } = state;
    if !newer.is_empty() {
        return format!("{schema}: newer than this version, which can work beside it: {}", newer.join(", "));
    }
    if pending.is_empty() {
        return format!("{schema}: at {known}, nothing to do");
    }
    let from = version.map_or_else(|| "empty".to_owned(), |version| format!("at {version}"));
    let verb = if check { "pending" } else { "applied" };
    format!("{schema}: was {from}; {verb}: {}", pending.join(", "))
}
