//! `[server]`: where we listen, by TLS or not, whom we believe about addresses, how long and how many
//! connections may last, and where our own state lives.

use std::path::PathBuf;

use serde::Deserialize;

use super::network::Network;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port to listen on; port 0 picks a free one.
    pub listen: String,
    /// A second address and port, for `/healthz`, `/readyz` and `/metrics` alone, in plain HTTP whatever `listen`
    /// speaks: for probes that show no certificate, and for a port that only monitoring reaches. With it `/metrics`
    /// is answered nowhere else.
    pub health_listen: Option<String>,
    /// Directory of our own state: database, audit spool, spilled bodies.
    pub data_dir: PathBuf,
    /// Worker threads; default: one per core.
    pub workers: Option<usize>,
    /// The URL by which browsers reach us, where a proxy in front changes `Host`: pages under it count as our
    /// own, pages of other sites are refused.
    pub public_url: Option<String>,
    /// How long a stop waits for calls in flight, in seconds.
    pub shutdown_seconds: u64,
    /// A PEM file with our certificate, and after it those between it and the authority. With it, and with
    /// `tls_key`, only TLS is spoken.
    pub tls_certificate: Option<PathBuf>,
    /// A PEM file with the private key of that certificate.
    pub tls_key: Option<PathBuf>,
    /// A PEM file with the authorities whose client certificates are accepted. Which of them stands for which
    /// service principal is said in `[[identity.certificates]]`.
    pub tls_client_ca: Option<PathBuf>,
    /// Whether a client without a certificate of those authorities is turned away before it can ask anything.
    /// Off: it may identify itself otherwise.
    pub tls_client_required: bool,
    /// How often these files are read again, in seconds; SIGHUP does it at once. What is no good is logged, and
    /// what was in use stays.
    pub tls_reload_seconds: u64,
    /// The proxies in front, by address or network (`10.0.0.0/8`). Only what comes from them is believed when
    /// it says whom it comes for.
    pub trusted_proxies: Vec<String>,
    /// The header in which they say so: `x-forwarded-for` (and `x-forwarded-proto`) or `forwarded`.
    pub forwarded_header: String,
    /// How many connections may be open at once; further ones are closed at once.
    pub max_connections: usize,
    /// How many connections one address may have open at once. Of a client behind a trusted proxy: how many
    /// calls at once.
    pub max_connections_per_address: Option<usize>,
    /// How many calls one principal may have in flight at once; further ones are answered 429.
    pub max_calls_per_principal: Option<usize>,
    /// How many calls one HTTP/2 connection may have in flight at once.
    pub max_calls_per_connection: u32,
    /// The time in which a TLS handshake, and then the head of a request, must be there, in milliseconds.
    pub header_timeout_ms: u64,
    /// The most that the head of a request may hold, in bytes.
    pub header_bytes: u32,
    /// How long a connection without a call is kept open, in milliseconds.
    pub keep_alive_ms: u64,
    /// How long we wait for the next piece of a body, or for a client to take the next piece of an answer, in
    /// milliseconds.
    pub stall_timeout_ms: u64,
    /// The least rate at which a client must send a body and take an answer once we wait for it that long, in
    /// bytes per second.
    pub least_bytes_per_second: u64,
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
            health_listen: None,
            data_dir: PathBuf::from("tracegate-data"),
            workers: None,
            public_url: None,
            shutdown_seconds: 30,
            tls_certificate: None,
            tls_key: None,
            tls_client_ca: None,
            tls_client_required: false,
            tls_reload_seconds: 5,
            trusted_proxies: Vec::new(),
            forwarded_header: "x-forwarded-for".to_owned(),
            max_connections: 20_000,
            max_connections_per_address: None,
            max_calls_per_principal: None,
            max_calls_per_connection: 128,
            header_timeout_ms: 15_000,
            header_bytes: 64 * 1024,
            keep_alive_ms: 75_000,
            stall_timeout_ms: 30_000,
            least_bytes_per_second: 256,
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

    /// Whether we speak TLS ourselves.
    pub fn speaks_tls(&self) -> bool {
        self.tls_certificate.is_some()
    }

    /// The networks of the trusted proxies; what is none was refused at the start.
    pub fn trusted_networks(&self) -> Vec<Network> {
        self.trusted_proxies.iter().filter_map(|text| text.parse().ok()).collect()
    }

    pub fn validate(&self, problems: &mut Vec<String>) {
        if self.listen.parse::<std::net::SocketAddr>().is_err() {
            problems.push(format!(
                "`server.listen` is `{}`: expected an address and a port, such as `127.0.0.1:5001`",
                self.listen
            ));
        }
        if let Some(health) = &self.health_listen {
            if health.parse::<std::net::SocketAddr>().is_err() {
                problems.push(format!(
                    "`server.health_listen` is `{health}`: expected an address and a port, such as `127.0.0.1:5002`"
                ));
            } else if *health == self.listen && !health.ends_with(":0") {
                problems.push(format!(
                    "`server.health_listen` is `{health}`, as `server.listen`: use another port"
                ));
            }
        }
        if self.workers == Some(0) {
            problems.push("`server.workers` is 0: expected at least 1".to_owned());
        }
        if self.key_overlap_seconds > 86_400 {
            problems.push("`server.key_overlap_seconds` is over 86400, a day".to_owned());
        }
        self.validate_tls(problems);
        for (index, text) in self.trusted_proxies.iter().enumerate() {
            if let Err(problem) = text.parse::<Network>() {
                problems.push(format!("`server.trusted_proxies[{index}]` is `{text}`: {problem}"));
            }
        }
        if !["x-forwarded-for", "forwarded"].contains(&self.forwarded_header.as_str()) {
            problems.push(format!(
                "`server.forwarded_header` is `{}`: expected `x-forwarded-for` or `forwarded`",
                self.forwarded_header
            ));
        }
        self.validate_limits(problems);
    }

    fn validate_tls(&self, problems: &mut Vec<String>) {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => {
                problems.push("`server.tls_key` is missing; set it beside the certificate".to_owned())
            }
            (None, Some(_)) => {
                problems.push("`server.tls_certificate` is missing; set it beside the key".to_owned());
            }
            _ => {}
        }
        if self.tls_client_ca.is_some() && self.tls_certificate.is_none() {
            problems.push(
                "`server.tls_client_ca` is set without `server.tls_certificate`: clients show certificates in TLS alone"
                    .to_owned(),
            );
        }
        if self.tls_client_required && self.tls_client_ca.is_none() {
            problems.push(
                "`server.tls_client_required` is set without `server.tls_client_ca`: nobody could come in"
                    .to_owned(),
            );
        }
    }

    fn validate_limits(&self, problems: &mut Vec<String>) {
        let some = |limit: Option<usize>| limit.map_or(u64::MAX, |limit| limit as u64);
        // Each with the least and the most that makes sense; over the most, a limit would be none.
        let ranges = [
            ("tls_reload_seconds", self.tls_reload_seconds, 1, 86_400),
            ("max_connections", self.max_connections as u64, 1, 1_000_000),
            ("max_connections_per_address", some(self.max_connections_per_address), 1, u64::MAX),
            ("max_calls_per_principal", some(self.max_calls_per_principal), 1, u64::MAX),
            ("max_calls_per_connection", u64::from(self.max_calls_per_connection), 1, 10_000),
            ("header_timeout_ms", self.header_timeout_ms, 100, 600_000),
            // A credential alone may have 16 KiB.
            ("header_bytes", u64::from(self.header_bytes), 4096, 96 * 1024),
            ("keep_alive_ms", self.keep_alive_ms, 100, 3_600_000),
            ("stall_timeout_ms", self.stall_timeout_ms, 100, 3_600_000),
            ("least_bytes_per_second", self.least_bytes_per_second, 1, 1_000_000),
        ];
        for (key, value, least, most) in ranges {
            if value < least {
                problems.push(format!("`server.{key}` is {value}: expected at least {least}"));
            } else if value > most {
                problems.push(format!("`server.{key}` is {value}: expected at most {most}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_value_is_named_by_its_key() {
        let config = ServerConfig {
            health_listen: Some("5002".to_owned()),
            tls_key: Some("key.pem".into()),
            tls_client_ca: Some("ca.pem".into()),
            trusted_proxies: vec!["10.0.0.0/8".to_owned(), "10.0.0.1/8".to_owned(), "proxy".to_owned()],
            forwarded_header: "x-real-ip".to_owned(),
            max_connections: 0,
            max_connections_per_address: Some(0),
            header_timeout_ms: 1,
            header_bytes: 1 << 20,
            keep_alive_ms: 0,
            least_bytes_per_second: 0,
            ..ServerConfig::default()
        };
        let mut problems = Vec::new();
        config.validate(&mut problems);
        for key in [
            "health_listen",
            "tls_certificate` is missing",
            "tls_client_ca",
            "trusted_proxies[1]",
            "trusted_proxies[2]",
            "forwarded_header",
            "max_connections`",
            "max_connections_per_address",
            "header_timeout_ms",
            "header_bytes",
            "keep_alive_ms",
            "least_bytes_per_second",
        ] {
            assert_eq!(
                problems.iter().filter(|problem| problem.contains(key)).count(),
                1,
                "{key}: {problems:?}"
            );
        }
        assert_eq!(problems.len(), 12, "{problems:?}");
    }

    #[test]
    fn health_has_a_port_of_its_own() {
        for (listen, health, problems) in [
            ("127.0.0.1:5001", "127.0.0.1:5001", 1),
            ("127.0.0.1:5001", "0.0.0.0:5002", 0),
            ("127.0.0.1:0", "127.0.0.1:0", 0),
        ] {
            let (listen, health_listen) = (listen.to_owned(), Some(health.to_owned()));
            let config = ServerConfig { listen, health_listen, ..ServerConfig::default() };
            let mut found = Vec::new();
            config.validate(&mut found);
            assert_eq!(found.len(), problems, "{found:?}");
        }
    }

    #[test]
    fn a_certificate_without_a_key_and_a_demand_without_an_authority_are_refused() {
        for config in [
            ServerConfig { tls_certificate: Some("c.pem".into()), ..ServerConfig::default() },
            ServerConfig { tls_client_required: true, ..ServerConfig::default() },
        ] {
            let mut problems = Vec::new();
            config.validate(&mut problems);
            assert_eq!(problems.len(), 1, "{problems:?}");
        }
        let mut problems = Vec::new();
        ServerConfig::default().validate(&mut problems);
        assert!(problems.is_empty(), "{problems:?}");
    }

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
