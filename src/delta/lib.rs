//! The lake's engine: Delta tables, written by group commit, and SQL over them under given rules.
//!
//! This crate knows tables by their place and rules by what it is told. Who calls, what a name of the catalog means
//! and who may read what is for its callers: a [`sql::Governor`] answers that, table by table, while a statement is
//! planned.

mod error;
mod lake;
pub mod otlp;
pub mod schemas;
pub mod sql;

pub use arrow;
pub use error::LakeError;
pub use lake::{Committed, Lake, LakeSettings, Maintained};
