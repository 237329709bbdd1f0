//! config

pub mod mlflow;
