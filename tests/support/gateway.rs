//! A gateway in this process, before a stand-in for MLflow.
//!
//! ```ignore
//! let gateway = Gateway::start().await;
//! let answer = gateway.call(Who::Reader, Request::get("/api/2.0/mlflow/runs/get?run_id=…")).await;
//! assert_eq!(gateway.forwarded().len(), 1);
//! gateway.stop().await;
//! ```

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracegate::access::{Effect, Event, EventKind, NewGrant, Principal, Securable};
use tracegate::app::App;
use tracegate::config::Config;
use tracegate::store::audit_index::AuditQuery;
use tracegate::telemetry::Metrics;

use super::callers::Who;
use super::fake_mlflow;
use super::fake_upstream::{FakeUpstream, Recorded};
use super::logs;
use super::raw_http::{Answer, Request};

/// The gateway's own credential at the stand-in.
pub const UPSTREAM_TOKEN: &str = "the-gateways-own-credential";
/// Sent with every call of a test; what is forwarded carries it on, a look-up never does.
pub const AGENT: &str = "integration-test";

pub struct Gateway {
    pub app: Arc<App>,
    pub address: SocketAddr,
    /// Where health and metrics are answered apart, if they are.
    pub health: Option<SocketAddr>,
    pub upstream: FakeUpstream,
    pub data: tempfile::TempDir,
    tokens: HashMap<Who, String>,
    stop: tokio::sync::oneshot::Sender<()>,
    serving: actix_rt::task::JoinHandle<anyhow::Result<()>>,
}

impl Gateway {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts one with a store of its own instead of an upstream; experiment 1 is there.
    pub async fn start_embedded() -> Self {
        let gateway = Self::start_with(|config| {
            config.mlflow.url = None;
            config.mlflow.token = None;
        })
        .await;
        let body = serde_json::json!({ "name": "first" });
        let made = gateway.call(Who::Admin, Request::post("/api/2.0/mlflow/experiments/create", &body)).await;
        assert_eq!(made.expect(200).json()["experiment_id"], "1");
        gateway
    }

    /// Starts one whose configuration was changed.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        logs::collect();
        let upstream = FakeUpstream::start();
        fake_mlflow::serve(&upstream);
        let data = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".to_owned();
        config.server.data_dir = data.path().to_owned();
        config.server.workers = Some(2);
        config.server.shutdown_seconds = 1;
        config.mlflow.url = Some(upstream.url());
        config.mlflow.token = Some(UPSTREAM_TOKEN.into());
        // The machine that runs the tests may be busy; what tests staleness sets its own.
        config.policy.max_staleness_ms = 60_000;
        change(&mut config);
        let (app, first) = App::open(config, Metrics::default()).await.unwrap();
        let running = tracegate::http::start(Arc::clone(&app)).unwrap();
        let (address, health) = (running.address, running.health_address());
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let serving = actix_rt::spawn(running.serve_until(async {
            let _ = stopped.await;
        }));
        let mut gateway =
            Self { app, address, health, upstream, data, tokens: HashMap::new(), stop, serving };
        gateway.tokens.insert(Who::Admin, first.unwrap());
        gateway.introduce().await;
        gateway
    }

    /// Makes the callers known and grants them their levels.
    async fn introduce(&mut self) {
        let now = self.app.clock.now();
        for who in Who::ALL {
            if matches!(who, Who::Admin | Who::Anonymous) {
                continue;
            }
            let principal = who.principal();
            self.app.store.ensure_principal(&principal, "test", now).await.unwrap();
            let (token, _) = self.app.identity.issue_token(&principal, "test", None, "test").await.unwrap();
            self.tokens.insert(who, token);
            if let Some(level) = who.level() {
                self.write_grant(&principal, "experiment:1", level).await;
                self.write_grant(&principal, "registered_model:model-a", level).await;
            }
        }
        self.app.reload_policy().await.unwrap();
    }

    async fn write_grant(&self, principal: &Principal, securable: &str, level: &str) {
        let grant = NewGrant {
            principal: principal.clone(),
            securable: securable.parse().unwrap(),
            privilege: level.to_owned(),
            effect: Effect::Allow,
            reason: None,
            expires_at: None,
        };
        self.app.store.add_grant(&grant, "test", self.app.clock.now()).await.unwrap();
    }

    pub async fn grant(&self, who: Who, securable: &str, level: &str) {
        self.write_grant(&who.principal(), securable, level).await;
        self.app.reload_policy().await.unwrap();
    }

    pub async fn grant_to(&self, principal: &Principal, securable: &str, level: &str) {
        self.write_grant(principal, securable, level).await;
        self.app.reload_policy().await.unwrap();
    }

    /// Lets a principal authenticate no more.
    pub async fn deactivate(&self, principal: &str) {
        let principal = principal.parse().unwrap();
        self.app.store.set_active(&principal, false, "test", self.app.clock.now()).await.unwrap();
        self.app.identity.forget();
    }

    /// Takes away what every user may do from the first start on.
    pub async fn revoke_defaults(&self) {
        let users = Principal::group(Principal::USERS).unwrap();
        for grant in self.app.store.grants(Some(&users), Some(&Securable::workspace())).await.unwrap() {
            self.app.store.remove_grant(grant.id, "test", self.app.clock.now()).await.unwrap().unwrap();
        }
        self.app.reload_policy().await.unwrap();
    }

    pub fn token(&self, who: Who) -> &str {
        &self.tokens[&who]
    }

    pub fn signed(&self, who: Who, request: Request) -> Request {
        let request = request.header("User-Agent", AGENT);
        match self.tokens.get(&who) {
            Some(token) => request.header("Authorization", &format!("Bearer {token}")),
            None => request,
        }
    }

    pub async fn call(&self, who: Who, request: Request) -> Answer {
        self.signed(who, request).send(self.address).await
    }

    /// What reached the stand-in and is not one of the gateway's own questions.
    pub fn forwarded(&self) -> Vec<Recorded> {
        let mut requests = self.upstream.requests();
        requests.retain(|request| request.header("user-agent").contains(&AGENT));
        requests
    }

    /// The records of one call, oldest first, once the index holds them.
    pub async fn records(&self, decision_id: &str) -> Vec<Event> {
        let query = AuditQuery { decision_id: Some(decision_id.to_owned()), ..Default::default() };
        self.query(&query).await
    }

    /// The `complete` record of a call: of one whose body streams it is written after the last byte.
    pub async fn ended(&self, decision_id: &str) -> Event {
        for _ in 0..200 {
            let records = self.records(decision_id).await;
            if let Some(end) = records.into_iter().find(|event| event.kind == EventKind::Complete) {
                return end;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("call {decision_id} has no end");
    }

    pub async fn query(&self, query: &AuditQuery) -> Vec<Event> {
        self.app.records.flush(Duration::from_secs(20)).await.unwrap();
        let page = self.app.records.query(query).await.unwrap();
        let mut entries = page.entries;
        entries.sort_by_key(|entry| entry.seq);
        entries.iter().filter_map(|entry| entry.event()).collect()
    }

    pub fn audit_directory(&self) -> std::path::PathBuf {
        self.data.path().join("audit")
    }

    /// Everything that was written to the spool, as it lies on the disk.
    pub fn spool_bytes(&self) -> Vec<u8> {
        spool_bytes(&self.audit_directory())
    }

    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.serving.await.unwrap().unwrap();
    }
}

pub fn spool_bytes(directory: &Path) -> Vec<u8> {
    let mut files: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    files.sort();
    files.iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
}

/// Whether the bytes hold a text.
pub fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
