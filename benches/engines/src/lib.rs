//! Tracegate's policy engine beside its peers: one made-up organisation, the same questions to each.
//!
//! [`world`] makes the organisation from a seed, [`questions`] asks it, [`plain`] reads the policy the slow
//! and obvious way and knows the right answers, and [`peers`] are the engines. [`measure`] takes the times.

pub mod measure;
pub mod ours;
pub mod peers;
pub mod plain;
pub mod questions;
pub mod world;

use anyhow::{Context, Result};

/// The number after a flag on the command line; `cargo bench` adds flags of its own, which are let pass.
pub fn number_after(flag: &str) -> Result<Option<usize>> {
    let Some(text) = text_after(flag) else { return Ok(None) };
    let number = text.parse().with_context(|| format!("`{flag}` takes a number, not `{text}`"))?;
    Ok(Some(number))
}

/// What stands after a flag on the command line.
pub fn text_after(flag: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != flag).nth(1)
}
