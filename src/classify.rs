//! Classify: turns a canonical request into an operation and the things it touches.
//!
//! The route manifest (`classify/operations.txt`) is data, one line per operation; unknown means deny.

pub mod extract;
pub mod graphql;
pub mod manifest;
pub mod otlp;
pub mod reserved;
mod router;
mod shape;
pub mod trace_filter;

pub use extract::{Named, Thing, extract};
pub use manifest::{Access, Handling, Manifest, Matched, Need, Operation, Source, Step, Target};
pub use shape::Shape;
