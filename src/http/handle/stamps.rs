//! Fields that say who did something: set to the caller wherever a client could claim to be another.

use super::super::call::Call;
use super::super::edit;
use super::super::error::Refusal;

/// Operation, and the field of its body that names its author.
const AUTHORS: [(&str, &str); 3] = [
    ("issue.create", "created_by"),
    ("review_queue.item_status", "completed_by"),
    ("review_queue.create", "created_by"),
];

pub(super) fn author(call: &mut Call<'_>) -> Result<(), Refusal> {
    let Some((_, field)) = AUTHORS.iter().find(|(operation, _)| *operation == call.operation.name) else {
        return Ok(());
    };
    let named = call.json.as_ref().map(|object| edit::text(object, field)).transpose()?.flatten().is_some();
    if named {
        let author = call.caller.principal.name.clone();
        edit::set_text(call.edit(), field, &author)?;
    }
    Ok(())
}
