//! config

pub mod database;
pub mod identity;
