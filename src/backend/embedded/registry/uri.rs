//! URIs, taken apart as Python's `urllib.parse` does: what MLflow's checks of sources see.

use std::borrow::Cow;

/// A URI's parts, without `;parameters`, which no source has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri<'a> {
    /// In lower case; empty if there is none, as in a local path.
    pub scheme: String,
    pub authority: &'a str,
    pub path: &'a str,
}

/// Whether what follows a `#` is a part of its own or belongs to the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragments {
    Apart,
    InPath,
}

impl<'a> Uri<'a> {
    pub fn parse(text: &'a str, fragments: Fragments) -> Self {
        let text = text.trim_start_matches(|c: char| c <= ' ');
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
            _ => (String::new(), text),
        };
        let (authority, rest) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
            None => ("", rest),
        };
        let ends: &[char] = if fragments == Fragments::Apart { &['?', '#'] } else { &['?'] };
        let path = &rest[..rest.find(ends).unwrap_or(rest.len())];
        Self { scheme, authority, path }
    }

    /// The host of the authority, in lower case.
    pub fn host(&self) -> String {
        let host = self.authority.rsplit_once('@').map_or(self.authority, |(_, host)| host);
        let host = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => host.split_once(':').map_or(host, |(host, _)| host),
        };
        host.to_lowercase()
    }

    /// The parts of the path, each without escapes however often it was escaped.
    pub fn parts(&self) -> Vec<String> {
        self.path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| without_escapes(part, false))
            .collect()
    }

    /// Whether this names what `root` names or something below it.
    pub fn is_within(&self, root: &Uri<'_>) -> bool {
        let (parts, root_parts) = (self.parts(), root.parts());
        self.scheme == root.scheme
            && self.authority.to_lowercase() == root.authority.to_lowercase()
            && !root_parts.is_empty()
            && parts.starts_with(&root_parts)
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Decodes percent escapes until there are none; `plus` says whether `+` is a space.
pub fn without_escapes(text: &str, plus: bool) -> String {
    let mut text = text.to_owned();
    loop {
        let spaced: Cow<'_, str> = if plus { text.replace('+', " ").into() } else { text.as_str().into() };
        let next = percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned();
        if next == text {
            return text;
        }
        text = next;
    }
}
