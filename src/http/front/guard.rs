//! The stream below HTTP: plain or TLS, and closed once its other side lets us wait too long.
//!
//! actix-web gives only the first head of a connection a time, and none to a client that does not take its
//! answer. Both are seen here, where every byte passes.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use super::connection::Connection;
use super::pace::Pace;

/// How often a connection with a call in flight looks again whether it still is.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Bytes that one connection may hand on before others on its worker have their turn. HTTP/2 frames of a few bytes
/// can want work, and those of a whole socket buffer would keep a worker for seconds.
const TURN: usize = 32 * 1024;

pub(in crate::http) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub(in crate::http) struct Guarded {
    socket: Socket,
    connection: Rc<Connection>,
    writing: Pace,
    timer: Pin<Box<Sleep>>,
    /// What was read in this turn.
    turn: usize,
    /// What is to be let go of when the connection is over.
    _holds: Box<dyn std::any::Any>,
}

impl Guarded {
    pub fn new(
        socket: Socket,
        connection: Rc<Connection>,
        writing: Pace,
        holds: Box<dyn std::any::Any>,
    ) -> Self {
        let first = connection.last_moment().unwrap_or_else(Instant::now);
        let timer = Box::pin(tokio::time::sleep_until(first.into()));
        Self { socket, connection, writing, timer, turn: 0, _holds: holds }
    }

    pub fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Whether the other side has let us wait too long; if not, wakes the task when it may have.
    fn is_overdue(&mut self, context: &mut Context<'_>) -> bool {
        loop {
            let now = Instant::now();
            let deadline = self.connection.last_moment();
            if self.writing.is_stalled(now) || deadline.is_some_and(|deadline| deadline <= now) {
                return true;
            }
            let next = [deadline, self.writing.deadline()].into_iter().flatten().min();
            let next = next.unwrap_or(now + LOOK_AGAIN).into();
            // A timer that is set too early costs a look; setting it at each byte would cost more.
            if self.timer.is_elapsed() || next < self.timer.deadline() {
                self.timer.as_mut().reset(next);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return false;
            }
        }
    }

    /// What became of writing.
    fn wrote<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
        bytes: impl Fn(&T) -> u64,
    ) -> Poll<io::Result<T>> {
        let now = Instant::now();
        match result {
            Poll::Ready(Ok(done)) => {
                let moved = bytes(&done);
                if moved > 0 {
                    self.connection.sent(now);
                }
                if self.writing.moved(now, moved) {
                    Poll::Ready(Ok(done))
                } else {
                    Poll::Ready(Err(too_slow()))
                }
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.writing.waits(now);
                if self.is_overdue(context) { Poll::Ready(Err(too_slow())) } else { Poll::Pending }
            }
        }
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the other side is too slow")
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.turn >= TURN {
            this.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = match &mut this.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        };
        if buffer.filled().len() > before {
            this.connection.received(Instant::now());
        }
        this.turn = if read.is_pending() { 0 } else { this.turn + buffer.filled().len() - before };
        if this.is_overdue(context) {
            return Poll::Ready(Err(too_slow()));
        }
        read
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        };
        this.wrote(context, written, |bytes| *bytes as u64)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &mut this.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(context),
            Socket::Tls(stream) => {
                let flushed = Pin::new(stream.as_mut()).poll_flush(context);
                // What TLS holds back is little, and nobody sees how much of it went: the time alone counts.
                this.wrote(context, flushed, |()| 0)
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = match &mut this.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        };
        this.wrote(context, shut, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures_util::future::poll_fn;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::server::ServerConfig;

    #[actix_rt::test]
    async fn others_have_their_turn_however_much_one_connection_has_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        const ALL: usize = 4 << 20;
        let sending = tokio::spawn(async move { sender.write_all(&vec![7; ALL]).await.map(|()| sender) });
        let config = ServerConfig::default();
        let connection = Connection::new(&config, IpAddr::from([127, 0, 0, 1]), false, true, None);
        assert_eq!(peer.ip(), IpAddr::from([127, 0, 0, 1]));
        let mut guarded = Guarded::new(Socket::Plain(stream), connection, Pace::new(&config), Box::new(()));
        let (mut read, mut most) = (0, 0);
        while read < ALL {
            let turn = poll_fn(|context| {
                let mut turn = 0;
                let mut buffer = [0; 4096];
                loop {
                    let mut buffer = ReadBuf::new(&mut buffer);
                    match Pin::new(&mut guarded).poll_read(context, &mut buffer) {
                        Poll::Ready(Ok(())) => turn += buffer.filled().len(),
                        Poll::Ready(Err(error)) => panic!("{error}"),
                        Poll::Pending if turn == 0 => return Poll::Pending,
                        Poll::Pending => return Poll::Ready(turn),
                    }
                    if read + turn == ALL {
                        return Poll::Ready(turn);
                    }
                }
            });
            let turn = turn.await;
            read += turn;
            most = most.max(turn);
        }
        assert!(most <= TURN + 4096, "{most} bytes in one turn");
        drop(sending.await.unwrap().unwrap());
    }
}
