//! HTTP: the pipeline from request to answer, our own API, and the one place that picks status codes.

mod archive;
mod browser;
mod call;
mod catalog;
mod changes;
mod convert;
mod edit;
mod error;
mod files;
mod front;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod governors;
mod handle;
mod health;
mod limited;
mod lookup;
mod mlflow_auth;
mod oauth;
mod on_behalf;
mod own;
mod page;
mod pages;
mod permissions;
mod pipeline;
mod scim;
mod server;
mod signed;
mod sql;
mod tracing;
mod trail;

pub use server::{Running, start};
