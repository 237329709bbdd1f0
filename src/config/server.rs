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
    /// A TOML file with keys, instead of those in the database, for the purposes that it names. It is read again
    /// when it changes. `docs/KEYS.md` shows one.
    pub keys_file: Option<PathBuf>,
    /// How long a new key is known to all replicas before it is used, in seconds.
    pub key_overlap_seconds: u64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5001".to_owned(),
            data_dir: PathBuf::from("tracegate-data"),
            workers: None,
            public_url: None,
            shutdown_seconds: 30,
            keys_file: None,
            key_overlap_seconds: 60,
        }
    }
}

impl ServerConfig {
    /// Whether `public_url` is scheme, host and port, and nothing else.
    pub fn has_public_origin(&self) -> bool {
        let Some(url) = &self.public_url else { return false };
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest)).is_some_and(|host| {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
        })
    }

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
        if self.key_overlap_seconds > 86_400 {
            problems.push("`server.key_overlap_seconds` is over 86400, a day".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_origin_has_a_host_and_no_path() {
        let origin = |url: &str| {
            ServerConfig { public_url: Some(url.to_owned()), ..Default::default() }.has_public_origin()
        };
        for good in ["https://traces.example", "https://traces.example:8443/", "http://[::1]:5001"] {
            assert!(origin(good), "{good}");
        }
        for bad in ["", "traces.example", "https://", "https://a/b", "https://a@b", "https://a?b", "ftp://a"]
        {
            assert!(!origin(bad), "{bad}");
        }
        assert!(!ServerConfig::default().has_public_origin());
    }
}
