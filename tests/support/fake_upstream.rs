//! A recording, scriptable stand-in for an MLflow server: what was really sent, byte for byte.
//!
//! ```ignore
//! let upstream = FakeUpstream::start();
//! upstream.on("GET", "/health", |_| Scripted::ok("OK"));
//! // … let the gateway call `upstream.url()` …
//! assert_eq!(upstream.requests()[0].target, "/health");
//! ```
//!
//! It speaks HTTP/1.1 by hand on purpose: a server library would not send the rubbish that tests need.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A request as it arrived.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "each test binary uses its own part")]
pub struct Recorded {
    pub method: String,
    /// The request target, raw.
    pub target: String,
    /// Names in lower case, values raw, in the order sent.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

#[allow(dead_code, reason = "each test binary uses its own part")]
impl Recorded {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// All values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let same = |known: &str| known.eq_ignore_ascii_case(name);
        self.headers.iter().filter(|(known, _)| same(known)).map(|(_, value)| value.as_str()).collect()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What the server does once it has read a request.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "each test binary uses its own part")]
pub enum Scripted {
    /// A whole answer with `Content-Length`; `Connection: close` is obeyed when among the headers.
    Answer { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    /// A chunked answer of so many chunks of so many bytes.
    Chunked { chunks: usize, size: usize },
    /// So many bytes with `Content-Length`, written as fast as they are taken.
    Zeros(usize),
    /// These bytes as they are, then the connection is closed.
    Raw(Vec<u8>),
    /// These bytes as they are, then nothing while the connection stays open.
    RawAndHang(Vec<u8>),
    /// A whole answer, after which the server closes the connection without having said so.
    ThenClose(Box<Scripted>),
    /// Waits first.
    After(Duration, Box<Scripted>),
}

#[allow(dead_code, reason = "each test binary uses its own part")]
impl Scripted {
    pub fn ok(body: &str) -> Self {
        Self::status(200, body)
    }

    pub fn status(status: u16, body: &str) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    pub fn json(body: &serde_json::Value) -> Self {
        Self::json_status(200, body)
    }

    pub fn json_status(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self::Answer { status, headers, body: body.to_string().into_bytes() }
    }

    /// MLflow's answer for an id that does not exist.
    pub fn missing() -> Self {
        let body = serde_json::json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not found"});
        Self::json_status(404, &body)
    }

    pub fn redirect(location: &str) -> Self {
        Self::status(302, "").header("location", location)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

type Script = Arc<dyn Fn(&Recorded) -> Scripted + Send + Sync>;

#[derive(Default)]
struct State {
    scripts: Mutex<HashMap<(String, String), Script>>,
    otherwise: Mutex<Option<Script>>,
    requests: Mutex<Vec<Recorded>>,
    connections: AtomicUsize,
    written: AtomicUsize,
    /// Bodies are left unread while set.
    paused: AtomicBool,
    refusing: AtomicBool,
}

/// The server; it stops when dropped.
pub struct FakeUpstream {
    address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
}

#[allow(dead_code, reason = "each test binary uses its own part")]
impl FakeUpstream {
    /// Starts a server on a free port of the loopback, on a thread of its own.
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts it where another one was.
    pub fn start_at(address: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind(address).expect("a free port");
        listener.set_nonblocking(true).expect("a non-blocking listener");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = accept(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, state, stop: Some(stop) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Scripts the answer to a method and a raw path (without its query). The latest one counts.
    pub fn on(
        &self,
        method: &str,
        path: &str,
        script: impl Fn(&Recorded) -> Scripted + Send + Sync + 'static,
    ) {
        let key = (method.to_owned(), path.to_owned());
        lock(&self.state.scripts).insert(key, Arc::new(script));
    }

    /// Scripts the answer to whatever has no script of its own.
    pub fn otherwise(&self, script: impl Fn(&Recorded) -> Scripted + Send + Sync + 'static) {
        *lock(&self.state.otherwise) = Some(Arc::new(script));
    }

    /// Forgets the script of a method and a raw path.
    pub fn off(&self, method: &str, path: &str) {
        lock(&self.state.scripts).remove(&(method.to_owned(), path.to_owned()));
    }

    /// Every request read so far, in order; those without a script too (they get MLflow's 404).
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.state.requests).clone()
    }

    pub fn forget_requests(&self) {
        lock(&self.state.requests).clear();
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Bytes of answers that the network has taken so far.
    pub fn written(&self) -> usize {
        self.state.written.load(Ordering::SeqCst)
    }

    /// Leaves request bodies unread (`true`) or goes on reading them.
    pub fn pause_reading(&self, paused: bool) {
        self.state.paused.store(paused, Ordering::SeqCst);
    }

    /// Closes new connections at once (`true`) or serves them again.
    pub fn refuse_connections(&self, refusing: bool) {
        self.state.refusing.store(refusing, Ordering::SeqCst);
    }
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection = state.connections.fetch_add(1, Ordering::SeqCst);
        if !state.refusing.load(Ordering::SeqCst) {
            // A connection that breaks is part of what is tested.
            tokio::spawn(serve(stream, connection, Arc::clone(&state)));
        }
    }
}

async fn serve(mut stream: TcpStream, connection: usize, state: Arc<State>) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let Some(request) = read_request(&mut stream, &mut buffer, connection, &state).await? else {
            return Ok(());
        };
        let key = (request.method.clone(), request.path().to_owned());
        let script = lock(&state.scripts).get(&key).cloned();
        let script = script.or_else(|| lock(&state.otherwise).clone());
        let scripted = script.map_or_else(Scripted::missing, |script| script(&request));
        let is_head = request.method == "HEAD";
        lock(&state.requests).push(request);
        if !answer(&mut stream, scripted, is_head, &state).await? {
            return Ok(());
        }
    }
}

async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    connection: usize,
    state: &State,
) -> io::Result<Option<Recorded>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let mut request =
        Recorded { method: word(), target: word(), headers: Vec::new(), body: Vec::new(), connection };
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    while state.paused.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if request.header("transfer-encoding").contains(&"chunked") {
        loop {
            let line = read_line(stream, buffer).await?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            let chunk = read_exactly(stream, buffer, size).await?;
            read_line(stream, buffer).await?;
            if size == 0 {
                break;
            }
            request.body.extend(chunk);
        }
    } else if let Some(length) = request.header("content-length").first() {
        let length = length.parse().map_err(io::Error::other)?;
        request.body = read_exactly(stream, buffer, length).await?;
    }
    Ok(Some(request))
}

async fn read_line(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(end) = buffer.windows(2).position(|window| window == b"\r\n") {
            let line = buffer.drain(..end + 2).collect::<Vec<u8>>();
            return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn read_exactly(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(buffer.drain(..length).collect())
}

/// Answers; whether the connection goes on.
async fn answer(
    stream: &mut TcpStream,
    scripted: Scripted,
    is_head: bool,
    state: &State,
) -> io::Result<bool> {
    match scripted {
        Scripted::After(wait, then) => {
            tokio::time::sleep(wait).await;
            Box::pin(answer(stream, *then, is_head, state)).await
        }
        Scripted::ThenClose(then) => {
            Box::pin(answer(stream, *then, is_head, state)).await?;
            Ok(false)
        }
        Scripted::Answer { status, headers, body } => {
            let mut head = format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in &headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            let mut bytes = format!("{head}\r\n").into_bytes();
            if !is_head {
                bytes.extend(body);
            }
            write(stream, &bytes, state).await?;
            let closing = |(name, value): &(String, String)| {
                name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close")
            };
            Ok(!headers.iter().any(closing))
        }
        Scripted::Chunked { chunks, size } => {
            write(stream, b"HTTP/1.1 200 Scripted\r\ntransfer-encoding: chunked\r\n\r\n", state).await?;
            for number in 0..chunks {
                write(stream, format!("{size:x}\r\n").as_bytes(), state).await?;
                write(stream, &vec![number as u8; size], state).await?;
                write(stream, b"\r\n", state).await?;
            }
            write(stream, b"0\r\n\r\n", state).await?;
            Ok(true)
        }
        Scripted::Zeros(length) => {
            let head = format!("HTTP/1.1 200 Scripted\r\ncontent-length: {length}\r\n\r\n");
            write(stream, head.as_bytes(), state).await?;
            let zeros = vec![0; 64 * 1024];
            let mut left = length;
            while left > 0 {
                let now = left.min(zeros.len());
                write(stream, &zeros[..now], state).await?;
                left -= now;
            }
            Ok(true)
        }
        Scripted::Raw(bytes) => {
            write(stream, &bytes, state).await?;
            Ok(false)
        }
        Scripted::RawAndHang(bytes) => {
            write(stream, &bytes, state).await?;
            // Until the other side gives up.
            let mut rest = [0; 64];
            while stream.read(&mut rest).await? > 0 {}
            Ok(false)
        }
    }
}

async fn write(stream: &mut TcpStream, bytes: &[u8], state: &State) -> io::Result<()> {
    stream.write_all(bytes).await?;
    state.written.fetch_add(bytes.len(), Ordering::SeqCst);
    Ok(())
}
