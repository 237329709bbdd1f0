//! Making the tables of a place, or finding them there.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::place::{Part, Place};
use super::{access, columns, views};
use crate::access::{Privilege, Securable};
use crate::http::call::Call;
use crate::http::catalog::{self, NewTable, Sight};
use crate::http::edit::child;
use crate::http::error::Refusal;
use crate::http::own::{answered, sent};
use crate::http::trail::Trail;
use crate::lake::arrow::datatypes::SchemaRef;
use crate::lake::otlp::Version;
use crate::lake::schemas;
use crate::wire::{Malformed, Reply};

/// The tables of a place, with their columns.
fn parts(place: &Place) -> Vec<(Part, SchemaRef)> {
    match place.version() {
        Version::V1 => vec![
            (Part::Spans, schemas::spans_v1()),
            (Part::Logs, schemas::logs_v1()),
            (Part::Metrics, schemas::metrics_v1()),
        ],
        Version::V2 => vec![
            (Part::Spans, schemas::spans()),
            (Part::Logs, schemas::logs()),
            (Part::Metrics, schemas::metrics()),
            (Part::Annotations, schemas::annotations()),
        ],
    }
}

/// What says of a table which version it is of.
fn properties(version: Version) -> BTreeMap<String, String> {
    let version = match version {
        Version::V1 => "v1",
        Version::V2 => "v2",
    };
    BTreeMap::from([("otel.schemaVersion".to_owned(), version.to_owned())])
}

/// `POST /api/4.0/mlflow/traces/location`: version 1.
pub(super) async fn create_schema(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let place = sent_place(call).await?;
    if place.version() != Version::V1 {
        return Err(
            Malformed::new("uc_table_prefix", "is made by `/api/5.0/mlflow/tracing/locations`").into()
        );
    }
    make(call, trail, &place).await?;
    answered(&place.to_json())
}

/// `POST /api/5.0/mlflow/tracing/locations`: made, or found there.
pub(super) async fn create(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let place = sent_place(call).await?;
    make(call, trail, &place).await?;
    answered(&place.to_json())
}

/// `GET /api/5.0/mlflow/tracing/locations/{location}`, for who sees the spans table.
pub(super) async fn get(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let place = Place::parse(call.param("location"), "path")?;
    let spans = place.table(Part::Spans);
    trail.demands(spans.to_string(), Privilege::Select.to_string());
    catalog::seen(call, &spans, true).await?;
    answered(&place.to_json())
}

pub(super) fn place_in(body: &Map<String, Value>) -> Result<Place, Refusal> {
    let place = Place::of_json(body)?;
    Ok(place.ok_or_else(|| Malformed::new("uc_table_prefix", "or `uc_schema` is needed"))?)
}

async fn sent_place(call: &mut Call<'_>) -> Result<Place, Refusal> {
    let body = sent(call).await?;
    child(&body, &["uc_schema"])?;
    place_in(&body)
}

/// Makes what is missing of a place. Who made it may write to it, so a table that was left half made is made whole.
async fn make(call: &mut Call<'_>, trail: &mut Trail, place: &Place) -> Result<(), Refusal> {
    for (part, schema) in parts(place) {
        let named = place.table(part);
        if !is_seen(call, &named).await? {
            let new = NewTable {
                columns: columns::of(&schema),
                properties: properties(place.version()),
                comment: Some(format!("OpenTelemetry {} of traces", comment(part))),
            };
            catalog::make_table(call, trail, &named, new).await?;
        }
        if call.allows(crate::access::Check::new(Privilege::Modify, named.clone()))? {
            let (permit, objects) =
                access::tables(call, trail, &[(Privilege::Modify, named.clone())]).await?;
            if let Some(object) = objects.first() {
                let place_of_table = access::location(object)?;
                call.app.lake.create(&permit, place_of_table, schema, &properties(place.version())).await?;
            }
        }
    }
    for (view, definition) in views::of(place) {
        if !is_seen(call, &view).await? {
            catalog::make_view(call, trail, &view, &definition).await?;
        }
    }
    Ok(())
}

/// What is there and hidden is made anew, which fails as it does for anybody who makes a name that is taken.
pub(in crate::http) async fn is_seen(call: &Call<'_>, named: &Securable) -> Result<bool, Refusal> {
    match catalog::seen(call, named, true).await {
        Ok((_, sight)) => Ok(sight > Sight::Hidden),
        Err(Refusal::Catalog { fault: crate::http::error::CatalogFault::Missing, .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

fn comment(part: Part) -> &'static str {
    match part {
        Part::Spans => "spans",
        Part::Logs => "logs",
        Part::Metrics => "metrics",
        Part::Annotations => "annotations",
    }
}

/// The tags by which MLflow's client finds an experiment's place.
pub(super) fn tags(place: &Place) -> Vec<(&'static str, String)> {
    let full = |part| place.table(part).id;
    let mut tags = vec![
        ("mlflow.experiment.databricksTraceDestinationPath", place.to_string()),
        ("mlflow.experiment.databricksTraceSpanStorageTable", full(Part::Spans)),
        ("mlflow.experiment.databricksTraceLogStorageTable", full(Part::Logs)),
    ];
    if place.version() == Version::V2 {
        tags.push(("mlflow.experiment.databricksTraceAnnotationsTable", full(Part::Annotations)));
        tags.push(("mlflow.experiment.databricksTelemetryDestinationId", place.to_string()));
    }
    tags
}
