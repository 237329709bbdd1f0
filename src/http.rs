//! HTTP: the pipeline from request to answer, our own API, and the one place that picks status codes.

mod call;
mod changes;
mod convert;
mod edit;
mod error;
mod handle;
mod lookup;
mod own;
mod pages;
mod pipeline;
mod server;
mod signed;
mod trail;

pub use server::{Running, start};
