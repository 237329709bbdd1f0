//! One connection: what is known of who is at its other end, and how long it may go on.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::tls::Presented;
use crate::config::server::ServerConfig;

/// Longer than actix-web's own time for the first head of a connection, which can still answer 408.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(in crate::http) struct Connection {
    pub peer: IpAddr,
    pub tls: bool,
    /// The client certificate, verified in the handshake.
    pub presented: Option<Presented>,
    /// Requests whose answer is not over.
    in_flight: Cell<usize>,
    /// Since when nothing went out and no request is in flight.
    idle_since: Cell<Instant>,
    /// Since when the head of a request is on its way.
    head_since: Cell<Option<Instant>>,
    /// How long a head may be on its way; on HTTP/2, whose frames say nothing of that, the idle time counts.
    head_limit: Option<Duration>,
    idle_limit: Duration,
    /// How long the end of a connection may take that HTTP/2 announces.
    farewell: Duration,
}

impl Connection {
    pub fn new(
        config: &ServerConfig,
        peer: IpAddr,
        tls: bool,
        http2: bool,
        presented: Option<Presented>,
    ) -> Rc<Self> {
        let now = Instant::now();
        let header_timeout = Duration::from_millis(config.header_timeout_ms);
        let head_limit = (!http2).then(|| header_timeout + GRACE);
        Rc::new(Self {
            peer,
            tls,
            presented,
            in_flight: Cell::new(0),
            idle_since: Cell::new(now),
            head_since: Cell::new(head_limit.map(|_| now)),
            head_limit,
            idle_limit: Duration::from_millis(config.keep_alive_ms),
            farewell: if http2 { header_timeout } else { Duration::ZERO },
        })
    }

    /// A request has come whole; the connection is not idle until the answer is over.
    pub fn begin(self: &Rc<Self>) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        self.head_since.set(None);
        InFlight(Rc::clone(self))
    }

    pub fn is_busy(&self) -> bool {
        self.in_flight.get() > 0
    }

    pub fn received(&self, now: Instant) {
        if !self.is_busy() && self.head_limit.is_some() && self.head_since.get().is_none() {
            self.head_since.set(Some(now));
        }
    }

    /// The rest of an answer of HTTP/1.1 goes out while no request is in flight; what HTTP/2 sends then may be
    /// the answer to a ping, by which no client keeps a connection.
    pub fn sent(&self, now: Instant) {
        if self.head_limit.is_some() {
            self.idle_since.set(now);
        }
    }

    /// Until when it may go on at most, whoever should have ended it before.
    pub fn last_moment(&self) -> Option<Instant> {
        Some(self.deadline()? + self.farewell)
    }

    /// Until when the next request must be there; `None` while one is in flight.
    pub fn deadline(&self) -> Option<Instant> {
        if self.is_busy() {
            return None;
        }
        match (self.head_since.get(), self.head_limit) {
            (Some(since), Some(limit)) => Some(since + limit),
            _ => Some(self.idle_since.get() + self.idle_limit),
        }
    }
}

/// A request in flight; over when this is dropped.
#[derive(Debug)]
pub(in crate::http) struct InFlight(Rc<Connection>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
        self.0.idle_since.set(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(http2: bool) -> Rc<Connection> {
        let config = ServerConfig { header_timeout_ms: 1000, keep_alive_ms: 60_000, ..Default::default() };
        Connection::new(&config, IpAddr::from([127, 0, 0, 1]), false, http2, None)
    }

    fn until(connection: &Connection, from: Instant) -> u64 {
        connection.deadline().unwrap().saturating_duration_since(from).as_secs()
    }

    #[test]
    fn each_head_has_its_time_and_not_only_the_first() {
        let connection = connection(false);
        let start = connection.idle_since.get();
        assert_eq!(until(&connection, start), 2);
        let first = connection.begin();
        assert_eq!(connection.deadline(), None);
        connection.received(start);
        drop(first);
        let idle = connection.idle_since.get();
        assert_eq!(until(&connection, idle), 60);
        // The first byte of the second head; later bytes win no time.
        connection.received(idle);
        connection.received(idle + Duration::from_secs(1));
        assert_eq!(until(&connection, idle), 2);
    }

    #[test]
    fn what_still_goes_out_keeps_it_open_and_pings_do_not() {
        for (http2, expected) in [(false, 90), (true, 60)] {
            let connection = connection(http2);
            drop((connection.begin(), connection.begin()));
            let idle = connection.idle_since.get();
            assert_eq!(until(&connection, idle), 60);
            connection.sent(idle + Duration::from_secs(30));
            assert_eq!(until(&connection, idle), expected);
        }
        let connection = connection(true);
        connection.received(Instant::now());
        assert_eq!(connection.head_since.get(), None);
        assert_eq!(
            connection.last_moment().unwrap() - connection.deadline().unwrap(),
            Duration::from_secs(1)
        );
    }
}
