//! What it takes to know who calls, by each scheme: the verification alone, without a request around it.
//!
//! ```sh
//! python benches/identity.py    # beside MLflow's check of a password, in the same run
//! ```
//!
//! Prints one JSON object: nanoseconds per call at the median and at p99, and how many calls were measured.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};
use tracegate::access::Principal;
use tracegate::clock::{Clock, SystemClock};
use tracegate::config::database::DatabaseConfig;
use tracegate::config::identity::{FederationConfig, IdentityConfig, IssuerConfig};
use tracegate::identity::Identity;
use tracegate::store::Store;
use tracegate::wire::Headers;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const JWKS: &str = include_str!("../tests/fixtures/keys/jwks.json");
const RSA: &[u8] = include_bytes!("../tests/fixtures/keys/rsa-1.pem");
const ELLIPTIC: &[u8] = include_bytes!("../tests/fixtures/keys/ec-p256.pem");

/// Verifications that cost little are measured this often, others less.
const CHEAP: usize = 20_000;
const DEAR: usize = 500;

/// An issuer that publishes its keys.
fn publish() -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", JWKS.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(JWKS.as_bytes()));
        }
    });
    Ok(url)
}

fn bearer(token: &str) -> Headers {
    let mut headers = Headers::new();
    headers.push("authorization", &format!("Bearer {token}"));
    headers
}

fn sign(issuer: &str, algorithm: Algorithm, audience: &str, number: usize) -> Result<String, Failure> {
    let (kid, key) = match algorithm {
        Algorithm::RS256 => ("rsa-1", EncodingKey::from_rsa_pem(RSA)?),
        _ => ("ec-p256", EncodingKey::from_ec_pem(ELLIPTIC)?),
    };
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
    let claims = json!({
        "iss": issuer, "aud": audience, "sub": "ann", "jti": format!("{algorithm:?}{number}"),
        "exp": SystemClock.now().0 / 1000 + 3600, "groups": ["analysts", "readers"],
    });
    Ok(jsonwebtoken::encode(&header, &claims, &key)?)
}

fn told(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in a list"
        )]
        let place = ((times.len() - 1) as f64 * share) as usize;
        u64::try_from(times[place].as_nanos()).unwrap_or(u64::MAX)
    };
    json!({ "median_ns": at(0.5), "p99_ns": at(0.99), "calls": times.len() })
}

async fn identified(identity: &Identity, headers: &[Headers], before: impl Fn()) -> Result<Value, Failure> {
    let mut times = Vec::with_capacity(headers.len());
    for headers in headers {
        before();
        let started = Instant::now();
        let caller = identity.identify(headers).await?;
        times.push(started.elapsed());
        assert!(caller.is_some());
    }
    Ok(told(times))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(&DatabaseConfig::default(), directory.path()).await?;
    let issuer = publish()?;
    let config = IdentityConfig {
        groups_claim: Some("groups".to_owned()),
        issuers: vec![IssuerConfig {
            issuer: issuer.clone(),
            audience: vec!["tracegate".to_owned()],
            jwks_url: Some(format!("{issuer}/jwks")),
            ..Default::default()
        }],
        federation: vec![FederationConfig {
            issuer: issuer.clone(),
            audience: vec!["jobs".to_owned()],
            subject: Some("ann".to_owned()),
            service_principal: "agent".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let identity = Identity::new(&config, store.clone(), Arc::new(SystemClock)).await?;
    let (ann, agent) = (Principal::user("ann")?, Principal::service_principal("agent")?);
    for principal in [&ann, &agent] {
        store.ensure_principal(principal, "bench", SystemClock.now()).await?;
    }
    let mut measured = Map::new();
    let nothing = || {};

    let (token, _) = identity.issue_token(&ann, "bench", None, "bench").await?;
    let known = vec![bearer(&token); CHEAP];
    identified(&identity, &known[..100], nothing).await?;
    measured.insert("opaque token, known".to_owned(), identified(&identity, &known, nothing).await?);
    let first = identified(&identity, &known[..DEAR], || identity.forget()).await?;
    measured.insert("opaque token, first".to_owned(), first);

    for algorithm in [Algorithm::RS256, Algorithm::ES256] {
        let tokens = (0..DEAR)
            .map(|number| Ok(bearer(&sign(&issuer, algorithm, "tracegate", number)?)))
            .collect::<Result<Vec<_>, Failure>>()?;
        // Without the one for which the keys are fetched.
        identified(&identity, &tokens[..1], nothing).await?;
        let first = identified(&identity, &tokens[1..], nothing).await?;
        measured.insert(format!("JWT {algorithm:?}, first"), first);
        let known = vec![tokens[1].clone(); CHEAP];
        measured.insert(format!("JWT {algorithm:?}, known"), identified(&identity, &known, nothing).await?);
    }

    let (secret, _) = identity.issue_secret(&agent, None, None, "bench").await?;
    let (mut shown, mut given) = (Vec::new(), Vec::new());
    for _ in 0..DEAR {
        let started = Instant::now();
        let claimant = identity.client("agent", &secret, None).await?;
        shown.push(started.elapsed());
        identity.give(&claimant, None, None).await?;
        given.push(started.elapsed());
    }
    measured.insert("client secret, check".to_owned(), told(shown));
    measured.insert("client secret, token given".to_owned(), told(given));
    let mut exchanged = Vec::new();
    for number in 0..DEAR {
        let token = sign(&issuer, Algorithm::RS256, "jobs", number)?;
        let started = Instant::now();
        let claimant = identity.workload(&token, None).await?;
        identity.give(&claimant, None, None).await?;
        exchanged.push(started.elapsed());
    }
    measured.insert("token exchange, RS256".to_owned(), told(exchanged));
    writeln!(std::io::stdout(), "{}", Value::Object(measured))?;
    Ok(())
}
