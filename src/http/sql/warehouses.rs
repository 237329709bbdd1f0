//! The one SQL warehouse. It is part of the gateway, always runs, and is governed like any other.

use serde_json::{Map, Value, json};

use crate::access::{Check, Privilege, Securable, SecurableKind};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::pages;
use crate::wire::Reply;

pub(super) const ID: &str = "tracegate";

pub(super) fn securable() -> Securable {
    Securable { kind: SecurableKind::Warehouse, id: ID.to_owned() }
}

/// Lets in who may use a warehouse. Another one than ours is answered as one that may not be used.
pub(super) fn check(call: &Call<'_>, id: &str) -> Result<Check, Refusal> {
    let named = Securable::new(SecurableKind::Warehouse, id)?;
    let check = Check::new(Privilege::WarehouseUse, named);
    if !call.view()?.allows(call.caller, check.clone())? {
        return Err(call.denied(Privilege::WarehouseUse, &check.securable));
    }
    if id != ID {
        return Err(Refusal::NotFound(format!(
            "there is no SQL warehouse `{id}`; the one there is is `{ID}`"
        )));
    }
    Ok(check)
}

fn described(call: &Call<'_>) -> Map<String, Value> {
    let running = json!({
        "id": ID, "name": "Tracegate", "state": "RUNNING", "cluster_size": "2X-Small", "warehouse_type": "PRO",
        "num_clusters": 1, "min_num_clusters": 1, "max_num_clusters": 1, "auto_stop_mins": 0,
        "num_active_sessions": 0, "enable_photon": false, "enable_serverless_compute": false,
        "creator_name": "tracegate", "spot_instance_policy": "COST_OPTIMIZED",
        "health": { "status": "HEALTHY" },
        "odbc_params": { "hostname": call.head.headers.get("host"), "path": format!("/sql/1.0/warehouses/{ID}") },
    });
    crate::http::own::object(running)
}

pub(super) fn list(call: &Call<'_>) -> Result<Reply, Refusal> {
    let sees = call.view()?.allows(call.caller, Check::new(Privilege::WarehouseUse, securable()))?;
    let shown = if sees { vec![Value::Object(described(call))] } else { Vec::new() };
    Ok(pages::written(200, &Map::from_iter([("warehouses".to_owned(), Value::Array(shown))])))
}

/// A warehouse that the caller may not use is none.
fn seen(call: &Call<'_>) -> Result<(), Refusal> {
    let id = call.param("id");
    if id == ID && call.view()?.allows(call.caller, Check::new(Privilege::WarehouseUse, securable()))? {
        return Ok(());
    }
    let id: String = id.chars().take(80).collect();
    Err(Refusal::NotFound(format!("there is no SQL warehouse `{id}`")))
}

pub(super) fn get(call: &Call<'_>) -> Result<Reply, Refusal> {
    seen(call)?;
    Ok(pages::written(200, &described(call)))
}

/// It runs already.
pub(super) fn start(call: &Call<'_>) -> Result<Reply, Refusal> {
    seen(call)?;
    Ok(pages::written(200, &Map::new()))
}

pub(super) fn stop(call: &Call<'_>) -> Result<Reply, Refusal> {
    seen(call)?;
    Err(Refusal::Mlflow {
        code: "INVALID_STATE",
        message:
            "the SQL warehouse is part of the gateway and cannot be stopped; revoke `CAN_USE` on it to keep \
                  people from it"
                .to_owned(),
    })
}
