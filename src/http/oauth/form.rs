//! A form as the token endpoint takes it: every field once, none that is not known, nothing of it ever repeated
//! in an answer, since any of it may be a secret in the wrong place.

use crate::http::error::Refusal;
use crate::wire::{Headers, Malformed, Query};

/// What the endpoint reads.
const KNOWN: [&str; 8] = [
    "grant_type",
    "scope",
    "client_id",
    "client_secret",
    "subject_token",
    "subject_token_type",
    "requested_token_type",
    "audience",
];
/// What would change who the token is for or what it may do, and is not done here.
const NOT_DONE: [&str; 6] = [
    "assume_group",
    "authorization_details",
    "actor_token",
    "actor_token_type",
    "resource",
    "client_assertion",
];

pub(super) struct Form(Query);

impl Form {
    pub fn parse(headers: &Headers, body: &[u8]) -> Result<Self, Refusal> {
        let kind = headers.one("content-type")?.unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(wrong("the body must be a form (`application/x-www-form-urlencoded`)"));
        }
        if headers.one("content-encoding")?.is_some_and(|encoding| encoding != "identity") {
            return Err(wrong("the body must not be compressed"));
        }
        let text = std::str::from_utf8(body).map_err(|_| wrong("the form is not UTF-8"))?;
        let form = Query::parse(text).map_err(|_| wrong("the form cannot be read in one way alone"))?;
        for (name, _) in form.pairs() {
            if let Some(name) = NOT_DONE.iter().find(|known| *known == name) {
                return Err(wrong(&format!("`{name}` is not supported")));
            }
            if !KNOWN.contains(&name.as_str()) {
                return Err(wrong("the form has a field that is not known here"));
            }
            form.one(name).map_err(|_| wrong("the form has a field twice"))?;
        }
        Ok(Self(form))
    }

    /// A field that says something.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.one(name).ok().flatten().filter(|text| !text.is_empty())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.pairs().iter().any(|(known, _)| known == name)
    }
}

fn wrong(problem: &str) -> Refusal {
    Malformed::new("request", problem).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Form, Refusal> {
        let mut headers = Headers::new();
        headers.push("content-type", "application/x-www-form-urlencoded; charset=UTF-8");
        Form::parse(&headers, body.as_bytes())
    }

    #[test]
    fn every_field_is_there_once_and_known() {
        let form =
            parse("grant_type=client_credentials&scope=all-apis&client_id=a%20b&client_secret=").unwrap();
        assert_eq!((form.text("client_id"), form.text("client_secret")), (Some("a b"), None));
        assert!(form.has("client_secret") && !form.has("audience"));
        for bad in [
            "scope=a&scope=a",
            "scope=a&scope=b",
            "client_id=a&clientId=a",
            "client_id=a&CLIENT_ID=a",
            "client_id=a&client%5Fid=b",
            "client_secret[]=a",
            "unknown=1",
            "assume_group=1",
            "authorization_details=%5B%5D",
            "actor_token=x",
            "client_id=%00",
            "client_id=%ff",
            "{\"client_id\": \"a\"}",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_of_it_is_said_again() {
        for body in ["tgs_secret", "tgs_secret=1", "scope=a&tgs_secret", "client_secret=%zz_tgs_secret"] {
            let Err(refusal) = parse(body) else { panic!("{body} was read") };
            assert!(!refusal.to_string().contains("tgs_secret"), "{refusal}");
        }
    }

    #[test]
    fn anything_but_a_form_is_refused() {
        for (name, value) in
            [("content-type", "application/json"), ("content-type", ""), ("content-encoding", "gzip")]
        {
            let mut headers = Headers::new();
            if name != "content-type" {
                headers.push("content-type", "application/x-www-form-urlencoded");
            }
            headers.push(name, value);
            assert!(Form::parse(&headers, b"scope=all-apis").is_err(), "{name}: {value}");
        }
    }
}
