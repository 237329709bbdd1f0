//! Talks to a running gateway: `TRACEGATE_URL`, `TRACEGATE_TOKEN`.

use serde_json::Value;

/// A gateway and a caller.
pub(super) struct Client {
    url: String,
    token: String,
}

impl Client {
    pub fn from_environment() -> anyhow::Result<Self> {
        let (url, token) = crate::config::client_settings();
        let url = url.ok_or_else(|| {
            anyhow::anyhow!("TRACEGATE_URL is not set: the gateway's URL, such as http://127.0.0.1:5001")
        })?;
        let token = token.ok_or_else(|| anyhow::anyhow!("TRACEGATE_TOKEN is not set: a token of yours"))?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), token })
    }

    pub fn new(url: &str, token: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), token: token.to_owned() }
    }

    /// Sends one request to our own API and waits for its JSON answer.
    pub fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.call_async(method, &format!("/api/tracegate/v1/{path}"), query, body))
    }

    /// As [`call`](Self::call), on a runtime and for any path.
    pub async fn call_async(
        &self,
        method: reqwest::Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let mut request = http_client()?
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .query(query);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| {
            anyhow::anyhow!("the gateway at `{}` cannot be reached: {}", self.url, error.without_url())
        })?;
        let status = answer.status();
        let text = answer.text().await?;
        if status.is_success() {
            return Ok(serde_json::from_str(&text).unwrap_or(Value::Null));
        }
        Err(refused(status, &text))
    }
}

/// What the gateway said when it refused.
fn refused(status: reqwest::StatusCode, text: &str) -> anyhow::Error {
    let value: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let message = value.get("message").and_then(Value::as_str).unwrap_or(text);
    anyhow::anyhow!("{}: {message}", status.as_u16())
}

impl Client {
    /// Begins a GET whose answer is read as it comes.
    pub async fn begin(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<reqwest::Response> {
        let url = format!("{}/api/tracegate/v1/{path}", self.url);
        let request = http_client()?.get(url).bearer_auth(&self.token).query(query);
        let answer = request.send().await.map_err(|error| {
            anyhow::anyhow!("the gateway at `{}` cannot be reached: {}", self.url, error.without_url())
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        Err(refused(status, &answer.text().await?))
    }

    /// Reads an answer of whatever size, piece by piece.
    pub fn stream(
        &self,
        path: &str,
        query: &[(&str, String)],
        each: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut answer = self.begin(path, query).await?;
            while let Some(piece) = answer.chunk().await? {
                each(&piece)?;
            }
            Ok(())
        })
    }

    /// Sends an OTLP export in its JSON form.
    pub async fn export(&self, experiment: &str, export: &Value) -> anyhow::Result<()> {
        let answer = http_client()?
            .post(format!("{}/v1/traces", self.url))
            .bearer_auth(&self.token)
            .header("x-mlflow-experiment-id", experiment)
            .json(export)
            .send()
            .await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        anyhow::bail!("the export was refused with {}: {}", status.as_u16(), answer.text().await?)
    }
}

/// Follows no redirect: a token goes to the gateway and nowhere else.
pub(super) fn http_client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()
}

/// Prints an answer as JSON, or as one line per entry of a list.
pub(super) fn print(answer: &Value, json: bool, list: &str, columns: &[&str]) {
    if json {
        super::print_line(&serde_json::to_string_pretty(answer).unwrap_or_default());
        return;
    }
    let Some(entries) = answer.get(list).and_then(Value::as_array) else {
        super::print_line(&serde_json::to_string_pretty(answer).unwrap_or_default());
        return;
    };
    let cell = |entry: &Value, column: &str| match &entry[column] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let texts: Vec<String> = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect();
            texts.join(",")
        }
        other => other.to_string(),
    };
    super::print_line(&columns.join("\t"));
    for entry in entries {
        let cells: Vec<String> = columns.iter().map(|column| cell(entry, column)).collect();
        super::print_line(&cells.join("\t"));
    }
}
