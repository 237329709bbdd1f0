//! `tracegate routes`: the manifest as it is enforced.

use crate::classify::Manifest;

pub fn run(json: bool) -> anyhow::Result<()> {
    let manifest = Manifest::builtin().map_err(anyhow::Error::msg)?;
    let text = if json { serde_json::to_string_pretty(&manifest.to_json())? } else { manifest.to_table() };
    super::print_line(&text);
    Ok(())
}
