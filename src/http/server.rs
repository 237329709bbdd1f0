//! Starts actix-web on a listener and stops it again.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;

use actix_server::{GracefulShutdownSignal, Server};
use actix_service::{Service, ServiceFactory, fn_factory, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App as ActixApp, HttpRequest, web};
use tokio::net::TcpStream;

use super::front::{self, Front};
use super::health::Health;
use super::{archive, pipeline};
use crate::app::App;
use crate::backend::Backend;

/// A running gateway.
pub struct Running {
    pub address: SocketAddr,
    /// `https` if we speak TLS ourselves.
    pub scheme: &'static str,
    health: Option<Health>,
    server: Server,
    app: Arc<App>,
    archiving: archive::Worker,
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
    let front = Front::open(&app).map_err(anyhow::Error::msg)?;
    let health = Health::start(&app)?;
    let mut server = Server::build()
        .shutdown_timeout(app.config.server.shutdown_seconds)
        // The limit is ours, and closes what is over it; this one would let it wait.
        .max_concurrent_connections(app.config.server.max_connections.saturating_add(1024))
        .disable_signals();
    if let Some(workers) = app.config.server.workers {
        server = server.workers(workers);
    }
    tracing::info!(traces = app.backend.place(), "where traces are kept");
    let stopping = server.graceful_shutdown_signal();
    let shared = Arc::clone(&front);
    let worker = move || {
        let (front, stopping) = (Arc::clone(&shared), stopping.clone());
        fn_factory(move || worker(Arc::clone(&front), stopping.clone()))
    };
    let server = server.listen("tracegate", listener, worker)?.run();
    let upkeep = vec![
        tokio::spawn(Arc::clone(&app).keep_policy_fresh()),
        tokio::spawn(Arc::clone(&app).keep_subjects()),
        tokio::spawn(Arc::clone(&app).keep_telling_of_shadows()),
        tokio::spawn(Arc::clone(&app).keep_count_of_strangers()),
        tokio::spawn(Arc::clone(&app).forget_old_access_tokens()),
        tokio::spawn(Arc::clone(&app).keep_tables_small()),
        tokio::spawn(front.keep_certificate_fresh()),
        tokio::spawn(Arc::clone(&app.keys).keep_fresh()),
    ];
    let archiving = archive::Worker::start(&app)?;
    let scheme = if app.config.server.speaks_tls() { "https" } else { "http" };
    Ok(Running { address, scheme, health, server, app, upkeep, archiving })
}

/// What one worker does with each connection.
async fn worker(
    front: Arc<Front>,
    stopping: GracefulShutdownSignal,
) -> Result<impl Service<TcpStream, Response = (), Error = ()>, ()> {
    // One backend, and so one pool of connections, per worker.
    let backend: Rc<dyn Backend> = front.app.backend.for_worker();
    let shared = Arc::clone(&front);
    let serve = move |request: HttpRequest, payload: web::Payload| {
        let (app, backend) = (Arc::clone(&shared.app), Rc::clone(&backend));
        let arrival = shared.arrival(&request);
        async move {
            match arrival {
                Some(arrival) => pipeline::serve(app, backend, arrival, request, payload).await,
                None => pipeline::without_connection(),
            }
        }
    };
    let requests = ActixApp::new().default_service(web::to(serve));
    let requests = map_config(requests, |()| AppConfig::default()).new_service(()).await?;
    let requests = Rc::new(requests);
    let http1 = front::http1(&front, Rc::clone(&requests), stopping.clone()).new_service(()).await?;
    let http1 = Rc::new(http1);
    Ok(fn_service(move |stream: TcpStream| {
        let (front, stopping) = (Arc::clone(&front), stopping.clone());
        let (http1, requests) = (Rc::clone(&http1), Rc::clone(&requests));
        async move {
            front.serve(stream, http1, requests, stopping).await;
            Ok(())
        }
    }))
}

impl Running {
    /// Where health and metrics are answered by themselves.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health.as_ref().map(|health| health.address)
    }

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
            if let Some(health) = &self.health {
                health.stopping();
            }
            self.app.statements.stop();
            handle.stop(true).await;
        };
        let (served, ()) = tokio::join!(self.server, stop);
        for task in &self.upkeep {
            task.abort();
        }
        self.archiving.stop().await;
        if let Err(error) = self.app.record_strangers().await {
            tracing::error!(%error, "the count of refused calls could not be recorded");
        }
        if let Err(error) = self.app.flush_subjects().await {
            tracing::warn!(%error, "whose traces passed by last is not noted");
        }
        if let Err(error) = self.app.records.close().await {
            tracing::error!(%error, "the audit chain could not be closed");
        }
        if let Some(health) = self.health {
            health.stop().await;
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
