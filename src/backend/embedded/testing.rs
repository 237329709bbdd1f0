//! A store in a temporary directory, and calls to it by method, path and body, as the gateway makes them.

use std::sync::Arc;

use serde_json::Value;

use super::{Embedded, EmbeddedShared};
use crate::backend::{Backend as _, Outgoing};
use crate::classify::Manifest;
use crate::clock::ManualClock;
use crate::config::Config;
use crate::policy::Permit;
use crate::wire::{Body, CanonicalPath, Head, Headers, MemoryOrFile, Method, Query, Reply};

pub(crate) struct TestStore {
    pub shared: Arc<EmbeddedShared>,
    pub clock: ManualClock,
    manifest: Manifest,
    _directory: tempfile::TempDir,
}

impl TestStore {
    pub async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::from_sources(None, std::iter::empty()).unwrap();
        config.server.data_dir = directory.path().to_owned();
        let clock = ManualClock::at(1_795_322_417_000);
        let shared = EmbeddedShared::open(&config, Arc::new(clock.clone())).await.unwrap();
        let manifest = Manifest::builtin().unwrap();
        Self { shared, clock, manifest, _directory: directory }
    }

    /// A call with a JSON body, or without one if `body` is null.
    pub async fn call(&self, method: Method, target: &str, body: Value) -> (u16, Value) {
        let (json, bytes) = match body {
            Value::Object(object) => {
                let text = Value::Object(object.clone()).to_string();
                (Some(object), Body::memory(text))
            }
            _ => (None, Body::Empty),
        };
        let reply = self.send(method, target, &[("content-type", "application/json")], json, bytes).await;
        let status = reply.status;
        let text = bytes_of(reply).await;
        (status, serde_json::from_slice(&text).unwrap_or(Value::Null))
    }

    pub async fn get(&self, target: &str) -> (u16, Value) {
        self.call(Method::Get, target, Value::Null).await
    }

    pub async fn post(&self, target: &str, body: Value) -> (u16, Value) {
        self.call(Method::Post, target, body).await
    }

    /// A call with any body.
    pub async fn send(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        json: Option<serde_json::Map<String, Value>>,
        body: Body,
    ) -> Reply {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = CanonicalPath::parse(path).unwrap();
        let matched = self.manifest.classify(method, &path).unwrap().expect("a route of the manifest");
        let mut all = Headers::new();
        for (name, value) in headers {
            all.push(name, value);
        }
        let outgoing = Outgoing {
            operation: matched.operation.name.clone(),
            params: matched.params.clone(),
            head: Head { method, path: path.clone(), query: Query::parse(query).unwrap(), headers: all },
            json,
            body,
        };
        Embedded::new(Arc::clone(&self.shared)).forward(Permit::for_test(), outgoing).await.unwrap()
    }
}

pub(crate) async fn bytes_of(reply: Reply) -> Vec<u8> {
    use futures_util::StreamExt as _;
    match reply.body {
        Body::Empty => Vec::new(),
        Body::Replay(body) => match body.0 {
            MemoryOrFile::Memory(bytes) => bytes.to_vec(),
            MemoryOrFile::File { .. } => panic!("a reply in a file"),
        },
        Body::Stream { mut stream, .. } => {
            let mut bytes = Vec::new();
            while let Some(chunk) = stream.next().await {
                bytes.extend_from_slice(&chunk.unwrap());
            }
            bytes
        }
    }
}
