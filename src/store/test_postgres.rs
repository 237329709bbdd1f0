//! A real PostgreSQL for tests: started on a free port in a temporary directory, one for all tests that
//! run at a time, stopped with the last of them. Each test gets a database of its own.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection};

static RUNNING: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static DATABASES: AtomicU32 = AtomicU32::new(0);

struct Server {
    process: Mutex<Child>,
    port: u16,
    // Last, so that it goes after the process.
    _directory: tempfile::TempDir,
}

/// An empty database; the server lives as long as any of these.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    _server: Arc<Server>,
}

impl TestDatabase {
    pub(crate) async fn create() -> Self {
        let server = Server::running();
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::SeqCst));
        let mut connection = server.connect().await;
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        Self { url: server.url(&name), _server: server }
    }
}

impl Server {
    fn running() -> Arc<Self> {
        let mut running = RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *running = Arc::downgrade(&server);
            server
        })
    }

    fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("tracegate-pg-").tempdir().unwrap();
        let is_root = directory.path().metadata().unwrap().uid() == 0;
        let data = directory.path().join("data");
        if is_root {
            std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        let made = command("initdb", is_root)
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
                "-D",
            ])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));

        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = command("postgres", is_root)
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=200"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", directory.path().display()))
            .args(["-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process: Mutex::new(process), port, _directory: directory }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    async fn connect(&self) -> sqlx::PgConnection {
        let mut last = None;
        for _ in 0..300 {
            match sqlx::PgConnection::connect(&self.url("postgres")).await {
                Ok(connection) => return connection,
                Err(error) => last = Some(error),
            }
            let ended = self.process.lock().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "PostgreSQL ended while starting: {ended:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("PostgreSQL does not answer: {last:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut process = self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // SIGQUIT: the server ends its own processes and does not wait for clients.
        let _ = Command::new("kill").args(["-QUIT", &process.id().to_string()]).status();
        let _ = process.wait();
    }
}

/// PostgreSQL refuses to run as root, so root runs it as the user that the package made.
fn command(program: &str, is_root: bool) -> Command {
    let binary = find(program);
    if !is_root {
        return Command::new(binary);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(binary);
    command
}

fn find(program: &str) -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin").join(program)).collect())
        .unwrap_or_default();
    versions.retain(|path: &PathBuf| path.exists());
    versions.sort();
    let on_path = || {
        let answer = Command::new(program).arg("--version").output();
        answer.is_ok_and(|answer| answer.status.success()).then(|| Path::new(program).to_owned())
    };
    versions.pop().or_else(on_path).unwrap_or_else(|| {
        panic!("`{program}` was not found; these tests need PostgreSQL: apt-get install postgresql")
    })
}
