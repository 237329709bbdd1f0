//! `[server]`: where we listen and where our own state lives.

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port to listen on; port 0 picks a free one.
    pub listen: String,
    /// Directory of our own state: database, audit spool, spilled bodies.
    pub data_dir: PathBuf,
    /// Worker threads; default: one per core.
    pub workers: Option<usize>,
    /// The URL by which browsers reach us, where a proxy in front changes `Host`: pages under it count as our
    /// own, pages of other sites are refused.
    pub public_url: Option<String>,
    /// How long a stop waits for calls in flight, in seconds.
    pub shutdown_seconds: u64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5001".to_owned(),
            data_dir: PathBuf::from("tracegate-data"),
            workers: None,
            public_url: None,
            shutdown_seconds: 30,
        }
    }
}

impl ServerConfig {
    pub fn validate(&self, problems: &mut Vec<String>) {
        if self.listen.parse::<std::net::SocketAddr>().is_err() {
            problems.push(format!(
                "`server.listen` is `{}`: expected an address and a port, such as `127.0.0.1:5001`",
                self.listen
            ));
        }
        if self.workers == Some(0) {
            problems.push("`server.workers` is 0: expected at least 1".to_owned());
        }
    }
}
