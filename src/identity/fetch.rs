//! HTTP to an issuer: never redirected, bounded in time and size.

use std::time::Duration;

use serde_json::Value;

use super::error::IdentityError;

const TIMEOUT: Duration = Duration::from_secs(5);
const DOCUMENT_LIMIT: usize = 256 * 1024;

pub(super) fn client() -> Result<reqwest::Client, IdentityError> {
    reqwest::Client::builder()
        .timeout(TIMEOUT)
        // A redirect could lead from https to anywhere.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| IdentityError::unavailable(format!("no HTTP client: {error}")))
}

/// The JSON document at a URL.
pub(super) async fn get(client: &reqwest::Client, url: &str) -> Result<Value, String> {
    let (status, document) = send(client.get(url)).await?;
    match status {
        200 => document,
        status => Err(format!("the issuer answered {status}")),
    }
}

/// The status of an answer, and its JSON if it is JSON.
pub(super) async fn send(request: reqwest::RequestBuilder) -> Result<(u16, Result<Value, String>), String> {
    let told = |error: reqwest::Error| error.without_url().to_string();
    let mut response = request.header("accept", "application/json").send().await.map_err(told)?;
    let mut document = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(told)? {
        if document.len() + chunk.len() > DOCUMENT_LIMIT {
            return Err(format!("the document is larger than {DOCUMENT_LIMIT} bytes"));
        }
        document.extend_from_slice(&chunk);
    }
    let parsed = serde_json::from_slice(&document).map_err(|_| "the document is not JSON".to_owned());
    Ok((response.status().as_u16(), parsed))
}
