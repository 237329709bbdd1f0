//! An issuer on 127.0.0.1 that publishes what a test tells it to, and counts how often it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::config::identity::{IdentityConfig, IssuerConfig};

#[derive(Clone)]
pub(super) struct IssuerServer {
    pub url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By path; anything else is a 404.
    answers: HashMap<String, (u16, String)>,
    asked: usize,
    /// What was sent to the token endpoint: the head and the form of each.
    forms: Vec<(String, String)>,
}

impl IssuerServer {
    pub async fn start(keys: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { url, state: Arc::default() };
        server.publish(keys);
        let state = server.state.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let head = text.to_lowercase();
                    let length =
                        head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
                    let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
                    let begin = text.find("\r\n\r\n").unwrap_or(0) + 4;
                    while request.len() < begin + length {
                        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let form = String::from_utf8_lossy(&request[begin..]).into_owned();
                    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
                    let (status, body) = {
                        let mut state = state.lock().unwrap();
                        state.asked += 1;
                        if !form.is_empty() {
                            state.forms.push((text[..begin].to_owned(), form));
                        }
                        state.answers.get(&path).cloned().unwrap_or((404, String::new()))
                    };
                    let head = format!(
                        "HTTP/1.1 {status} x\r\nlocation: /jwks\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    let _ = stream.write_all(head.as_bytes()).await;
                    let _ = stream.write_all(body.as_bytes()).await;
                });
            }
        });
        server
    }

    /// Publishes the fixture keys of these ids.
    pub fn publish(&self, ids: &[&str]) {
        self.publish_jwks(json!({ "keys": ids.iter().map(|id| jwk(id)).collect::<Vec<_>>() }));
    }

    pub fn publish_jwks(&self, jwks: Value) {
        self.answer("/jwks", 200, jwks.to_string());
    }

    pub fn answer(&self, path: &str, status: u16, body: String) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), (status, body));
    }

    pub fn go_down(&self) {
        self.answer("/jwks", 500, String::new());
    }

    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }

    /// Takes the forms that were sent since this was last asked.
    pub fn forms(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.state.lock().unwrap().forms)
    }

    pub fn issuer(&self) -> IssuerConfig {
        IssuerConfig {
            issuer: self.url.clone(),
            audience: vec!["tracegate".into()],
            jwks_url: Some(format!("{}/jwks", self.url)),
            ..Default::default()
        }
    }

    pub fn config(&self) -> IdentityConfig {
        IdentityConfig { issuers: vec![self.issuer()], ..Default::default() }
    }
}

/// The public half of a fixture key.
pub(super) fn jwk(id: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../../../tests/fixtures/keys/jwks.json")).unwrap();
    all["keys"].as_array().unwrap().iter().find(|key| key["kid"] == id).unwrap().clone()
}

/// Signs with the fixture key of this id, and names it.
pub(super) fn sign(key: &str, claims: &Value) -> String {
    sign_as(key, Some(key), claims)
}

pub(super) fn sign_as(key: &str, kid: Option<&str>, claims: &Value) -> String {
    let (algorithm, key) = match key {
        "rsa-1" => (
            Algorithm::RS256,
            EncodingKey::from_rsa_pem(include_bytes!("../../../tests/fixtures/keys/rsa-1.pem")).unwrap(),
        ),
        "rsa-2" => (
            Algorithm::RS256,
            EncodingKey::from_rsa_pem(include_bytes!("../../../tests/fixtures/keys/rsa-2.pem")).unwrap(),
        ),
        "ec-p256" => (
            Algorithm::ES256,
            EncodingKey::from_ec_pem(include_bytes!("../../../tests/fixtures/keys/ec-p256.pem")).unwrap(),
        ),
        "ed25519" => (
            Algorithm::EdDSA,
            EncodingKey::from_ed_pem(include_bytes!("../../../tests/fixtures/keys/ed25519.pem")).unwrap(),
        ),
        other => panic!("no key `{other}`"),
    };
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, &key).unwrap()
}
