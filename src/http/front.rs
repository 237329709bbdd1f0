//! Before the pipeline: connections, TLS, who is at the other end, and after it what every answer says to
//! browsers.

mod connection;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod guard;
mod h2;
mod pace;
mod proxies;
mod security_headers;
mod tally;
mod tls;

use std::any::Any;
use std::cell::OnceCell;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::{HttpService, Request, Response};
use actix_server::GracefulShutdownSignal;
use actix_service::Service;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use bytes::Bytes;
use tokio::net::TcpStream;

use self::connection::{Connection, InFlight};
use self::guard::{Guarded, Socket};
use self::h2::Http2;
pub(super) use self::pace::Pace;
use self::proxies::{Proxies, Source};
use self::tally::{Place, Tally, counted_as};
use self::tls::Tls;
use crate::access::Principal;
use crate::app::App;
use crate::identity::Certificate;
use crate::telemetry::Turned;

/// What all workers share in front of the pipeline.
pub(super) struct Front {
    pub app: Arc<App>,
    tls: Option<Tls>,
    proxies: Proxies,
    connections: Arc<Tally<()>>,
    addresses: Arc<Tally<IpAddr>>,
    principals: Arc<Tally<Principal>>,
}

/// What is known of a request before it is read.
pub(super) struct Arrival {
    front: Arc<Front>,
    connection: Rc<Connection>,
    source: Source,
    has_body: Option<bool>,
    /// The place of a client behind a proxy among its own calls; `None` if it has too many.
    place: Option<Option<Place<IpAddr>>>,
    of_principal: OnceCell<Place<Principal>>,
    _in_flight: InFlight,
}

/// A client certificate, as far as it still counts.
pub(super) enum Shown<'a> {
    Nothing,
    Certificate(&'a Certificate),
    /// Its authority is no longer trusted.
    Untrusted,
}

impl Front {
    pub fn open(app: &Arc<App>) -> Result<Arc<Self>, String> {
        let config = &app.config.server;
        let tls = Tls::open(config, app.clock.now())?;
        if let Some(tls) = &tls {
            app.metrics.tls_certificate_until(tls.current().not_after);
        }
        let limit = |limit: Option<usize>| limit.unwrap_or(usize::MAX);
        Ok(Arc::new(Self {
            tls,
            proxies: Proxies::new(config),
            connections: Tally::new(config.max_connections),
            addresses: Tally::new(limit(config.max_connections_per_address)),
            principals: Tally::new(limit(config.max_calls_per_principal)),
            app: Arc::clone(app),
        }))
    }

    /// Reads the files of TLS again whenever they may have changed.
    pub async fn keep_certificate_fresh(self: Arc<Self>) {
        // Taken without TLS too: a service manager's reload would end the process.
        let mut told = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
        let Some(tls) = &self.tls else { return };
        let interval = Duration::from_secs(self.app.config.server.tls_reload_seconds);
        let mut last_problem = String::new();
        loop {
            let hangup = async {
                match &mut told {
                    Some(told) => told.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                _ = hangup => last_problem.clear(),
            }
            match tls.reload(self.app.clock.now()) {
                Ok(false) => last_problem.clear(),
                Ok(true) => {
                    last_problem.clear();
                    self.app.metrics.tls_certificate_until(tls.current().not_after);
                    tracing::info!("the new TLS certificate is in use");
                }
                Err(problem) if problem != last_problem => {
                    self.app.metrics.tls_reload_failed.inc();
                    tracing::error!(problem, "the TLS files are no good; what was in use stays in use");
                    last_problem = problem;
                }
                Err(_) => {}
            }
        }
    }

    /// Takes a connection in, or closes it because there are too many.
    fn admit(&self, peer: IpAddr) -> Option<Box<dyn Any>> {
        let Some(place) = self.connections.enter(()) else {
            self.app.metrics.turned_away(Turned::Connections);
            return None;
        };
        // A proxy's connections are those of all its clients.
        let of_address = match self.proxies.trusts(peer) {
            true => None,
            false => {
                let Some(place) = self.addresses.enter(counted_as(peer)) else {
                    self.app.metrics.turned_away(Turned::Address);
                    return None;
                };
                Some(place)
            }
        };
        let open = self.app.metrics.connection();
        Some(Box::new((place, of_address, open)))
    }

    /// One connection, from its first byte to its last.
    pub async fn serve<H, S, B>(
        self: Arc<Self>,
        stream: TcpStream,
        http1: Rc<H>,
        requests: Rc<S>,
        stopping: GracefulShutdownSignal,
    ) where
        H: Service<(Guarded, actix_http::Protocol, Option<std::net::SocketAddr>)>,
        S: Service<Request> + 'static,
        S::Response: Into<Response<B>>,
        B: MessageBody + 'static,
    {
        let Ok(peer) = stream.peer_addr() else { return };
        let address = peer.ip().to_canonical();
        let Some(holds) = self.admit(address) else { return };
        let _ = stream.set_nodelay(true);
        let config = &self.app.config.server;
        let (socket, is_http2, presented) = match &self.tls {
            None => (Socket::Plain(stream), false, None),
            Some(tls) => {
                let loaded = tls.current();
                let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&loaded.config));
                let patience = Duration::from_millis(config.header_timeout_ms);
                let Ok(Ok(stream)) = tokio::time::timeout(patience, acceptor.accept(stream)).await else {
                    self.app.metrics.turned_away(Turned::Handshake);
                    return;
                };
                let session = stream.get_ref().1;
                let is_http2 = session.alpn_protocol() == Some(b"h2");
                let Ok(presented) = Tls::presented(&loaded, session.peer_certificates()) else {
                    self.app.metrics.turned_away(Turned::Handshake);
                    return;
                };
                (Socket::Tls(Box::new(stream)), is_http2, presented)
            }
        };
        let connection = Connection::new(config, address, self.tls.is_some(), is_http2, presented);
        let guarded = Guarded::new(socket, connection, Pace::new(config), holds);
        if is_http2 {
            h2::serve(&self, guarded, requests, async move { stopping.notified().await }).await;
        } else {
            let _ = http1.call((guarded, actix_http::Protocol::Http1, Some(peer))).await;
        }
    }

    /// What is known of a request that has just come.
    pub fn arrival(self: &Arc<Self>, request: &HttpRequest) -> Option<Rc<Arrival>> {
        let (connection, has_body) = match request.conn_data::<Rc<Connection>>() {
            Some(connection) => (Rc::clone(connection), None),
            None => {
                let http2 = http2_of(request)?;
                (http2.connection, Some(http2.has_body))
            }
        };
        let source = self.proxies.source(connection.peer, connection.tls, request.headers());
        let place = source.forwarded.then(|| self.addresses.enter(counted_as(source.address)));
        let in_flight = connection.begin();
        Some(Rc::new(Arrival {
            front: Arc::clone(self),
            connection,
            source,
            has_body,
            place,
            of_principal: OnceCell::new(),
            _in_flight: in_flight,
        }))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "actix-web takes a connection's data from its own dispatchers alone"
)]
fn http2_of(request: &HttpRequest) -> Option<Http2> {
    request.extensions_mut().remove::<Http2>()
}

impl Arrival {
    /// Where the call comes from, for the record.
    pub fn address(&self) -> IpAddr {
        self.source.address
    }

    /// Whether the client speaks TLS, with us or with a trusted proxy.
    pub fn is_https(&self) -> bool {
        self.source.https
    }

    /// Whether a body follows, where its framing says so and no header does.
    pub fn has_body(&self) -> Option<bool> {
        self.has_body
    }

    /// Whether its client has more calls at once than an address may have; with how many it may.
    pub fn is_one_too_many(&self) -> Option<usize> {
        matches!(self.place, Some(None)).then(|| self.front.addresses.limit())
    }

    /// What the client showed in the handshake.
    pub fn shown(&self) -> Shown<'_> {
        match (&self.connection.presented, &self.front.tls) {
            (Some(presented), Some(tls)) if tls.still_trusts(presented, self.front.app.clock.now()) => {
                Shown::Certificate(&presented.certificate)
            }
            (Some(_), _) => Shown::Untrusted,
            (None, _) => Shown::Nothing,
        }
    }

    /// Takes a place among the principal's calls; the error is how many it may have.
    pub fn take_place(&self, principal: &Principal) -> Result<(), usize> {
        let place = self.front.principals.enter(principal.clone()).ok_or(self.front.principals.limit())?;
        let _ = self.of_principal.set(place);
        Ok(())
    }

    /// What every answer tells browsers. Its places are free again when the answer is over.
    pub fn finish(self: Rc<Self>, mut response: HttpResponse, path: &str) -> HttpResponse {
        security_headers::set(response.headers_mut(), path, self.is_https());
        response.map_body(|_, body| BoxBody::new(Held { body, _arrival: self }))
    }
}

/// An answer's body, and what is let go of when it is over.
struct Held {
    body: BoxBody,
    _arrival: Rc<Arrival>,
}

impl MessageBody for Held {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(context)
    }
}

/// The service for HTTP/1.1 connections: actix-web's, with our times.
#[expect(clippy::type_complexity, reason = "actix-http's own type, whose service cannot be named")]
pub(super) fn http1<S>(
    front: &Front,
    requests: Rc<S>,
    stopping: GracefulShutdownSignal,
) -> HttpService<
    Guarded,
    impl actix_service::ServiceFactory<
        Request,
        Config = (),
        Response = S::Response,
        Error = S::Error,
        InitError = (),
        Service = Rc<S>,
        Future: 'static,
    > + use<S>,
    BoxBody,
>
where
    S: Service<Request> + 'static,
    S::Error: Into<Response<BoxBody>> + 'static,
    S::Response: Into<Response<BoxBody>> + 'static,
    S::Future: 'static,
{
    let config = &front.app.config.server;
    HttpService::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .keep_alive(Duration::from_millis(config.keep_alive_ms))
        .client_request_timeout(Duration::from_millis(config.header_timeout_ms))
        .client_disconnect_timeout(Duration::from_secs(1))
        .on_connect_ext(|guarded: &Guarded, data: &mut actix_http::Extensions| {
            data.insert(Rc::clone(guarded.connection()));
        })
        .finish(actix_service::fn_factory(move || {
            let requests = Rc::clone(&requests);
            async move { Ok::<_, ()>(requests) }
        }))
}
