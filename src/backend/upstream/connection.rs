//! Connections to the MLflow server that acknowledge at once and that we can see the end of.
//!
//! A multi-worker MLflow server writes a response in two segments and, lacking `TCP_NODELAY`, holds the
//! second back until the first is acknowledged; a kept-alive client delays that by 40 ms. Asking the
//! kernel for a quick acknowledgement lasts only until it changes its mind, so it is asked again after
//! every write and read. Two traps of the HTTP client are closed here as well:
//!
//! - its pool checks a connection through the reactor's cached readiness, which may not have heard yet
//!   that the server closed it; so an idle connection is also asked directly;
//! - a body that the server cuts off ends like a complete one. A complete body hands its connection back
//!   to the pool, a cut-off one does not: [`Connection::is_gone`] tells them apart (see `reply`).

use std::cell::{Cell, RefCell};
use std::io::{self, Read as _};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_rt::net::{ActixStream, Ready, TcpStream};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One connection, as seen from outside the client's pool.
#[derive(Debug, Default)]
pub(super) struct Connection {
    gone: Cell<bool>,
    poisoned: Cell<bool>,
}

impl Connection {
    /// Whether the socket was dropped.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// Makes the pool throw this connection away: what it still holds belongs to nobody's request.
    pub(super) fn poison(&self) {
        self.poisoned.set(true);
    }
}

/// The connection that was read from last. The client reads a response's head in the same poll in which
/// it answers, so after that poll this is the connection of that response.
#[derive(Debug, Clone, Default)]
pub(super) struct LastRead(Rc<RefCell<Option<Rc<Connection>>>>);

impl LastRead {
    pub(super) fn take(&self) -> Option<Rc<Connection>> {
        self.0.borrow_mut().take()
    }
}

/// A TCP stream without Nagle's algorithm and without delayed acknowledgements.
#[derive(Debug)]
pub(super) struct QuickStream {
    stream: TcpStream,
    connection: Rc<Connection>,
    last_read: LastRead,
    /// Nothing was written since the last read.
    idle: bool,
}

impl QuickStream {
    pub(super) fn new(stream: TcpStream, last_read: LastRead) -> Self {
        // Both are improvements only; a socket that refuses them still works.
        let _ = stream.set_nodelay(true);
        let quick = Self { stream, connection: Rc::default(), last_read, idle: false };
        quick.acknowledge_at_once();
        quick
    }

    fn acknowledge_at_once(&self) {
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(&self.stream).set_tcp_quickack(true);
    }
}

impl Drop for QuickStream {
    fn drop(&mut self) {
        self.connection.gone.set(true);
    }
}

impl AsyncRead for QuickStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.connection.poisoned.get() {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        match polled {
            Poll::Ready(result) => result?,
            Poll::Pending if self.idle => {
                match (&*SockRef::from(&self.stream)).read(buffer.initialize_unfilled()) {
                    Ok(read) => buffer.advance(read),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            Poll::Pending => return Poll::Pending,
        }
        self.idle = true;
        if buffer.filled().len() > before {
            self.acknowledge_at_once();
            *self.last_read.0.borrow_mut() = Some(Rc::clone(&self.connection));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for QuickStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.idle = false;
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.acknowledge_at_once();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl ActixStream for QuickStream {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.stream, context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.stream, context)
    }
}
