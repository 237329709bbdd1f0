//! Whom a call comes from, where trusted proxies stand in front: only their word counts, and each only about
//! who spoke to it.
//!
//! A client at 203.0.113.7 sends `X-Forwarded-For: 127.0.0.1` to a proxy at 10.0.0.2, which adds whom it saw:
//! `127.0.0.1, 203.0.113.7`. Read from the right, 203.0.113.7 is no trusted proxy, so it is the client; what
//! stands left of it is the client's own word.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::HeaderMap;

use crate::config::network::Network;
use crate::config::server::ServerConfig;

#[derive(Debug)]
pub(in crate::http) struct Proxies {
    trusted: Vec<Network>,
    /// Whether they send `Forwarded`, and not `X-Forwarded-For`.
    standard: bool,
}

/// Where a call comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Source {
    pub address: IpAddr,
    /// Whether the client speaks TLS, as far as whom we trust knows.
    pub https: bool,
    /// Whether it is who a trusted proxy says.
    pub forwarded: bool,
}

/// What one proxy says of who spoke to it.
struct Hop {
    address: Option<IpAddr>,
    https: bool,
}

impl Proxies {
    pub fn new(config: &ServerConfig) -> Self {
        Self { trusted: config.trusted_networks(), standard: config.forwarded_header == "forwarded" }
    }

    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// Whom a call comes from that arrived from `peer`. Of a header that cannot be read as far as it counts,
    /// nothing is believed.
    pub fn source(&self, peer: IpAddr, tls: bool, headers: &HeaderMap) -> Source {
        let peer = peer.to_canonical();
        let direct = Source { address: peer, https: tls, forwarded: false };
        if !self.trusts(peer) {
            return direct;
        }
        let hops = if self.standard { standard_hops(headers) } else { common_hops(headers) };
        let Some(hops) = hops else { return direct };
        let mut found = direct;
        for hop in hops.iter().rev() {
            let Some(address) = hop.address else { return direct };
            found = Source { address, https: hop.https, forwarded: true };
            if !self.trusts(address) {
                break;
            }
        }
        found
    }
}

/// All values of a header as one list, as HTTP has it; `None` if one is not text.
fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Result<Vec<&str>, _> = headers.get_all(name).map(|value| value.to_str()).collect();
    Some(values.ok()?.join(","))
}

fn common_hops(headers: &HeaderMap) -> Option<Vec<Hop>> {
    let addresses = joined(headers, "x-forwarded-for")?;
    let protocols = joined(headers, "x-forwarded-proto")?;
    // Whose word which of several is nobody can tell: all must say it.
    let https =
        !protocols.is_empty() && protocols.split(',').all(|one| one.trim().eq_ignore_ascii_case("https"));
    if addresses.is_empty() {
        return Some(Vec::new());
    }
    Some(addresses.split(',').map(|one| Hop { address: address(one.trim()), https }).collect())
}

/// RFC 7239.
fn standard_hops(headers: &HeaderMap) -> Option<Vec<Hop>> {
    let text = joined(headers, "forwarded")?;
    if text.is_empty() {
        return Some(Vec::new());
    }
    // A quote that is not closed would hide what stands after it.
    let elements = outside_quotes(&text, ',')?;
    elements.into_iter().map(standard_hop).collect()
}

/// `None` if it is said twice, or is not of the form.
fn standard_hop(element: &str) -> Option<Hop> {
    let (mut of, mut protocol) = (None, None);
    for pair in outside_quotes(element, ';')? {
        let (name, value) = pair.trim().split_once('=')?;
        let place = match name.to_ascii_lowercase().as_str() {
            "for" => &mut of,
            "proto" => &mut protocol,
            _ => continue,
        };
        if place.replace(unquoted(value)?).is_some() {
            return None;
        }
    }
    let https = protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case("https"));
    Some(Hop { address: of.and_then(address), https })
}

/// Splits a text, but not within quotes.
fn outside_quotes(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (place, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if letter == separator && !quoted => {
                parts.push(&text[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

/// A token or a quoted text without escapes, which no address has.
fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').filter(|inner| !inner.contains(['"', '\\'])),
        None => (!value.contains(['"', ' '])).then_some(value),
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let parsed = match bracketed {
        Some(inner) => IpAddr::V6(inner.parse().ok()?),
        None => match text.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) => text.parse::<SocketAddr>().ok()?.ip(),
        },
    };
    Some(parsed.to_canonical())
}

#[cfg(test)]
mod tests;
