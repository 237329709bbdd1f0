//! Tracegate: the access-control gateway in front of the stores that hold GenAI traces.
//!
//! A call runs through the layers in one direction: `http` receives it, `identity` says who calls,
//! `classify` says what the call touches, `policy` decides, `audit` records, and `backend` forwards
//! what a [`policy::Permit`] proves to be allowed. `docs/ARCHITECTURE.md` tells the whole story.

pub mod access;
pub mod app;
pub mod audit;
pub mod backend;
pub mod backup;
pub mod classify;
pub mod cli;
pub mod clock;
pub mod config;
pub mod database;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod http;
pub mod identity;
pub mod keys;
pub mod lake;
#[cfg(test)]
mod layers;
pub mod limits;
pub mod objects;
pub mod policy;
pub mod seal;
pub mod secret;
pub mod store;
pub mod telemetry;
pub mod wire;
