//! A listener for health and metrics alone, in plain HTTP: for a kubelet, which shows no certificate, for a
//! monitoring that shall reach nothing else, and beside the main port's limits of connections, so that a flood
//! there restarts nobody.
//!
//! `GET /readyz` here is 503 from the moment the process is told to stop, while calls in flight are finished.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::Method;
use actix_web::{App as ActixApp, HttpRequest, HttpResponse, HttpServer, web};

use super::error::{Refusal, Shape};
use super::{convert, own};
use crate::app::App;
use crate::backend::Backend;

/// The head of a question must be there by then, and the next one on the same connection too.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections that may be open; whoever monitors needs a few.
const CONNECTIONS: usize = 256;

pub(super) struct Health {
    pub address: SocketAddr,
    handle: ServerHandle,
    stopping: Arc<AtomicBool>,
}

/// Whether an operation is answered by this listener and no longer by the main one.
pub(super) fn answers_alone(app: &App, operation: &str) -> bool {
    operation == "tracegate.metrics" && app.config.server.health_listen.is_some()
}

impl Health {
    /// Binds the configured address and answers from then on; `None` if there is none.
    pub fn start(app: &Arc<App>) -> anyhow::Result<Option<Self>> {
        let Some(listen) = &app.config.server.health_listen else { return Ok(None) };
        let listener = TcpListener::bind(listen).map_err(|error| {
            anyhow::anyhow!("`server.health_listen` `{listen}` cannot be bound: {error}; choose a free port")
        })?;
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let (app, told) = (Arc::clone(app), Arc::clone(&stopping));
        let server = HttpServer::new(move || {
            let (app, told) = (Arc::clone(&app), Arc::clone(&told));
            let backend = app.backend.for_worker();
            let serve = move |request: HttpRequest| {
                let (app, backend, told) = (Arc::clone(&app), backend.clone(), Arc::clone(&told));
                async move { answer(&app, &*backend, &told, &request).await }
            };
            ActixApp::new().default_service(web::to(serve))
        })
        // One thread: what takes long here must not take cores from calls.
        .workers(1)
        .max_connections(CONNECTIONS)
        .client_request_timeout(PATIENCE)
        .client_disconnect_timeout(PATIENCE)
        .keep_alive(PATIENCE)
        .shutdown_timeout(1)
        .disable_signals()
        .listen(listener)?
        .run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        tracing::info!(%address, "health and metrics are answered apart");
        Ok(Some(Self { address, handle, stopping }))
    }

    /// From now on we are not ready.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub async fn stop(self) {
        self.handle.stop(false).await;
    }
}

async fn answer(
    app: &Arc<App>,
    backend: &dyn Backend,
    stopping: &AtomicBool,
    request: &HttpRequest,
) -> HttpResponse {
    let operation = match (request.method(), request.path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => "tracegate.live",
        (&Method::GET | &Method::HEAD, "/readyz") => "tracegate.ready",
        (&Method::GET | &Method::HEAD, "/metrics") => "tracegate.metrics",
        // Nothing else, whatever a canonical reading would make of it.
        _ => return convert::response(Refusal::UnknownEndpoint.into_reply("none", Shape::Mlflow)),
    };
    if operation == "tracegate.ready" && stopping.load(Ordering::Relaxed) {
        return convert::response(own::stopping());
    }
    convert::response(own::public(app, backend, operation).await)
}
