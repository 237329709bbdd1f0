//! Where the token endpoint is: the first thing every databricks-sdk client asks.
//!
//! Without `server.public_url` the documents name the host that they were asked at. Whoever lies about the host
//! gets a lie for himself alone: nobody may keep the answer.

use serde_json::{Value, json};

use crate::http::error::Refusal;
use crate::http::own::Open;
use crate::wire::{Body, Headers, Malformed, Reply};

/// There is one workspace. It has a number, since clients take a host without one for an account's; the same
/// stands in the rows of exported audit records.
pub(in crate::http) const WORKSPACE: &str = "0";
const ACCOUNT: &str = "00000000-0000-0000-0000-000000000000";

/// `GET /.well-known/databricks-config`
pub(super) fn config(open: &Open<'_>) -> Result<Reply, Refusal> {
    let mut document = json!({
        "oidc_endpoint": format!("{}/oidc", base(open)?),
        "account_id": ACCOUNT,
        "workspace_id": WORKSPACE,
        "cloud": "AWS",
    });
    // Clients that fetch a token of their own ask for the first of these. One, or none is named.
    let rules = &open.app.config.identity.federation;
    let first = rules.first().and_then(|rule| rule.audience.first());
    if let Some(first) = first.filter(|first| rules.iter().all(|rule| rule.audience.contains(first))) {
        document["token_federation_default_oidc_audiences"] = json!([first]);
    }
    Ok(uncached(&document))
}

/// `GET /oidc/.well-known/oauth-authorization-server` (RFC 8414) and `openid-configuration`
pub(super) fn metadata(open: &Open<'_>) -> Result<Reply, Refusal> {
    let base = base(open)?;
    Ok(uncached(&json!({
        "issuer": format!("{base}/oidc"),
        "authorization_endpoint": format!("{base}/oidc/v1/authorize"),
        "token_endpoint": format!("{base}/oidc/v1/token"),
        "grant_types_supported": ["client_credentials", super::token::EXCHANGE],
        "response_types_supported": [],
        "scopes_supported": [super::ALL_APIS],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
    })))
}

fn uncached(document: &Value) -> Reply {
    let mut headers = Headers::new();
    headers.push("content-type", "application/json");
    headers.push("cache-control", "no-store");
    headers.push("vary", "Host");
    Reply { status: 200, headers, body: Body::memory(document.to_string()) }
}

/// The URL by which clients reach us.
fn base(open: &Open<'_>) -> Result<String, Refusal> {
    if let Some(url) = &open.app.config.server.public_url {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    let host = open.head.headers.one("host")?.filter(|host| is_host(host));
    let host =
        host.ok_or_else(|| Malformed::new("header `host`", "must be a host, with a port or without"))?;
    Ok(format!("http://{host}"))
}

/// A name or an address, and a port: nothing that could begin a path or end a string.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
            ("v6", if rest.is_empty() { Some("1") } else { rest.strip_prefix(':') })
        }
        Some(_) => return false,
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, Some("1")),
        },
    };
    let is_name =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    (1..=253).contains(&name.len()) && is_name(name) && port.is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_a_port() {
        for good in ["gateway", "gate.example.com:8443", "127.0.0.1:5001", "[::1]", "[2001:db8::1]:80"] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:b",
            "a:",
            "a:99999",
            "a/b",
            "a@b",
            "a b",
            "a\"b",
            "a,b",
            "[::1",
            "[x]:1",
            "[::1]80",
            "[::1]:",
            "a:1:2",
            "\u{e4}.example",
            "a?b",
            "a#b",
            "a\\b",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
