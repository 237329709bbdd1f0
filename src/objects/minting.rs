//! Temporary credentials for one place in a store that speaks S3, made from a role by `AssumeRole`.
//!
//! The role may do more than any one caller. What narrows a credential to its place is the session policy that is
//! sent along: the store grants what the role and that policy both allow.

use std::fmt;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::HttpRequest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::secret::SecretText;

const TIMEOUT: Duration = Duration::from_secs(10);
/// An answer is a few kilobytes.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Makes credentials from one role.
pub struct Minting {
    role: String,
    endpoint: reqwest::Url,
    region: String,
    seconds: u32,
    /// Our own, which assume the role.
    own: AwsCredentialProvider,
    client: reqwest::Client,
}

/// A credential, and until when it is good, in milliseconds since 1970.
#[derive(Debug)]
pub struct Minted {
    pub access_key_id: String,
    pub secret_access_key: SecretText,
    pub session_token: SecretText,
    pub expires: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum MintError {
    #[error("this kind of store has no temporary credentials")]
    NotOffered,
    /// The service said no: it will say no again.
    #[error("the security token service refused: {0}")]
    Refused(String),
    #[error("the security token service did not answer: {0}")]
    Away(String),
}

impl fmt::Debug for Minting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Minting({}, {})", self.role, self.endpoint)
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "AssumeRoleResult")]
    result: Assumed,
}

#[derive(Deserialize)]
struct Assumed {
    #[serde(rename = "Credentials")]
    credentials: Told,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    access_key_id: String,
    secret_access_key: SecretText,
    session_token: SecretText,
    expiration: String,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "Error")]
    error: ProblemCode,
}

#[derive(Deserialize)]
struct ProblemCode {
    #[serde(rename = "Code")]
    code: String,
}

impl Minting {
    /// `endpoint`: that of AWS in our region if absent. Credentials and region are those of the `AWS_…` variables.
    pub fn new(role: &str, endpoint: Option<&str>, seconds: u32) -> anyhow::Result<Self> {
        let builder = AmazonS3Builder::from_env().with_bucket_name("credentials");
        let region =
            builder.get_config_value(&AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint = endpoint.map_or_else(|| format!("https://sts.{region}.amazonaws.com/"), str::to_owned);
        Ok(Self {
            role: role.to_owned(),
            endpoint: reqwest::Url::parse(&endpoint)?,
            region,
            seconds,
            own: std::sync::Arc::clone(builder.build()?.credentials()),
            // A redirect would take the answer's secrets to wherever it leads.
            client: reqwest::Client::builder()
                .timeout(TIMEOUT)
                .redirect(reqwest::redirect::Policy::none())
                .build()?,
        })
    }

    /// A credential for what lies below a location (`s3://BUCKET/PATH`, without a slash at its end), and for nothing
    /// else. The store's own record shows `session`: up to 64 letters, digits and hyphens.
    pub async fn mint(&self, location: &str, writes: bool, session: &str) -> Result<Minted, MintError> {
        let partition = self.role.split(':').nth(1).unwrap_or("aws");
        let policy = session_policy(partition, location, writes).ok_or(MintError::NotOffered)?;
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "AssumeRole")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", &self.role)
            .append_pair("RoleSessionName", session)
            .append_pair("DurationSeconds", &self.seconds.to_string())
            .append_pair("Policy", &policy.to_string())
            .finish();
        let request = self.signed(body.clone()).await?;
        let away = |error: reqwest::Error| MintError::Away(error.without_url().to_string());
        let mut response = self
            .client
            .post(self.endpoint.clone())
            .headers(request.headers().clone())
            .body(body)
            .send()
            .await
            .map_err(away)?;
        let status = response.status().as_u16();
        let mut answer = zeroize::Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(away)? {
            if answer.len() + chunk.len() > ANSWER_LIMIT {
                return Err(MintError::Away("its answer is too long".to_owned()));
            }
            answer.extend_from_slice(&chunk);
        }
        read(status, &answer)
    }

    /// The question with its signature among the headers.
    async fn signed(&self, body: String) -> Result<HttpRequest, MintError> {
        // What went wrong may quote what it was about: it is not passed on.
        let away = || MintError::Away("Tracegate's own `AWS_…` credentials are not to be had".to_owned());
        let own = self.own.get_credential().await.map_err(|_| away())?;
        let mut request = HttpRequest::new(body.into());
        *request.method_mut() = reqwest::Method::POST;
        *request.uri_mut() = self.endpoint.as_str().parse().map_err(|_| away())?;
        let form = reqwest::header::HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(reqwest::header::CONTENT_TYPE, form);
        AwsAuthorizer::new(&own, "sts", &self.region).authorize(&mut request, None);
        Ok(request)
    }
}

fn read(status: u16, answer: &[u8]) -> Result<Minted, MintError> {
    let strange = || MintError::Away(format!("what it answered ({status}) cannot be read"));
    let text = std::str::from_utf8(answer).map_err(|_| strange())?;
    if status != 200 {
        let code =
            quick_xml::de::from_str::<Problem>(text).map_or_else(|_| String::new(), |it| it.error.code);
        let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(60).collect();
        let problem = format!("{status} {code}");
        return Err(match status {
            400..=499 if status != 429 && code != "Throttling" => MintError::Refused(problem),
            _ => MintError::Away(problem),
        });
    }
    let told = quick_xml::de::from_str::<Answer>(text).map_err(|_| strange())?.result.credentials;
    // Without its token a credential would be the role's own, and not narrowed by anything.
    if told.session_token.expose().is_empty() {
        return Err(strange());
    }
    let expires: jiff::Timestamp = told.expiration.parse().map_err(|_| strange())?;
    Ok(Minted {
        access_key_id: told.access_key_id,
        secret_access_key: told.secret_access_key,
        session_token: told.session_token,
        expires: expires.as_millisecond(),
    })
}

/// What a credential may do. `None`: no place in S3, or one in which a policy would read a pattern.
fn session_policy(partition: &str, location: &str, writes: bool) -> Option<Value> {
    let rest = location.strip_prefix("s3://")?;
    if rest.contains(['*', '?', '{', '}', '"', '\\']) {
        return None;
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let bucket = format!("arn:{partition}:s3:::{bucket}");
    let objects = match prefix {
        "" => format!("{bucket}/*"),
        prefix => format!("{bucket}/{prefix}/*"),
    };
    let mut actions = vec!["s3:GetObject"];
    if writes {
        actions.extend(["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]);
    }
    let mut lists = json!({ "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [bucket] });
    if !prefix.is_empty() {
        // With its slash: `…/spans` would list `…/spans2` too.
        lists["Condition"] = json!({ "StringLike": { "s3:prefix": [format!("{prefix}/*")] } });
    }
    Some(json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": [objects] }, lists],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_for_one_place_and_no_more_than_was_asked() {
        let policy = session_policy("aws", "s3://lake/tables/1", false).unwrap();
        assert_eq!(
            policy["Statement"],
            json!([
                { "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::lake/tables/1/*"] },
                {
                    "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::lake"],
                    "Condition": { "StringLike": { "s3:prefix": ["tables/1/*"] } },
                },
            ])
        );
        let policy = session_policy("aws-cn", "s3://lake/tables/1", true).unwrap();
        assert_eq!(
            policy["Statement"][0],
            json!({
                "Effect": "Allow", "Resource": ["arn:aws-cn:s3:::lake/tables/1/*"],
                "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            })
        );
        let whole = session_policy("aws", "s3://lake", false).unwrap();
        assert_eq!(whole["Statement"][0]["Resource"], json!(["arn:aws:s3:::lake/*"]));
        for none in
            ["file:///lake/1", "gs://lake/1", "s3://lake/*", "s3://lake/${aws:username}", "s3://lake/?"]
        {
            assert_eq!(session_policy("aws", none, false), None, "{none}");
        }
    }

    const GIVEN: &str = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
        <AssumedRoleUser><Arn>a</Arn></AssumedRoleUser><Credentials><AccessKeyId>ASIA1</AccessKeyId>\
        <SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>\
        <Expiration>2026-01-01T00:00:00Z</Expiration></Credentials><PackedPolicySize>6</PackedPolicySize>\
        </AssumeRoleResult></AssumeRoleResponse>";

    #[test]
    fn an_answer_is_read_and_never_printed() {
        let minted = read(200, GIVEN.as_bytes()).unwrap();
        assert_eq!((minted.access_key_id.as_str(), minted.expires), ("ASIA1", 1_767_225_600_000));
        assert_eq!((minted.secret_access_key.expose(), minted.session_token.expose()), ("secret", "token"));
        let shown = format!("{minted:?}");
        assert!(!shown.contains("secret\"") && !shown.contains("token\""), "{shown}");
    }

    #[test]
    fn a_refusal_and_an_outage_are_told_apart_and_a_strange_answer_gives_nothing() {
        let denied = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>secret</Message></Error></ErrorResponse>";
        let refused = read(403, denied).unwrap_err();
        assert!(matches!(&refused, MintError::Refused(why) if why == "403 AccessDenied"), "{refused}");
        let throttled = b"<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>";
        assert!(matches!(read(400, throttled), Err(MintError::Away(_))));
        assert!(matches!(read(500, b"x"), Err(MintError::Away(_))));
        for strange in ["", "{}", "<AssumeRoleResponse/>", &GIVEN.replace(">token<", "><")] {
            assert!(matches!(read(200, strange.as_bytes()), Err(MintError::Away(_))), "{strange}");
        }
    }
}
