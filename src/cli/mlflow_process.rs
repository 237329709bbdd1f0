//! An MLflow tracking server started for the demo and stopped with it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

/// How long a first start may take: MLflow migrates its database then.
const START_LIMIT: Duration = Duration::from_secs(120);

pub(super) struct MlflowProcess {
    pub url: String,
    child: Child,
}

impl MlflowProcess {
    /// Starts `mlflow server` from PATH on a free port of 127.0.0.1 and waits until it answers.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        let directory = directory.join("mlflow");
        std::fs::create_dir_all(directory.join("artifacts"))?;
        let directory = directory.canonicalize()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = std::fs::File::create(directory.join("server.log"))?;
        let child = Command::new("mlflow")
            .arg("server")
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--workers", "1"])
            .args(["--backend-store-uri", &format!("sqlite:///{}/mlflow.db", directory.display())])
            .args(["--artifacts-destination", &directory.join("artifacts").display().to_string()])
            .arg("--serve-artifacts")
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .env("DO_NOT_TRACK", "true")
            .env_remove("MLFLOW_TRACKING_URI")
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            // A group of its own, so that its workers can be stopped with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                anyhow::anyhow!(
                    "`mlflow server` cannot be started ({error}): put MLflow 3.17 on PATH, run `make demo`, \
                     or name a running server with --mlflow-url"
                )
            })?;
        let url = format!("http://127.0.0.1:{port}");
        let mut process = Self { url, child };
        process.wait_until_healthy(&directory).await?;
        Ok(process)
    }

    async fn wait_until_healthy(&mut self, directory: &Path) -> anyhow::Result<()> {
        eprintln!("starting MLflow at {} (its log: {}/server.log)", self.url, directory.display());
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
        let started = std::time::Instant::now();
        loop {
            let health = client.get(format!("{}/health", self.url)).send().await;
            if health.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("`mlflow server` stopped ({status}); see {}/server.log", directory.display());
            }
            if started.elapsed() > START_LIMIT {
                anyhow::bail!("`mlflow server` did not answer in {} s", START_LIMIT.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Asks the server and its workers to stop, and waits for it.
    pub async fn stop(mut self) {
        if let Some(id) = self.child.id() {
            let _ = Command::new("kill").args(["-TERM", "--", &format!("-{id}")]).status().await;
        }
        if tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}
