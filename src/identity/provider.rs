//! An issuer as a place where people sign in: its endpoints, by discovery, and its token endpoint.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde_json::Value;
use tokio::sync::Mutex;

use super::error::IdentityError;
use super::fetch;
use super::issuer::read_secret;
use crate::clock::{Clock, UnixMillis};
use crate::config::identity::IssuerConfig;
use crate::secret::SecretText;

/// After this, discovery is made again; until that works, the old endpoints serve (milliseconds).
const MAX_AGE: i64 = 10 * 60_000;
/// Between two attempts (milliseconds).
const COOL_DOWN: i64 = 3_000;
/// A token of an issuer in characters, at most; what is larger is no token.
const TOKEN_LIMIT: usize = 64 * 1024;

pub(super) struct Provider {
    config: IssuerConfig,
    pub client_id: String,
    secret: Option<SecretText>,
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    held: ArcSwapOption<Held>,
    last_attempt: Mutex<Option<UnixMillis>>,
}

struct Held {
    endpoints: Arc<Endpoints>,
    fetched_at: UnixMillis,
}

pub(super) struct Endpoints {
    pub authorization: String,
    pub token: String,
    pub end_session: Option<String>,
    /// Whether its answers to a browser name it (RFC 9207).
    pub names_itself: bool,
    /// Whether the client's secret goes into the form, since the header is not taken.
    secret_in_form: bool,
}

/// What the token endpoint handed out.
pub(super) struct Tokens {
    pub id_token: Option<String>,
    pub refresh_token: Option<String>,
    pub expires_in_ms: Option<i64>,
}

pub(super) enum TokenError {
    /// The issuer said no, by one of its error codes.
    Refused(String),
    Unavailable(String),
}

impl Provider {
    /// `None`: nobody signs in there with a browser.
    pub fn new(config: &IssuerConfig, clock: Arc<dyn Clock>) -> Result<Option<Self>, IdentityError> {
        let Some(client_id) = config.client_id.clone() else { return Ok(None) };
        let secret = read_secret(
            config.client_secret.as_ref(),
            config.client_secret_file.as_deref(),
            "client_secret_file",
        )
        .map_err(|what| IdentityError::unavailable(format!("issuer `{}`: {what}", config.issuer)))?;
        Ok(Some(Self {
            config: config.clone(),
            client_id,
            secret,
            client: fetch::client()?,
            clock,
            held: ArcSwapOption::empty(),
            last_attempt: Mutex::default(),
        }))
    }

    /// By what name people know it.
    pub fn display_name(&self) -> &str {
        let host = self.config.issuer.split("://").nth(1).and_then(|rest| rest.split('/').next());
        self.config.display_name.as_deref().or(host).unwrap_or(&self.config.issuer)
    }

    pub fn scopes(&self) -> String {
        if self.config.scopes.is_empty() {
            return "openid profile email".to_owned();
        }
        self.config.scopes.join(" ")
    }

    pub fn asks_for_offline_access(&self) -> bool {
        self.config.scopes.iter().any(|scope| scope == "offline_access")
    }

    pub async fn endpoints(&self) -> Result<Arc<Endpoints>, IdentityError> {
        if let Some(endpoints) = self.fresh() {
            return Ok(endpoints);
        }
        let mut last_attempt = self.last_attempt.lock().await;
        if let Some(endpoints) = self.fresh() {
            return Ok(endpoints);
        }
        let now = self.clock.now();
        let paused = last_attempt.is_some_and(|last| (0..COOL_DOWN).contains(&(now.0 - last.0)));
        if !paused {
            *last_attempt = Some(now);
            match self.discover().await {
                Ok(endpoints) => {
                    let endpoints = Arc::new(endpoints);
                    let held = Held { endpoints: endpoints.clone(), fetched_at: self.clock.now() };
                    self.held.store(Some(Arc::new(held)));
                    return Ok(endpoints);
                }
                Err(reason) => {
                    tracing::warn!(issuer = %self.config.issuer, %reason, "an issuer's discovery failed");
                }
            }
        }
        let held = self.held.load_full().map(|held| held.endpoints.clone());
        held.ok_or_else(|| IdentityError::unavailable(format!("`{}` cannot be reached", self.config.issuer)))
    }

    fn fresh(&self) -> Option<Arc<Endpoints>> {
        let held = self.held.load_full()?;
        let age = self.clock.now().0.saturating_sub(held.fetched_at.0);
        (0..MAX_AGE).contains(&age).then(|| held.endpoints.clone())
    }

    async fn discover(&self) -> Result<Endpoints, String> {
        let issuer = &self.config.issuer;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document = fetch::get(&self.client, &url).await?;
        if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
            return Err("the discovery document is of another issuer".to_owned());
        }
        let endpoint = |name: &str| match document.get(name) {
            None => Ok(None),
            Some(url) => match url.as_str().filter(|url| self.config.allows(url)) {
                Some(url) => Ok(Some(url.to_owned())),
                None => Err(format!("discovery names a `{name}` that is not `https://`")),
            },
        };
        let lists = |name: &str, value: &str| {
            document.get(name).and_then(Value::as_array).map(|list| list.iter().any(|one| one == value))
        };
        const METHODS: &str = "token_endpoint_auth_methods_supported";
        Ok(Endpoints {
            authorization: endpoint("authorization_endpoint")?
                .ok_or("discovery names no `authorization_endpoint`")?,
            token: endpoint("token_endpoint")?.ok_or("discovery names no `token_endpoint`")?,
            end_session: endpoint("end_session_endpoint")?,
            names_itself: document.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
            secret_in_form: lists(METHODS, "client_secret_basic") == Some(false)
                && lists(METHODS, "client_secret_post") == Some(true),
        })
    }

    /// Asks the token endpoint for something, as the client that we are there.
    pub async fn ask(&self, form: &[(&str, &str)]) -> Result<Tokens, TokenError> {
        let endpoints = self.endpoints().await.map_err(|error| TokenError::Unavailable(error.to_string()))?;
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(form);
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let mut request = self.client.post(&endpoints.token);
        match &self.secret {
            Some(secret) if !endpoints.secret_in_form => {
                // RFC 6749, 2.3.1: both are encoded as in a form before they go into the header.
                request = request.basic_auth(encoded(&self.client_id), Some(encoded(secret.expose())));
            }
            Some(secret) => {
                body.append_pair("client_id", &self.client_id).append_pair("client_secret", secret.expose());
            }
            None => {
                body.append_pair("client_id", &self.client_id);
            }
        }
        request = request.header("content-type", "application/x-www-form-urlencoded").body(body.finish());
        let (status, document) = fetch::send(request).await.map_err(TokenError::Unavailable)?;
        let document = document.map_err(TokenError::Unavailable)?;
        let text = |name: &str| {
            let text = document.get(name).and_then(Value::as_str);
            text.filter(|text| !text.is_empty() && text.len() <= TOKEN_LIMIT).map(str::to_owned)
        };
        match (status, text("error")) {
            (200, None) => Ok(Tokens {
                id_token: text("id_token"),
                refresh_token: text("refresh_token"),
                expires_in_ms: document
                    .get("expires_in")
                    .and_then(Value::as_i64)
                    .map(|seconds| seconds.clamp(0, 366 * 86_400) * 1000),
            }),
            (400 | 401, Some(error)) => Err(TokenError::Refused(error.chars().take(60).collect())),
            (status, _) => Err(TokenError::Unavailable(format!("the issuer answered {status}"))),
        }
    }
}
