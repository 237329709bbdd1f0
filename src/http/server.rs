//! Starts actix-web on a listener and stops it again.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App as ActixApp, HttpRequest, HttpServer, web};

use super::pipeline;
use crate::app::App;
use crate::backend::Backend;

/// A running gateway.
pub struct Running {
    pub address: SocketAddr,
    server: actix_web::dev::Server,
    app: Arc<App>,
    /// What is kept up beside serving.
    upkeep: Vec<tokio::task::JoinHandle<()>>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Running({})", self.address)
    }
}

/// Binds the configured address and listens; [`Running::serve_until`] serves.
pub fn start(app: Arc<App>) -> anyhow::Result<Running> {
    let listen = &app.config.server.listen;
    let listener = TcpListener::bind(listen)
        .map_err(|error| anyhow::anyhow!("`server.listen` `{listen}` cannot be bound: {error}"))?;
    let address = listener.local_addr()?;
    let shared = Arc::clone(&app);
    let mut server = HttpServer::new(move || {
        let app = Arc::clone(&shared);
        // One backend, and so one pool of connections, per worker.
        let backend: Rc<dyn Backend> = app.backend.for_worker();
        let serve = move |request: HttpRequest, payload: web::Payload| {
            pipeline::serve(Arc::clone(&app), Rc::clone(&backend), request, payload)
        };
        ActixApp::new().default_service(web::to(serve))
    })
    .shutdown_timeout(app.config.server.shutdown_seconds)
    .client_request_timeout(Duration::from_secs(30))
    .keep_alive(Duration::from_secs(75))
    .disable_signals();
    if let Some(workers) = app.config.server.workers {
        server = server.workers(workers);
    }
    tracing::info!(traces = app.backend.place(), "where traces are kept");
    let server = server.listen(listener)?.run();
    let upkeep = vec![
        tokio::spawn(Arc::clone(&app).keep_policy_fresh()),
        tokio::spawn(Arc::clone(&app).keep_subjects()),
        tokio::spawn(Arc::clone(&app).keep_count_of_strangers()),
        tokio::spawn(Arc::clone(&app).forget_old_access_tokens()),
        tokio::spawn(Arc::clone(&app.keys).keep_fresh()),
    ];
    Ok(Running { address, server, app, upkeep })
}

impl Running {
    /// Serves until the process is told to stop.
    pub async fn until_stopped(self) -> anyhow::Result<()> {
        self.serve_until(async {
            stop_signal().await;
            tracing::info!("stopping: no new calls are accepted");
        })
        .await
    }

    /// Serves until `told` is over, then finishes what is in flight and closes the record.
    pub async fn serve_until(self, told: impl Future<Output = ()>) -> anyhow::Result<()> {
        let handle = self.server.handle();
        let stop = async {
            told.await;
            handle.stop(true).await;
        };
        let (served, ()) = tokio::join!(self.server, stop);
        for task in &self.upkeep {
            task.abort();
        }
        if let Err(error) = self.app.record_strangers().await {
            tracing::error!(%error, "the count of refused calls could not be recorded");
        }
        if let Err(error) = self.app.flush_subjects().await {
            tracing::warn!(%error, "whose traces passed by last is not noted");
        }
        if let Err(error) = self.app.records.close().await {
            tracing::error!(%error, "the audit chain could not be closed");
        }
        tracing::info!("stopped");
        Ok(served?)
    }
}

/// SIGTERM or SIGINT.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = interrupt.await;
        }
    }
}
