//! HTTP: the pipeline from request to answer, our own API, and the one place that picks status codes.

mod artifacts;
mod call;
mod convert;
mod error;
mod handle;
mod lookup;
mod owners;
mod own;
mod pages;
mod pipeline;
mod server;
mod trail;

pub use artifacts::ArtifactRoots;
pub use owners::Owners;
pub use server::{Running, start};
