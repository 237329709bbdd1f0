//! Classify: turns a canonical request into an operation and the things it touches.
//!
//! The route manifest (`classify/operations.txt`) is data, one line per operation; unknown means deny.

pub mod extract;
pub mod graphql;
pub mod manifest;
pub mod otlp;
pub mod reserved;
mod router;
pub mod trace_filter;

pub use extract::{Named, Thing, extract};
pub use manifest::{Access, Handling, Manifest, Need, Operation, Source, Target};
