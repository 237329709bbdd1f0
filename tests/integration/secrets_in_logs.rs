//! The real program at its most talkative: no secret of any kind stands in what it prints, in its record or in
//! its database, whether it was good or bad, in its place or in another's.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tracegate::clock::{Clock, SystemClock};
use tracegate::config::database::DatabaseConfig;
use tracegate::store::Store;

use crate::support::fake_mlflow;
use crate::support::fake_upstream::FakeUpstream;
use crate::support::gateway::holds;
use crate::support::raw_http::Request;

const SHARED: &str = "the-secret-that-is-shared-with-the-issuer";
const UPSTREAM: &str = "the-gateways-own-credential-at-the-upstream";
const CLIENT_SECRET: &str = "the-secret-of-tracegate-at-the-issuer";

/// Ended whatever becomes of the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Said {
    process: Process,
    address: SocketAddr,
    first_token: String,
    lines: Arc<Mutex<Vec<String>>>,
    heard: std::thread::JoinHandle<()>,
}

fn start(data: &Path, upstream: &str) -> Said {
    let config = data.join("tracegate.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"{}\"\n\
         public_url = \"https://traces.example\"\nworkers = 2\nshutdown_seconds = 2\n\
         [mlflow]\nurl = \"{upstream}\"\ntoken = \"{UPSTREAM}\"\n[telemetry]\nlog = \"trace\"\n\
         [[identity.issuers]]\nissuer = \"https://people.example\"\naudience = [\"tracegate\"]\n\
         hs256_secret = \"{SHARED}\"\n\
         [[identity.issuers]]\nissuer = \"https://sign-in.example\"\naudience = [\"tracegate\"]\n\
         client_id = \"tracegate\"\nclient_secret = \"{CLIENT_SECRET}\"\n\
         [[identity.federation]]\nissuer = \"https://people.example\"\naudience = [\"jobs\"]\nsubject = \"job\"\n\
         service_principal = \"agent\"\n",
        data.join("state").display()
    );
    std::fs::write(&config, text).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_tracegate"))
        .args(["serve", "--json", "--config"])
        .arg(&config)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let (errors, keep) = (BufReader::new(process.stderr.take().unwrap()), Arc::clone(&lines));
    let heard = std::thread::spawn(move || {
        for line in errors.lines().map_while(Result::ok) {
            keep.lock().unwrap().push(line);
        }
    });
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{:?}", lines.lock().unwrap()));
    let address = told["url"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    let first_token = loop {
        let token = lines.lock().unwrap().iter().find(|line| line.starts_with("tg_")).cloned();
        match token {
            Some(token) => break token,
            None => std::thread::yield_now(),
        }
    };
    let keep = Arc::clone(&lines);
    std::thread::spawn(move || {
        let mut rest = String::new();
        let _ = output.read_to_string(&mut rest);
        keep.lock().unwrap().push(rest);
    });
    Said { process: Process(process), address, first_token, lines, heard }
}

fn jwt(claims: Value) -> String {
    let now = SystemClock.now().0 / 1000;
    let mut all = json!({"iss": "https://people.example", "exp": now + 600, "jti": "known-by-this"});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &all, &EncodingKey::from_secret(SHARED.as_bytes()))
        .unwrap()
}

fn form(body: &str) -> Request {
    Request::new("POST", "/oidc/v1/token")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body)
}

fn files(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[actix_rt::test]
async fn no_secret_of_any_kind_is_written_anywhere() {
    let upstream = FakeUpstream::start();
    fake_mlflow::serve(&upstream);
    let data = tempfile::tempdir().unwrap();
    let said = start(data.path(), &upstream.url());
    let bearer = |request: Request, token: &str| request.header("Authorization", &format!("Bearer {token}"));
    let admin = async |request: Request| {
        bearer(request, &said.first_token).send(said.address).await.expect(200).json()
    };
    let whoami = || Request::get("/api/tracegate/v1/whoami");

    admin(Request::post("/api/tracegate/v1/principals", &json!({"principal": "service_principal:agent"})))
        .await;
    let made = admin(Request::post("/api/tracegate/v1/tokens", &json!({"name": "x"}))).await;
    let personal = made["token"].as_str().unwrap().to_owned();
    let made = admin(Request::post("/api/2.0/token/create", &json!({"comment": "y"}))).await;
    let databricks = made["token_value"].as_str().unwrap().to_owned();
    let made = admin(Request::post("/api/tracegate/v1/service-principals/agent/secrets", &json!({}))).await;
    let client = made["client_secret"].as_str().unwrap().to_owned();
    let body = format!("grant_type=client_credentials&client_id=agent&client_secret={client}");
    let answer = form(&body).send(said.address).await.expect(200).json();
    let access = answer["access_token"].as_str().unwrap().to_owned();
    let job = jwt(json!({"aud": "jobs", "sub": "job"}));
    let body = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&\
         subject_token_type=urn:ietf:params:oauth:token-type:jwt&subject_token={job}"
    );
    let answer = form(&body).send(said.address).await.expect(200).json();
    let exchanged = answer["access_token"].as_str().unwrap().to_owned();
    let person = jwt(json!({"aud": "tracegate", "sub": "ann"}));

    // Keys too.
    for purpose in ["sealing", "token", "client-secret", "session", "session-tokens"] {
        let path = format!("/api/tracegate/v1/keys/{purpose}/rotate");
        let made = admin(Request::post(&path, &json!({"overlap_seconds": 0}))).await;
        assert_eq!(made["key"]["id"], "k2");
    }
    let listed = admin(Request::get("/api/tracegate/v1/keys")).await.to_string();

    let secrets = [&personal, &databricks, &client, &access, &job, &exchanged, &person];
    for secret in secrets {
        // In its place, good or not; in all the wrong places; and cut short, as a mistyped one is.
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let short = &secret[..secret.len() - 1];
        for request in [
            bearer(whoami(), secret),
            bearer(whoami(), short),
            bearer(whoami(), &format!("{secret},{secret}")),
            whoami().header("Authorization", secret),
            whoami().header("Authorization", &basic(&format!("ann:{secret}"))),
            whoami().header("Authorization", &basic(&format!("{secret}:ann"))),
            whoami().header("Authorization", &basic(secret)),
            whoami().header("Cookie", &format!("session={secret}")),
            bearer(whoami(), &said.first_token).header("X-Tracegate-On-Behalf-Of", &format!("user:{secret}")),
            Request::get(&format!("/api/tracegate/v1/whoami?token={secret}")),
            bearer(
                Request::get(&format!("/api/tracegate/v1/whoami?access_token={secret}")),
                &said.first_token,
            ),
            bearer(Request::new("DELETE", &format!("/api/tracegate/v1/tokens/{secret}")), &said.first_token),
            bearer(Request::get(&format!("/api/2.0/token-management/tokens/{secret}")), &said.first_token),
            Request::get(&format!("/{secret}")),
            bearer(Request::post("/api/2.0/token/delete", &json!({"token_id": secret})), &said.first_token),
            bearer(
                Request::post("/api/2.0/token/create", &json!({ (secret.as_str()): 1 })),
                &said.first_token,
            ),
            form(&format!("grant_type=client_credentials&client_id=agent&client_secret={short}")),
            form(&format!("grant_type=client_credentials&client_id={secret}&client_secret={secret}")),
            form(&format!("grant_type={secret}")),
            form(&format!("{secret}={secret}")),
            form("grant_type=client_credentials")
                .header("Authorization", &basic(&format!("{secret}:{secret}"))),
        ] {
            request.send(said.address).await;
        }
    }
    // To its end, so that everything is written that will be.
    let Said { mut process, lines, heard, first_token, .. } = said;
    let stopped = Command::new("kill").args(["-TERM", &process.0.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    process.0.wait().unwrap();
    heard.join().unwrap();
    let printed = lines.lock().unwrap().join("\n");
    assert!(printed.contains("refused"), "the log was heard");
    assert_eq!(printed.matches(first_token.as_str()).count(), 1, "the first token is printed once");

    let state = data.path().join("state");
    let store = Store::open(&DatabaseConfig::default(), &state).await.unwrap();
    let keys = store.keys().await.unwrap();
    assert_eq!(keys.len(), 10);
    drop(store);

    let mut written = Vec::new();
    files(&data.path().join("state"), &mut written);
    assert!(written.iter().any(|path| path.extension().is_some_and(|extension| extension == "seg")));
    for key in keys {
        let value = key.value.unwrap();
        let forms = [hex::encode(value.expose()), STANDARD.encode(value.expose())[..40].to_owned()];
        for form in forms.iter().chain([&format!("{:?}", value.expose())]) {
            assert!(!printed.contains(form) && !listed.contains(form), "{:?} is told", key.purpose);
        }
        // The database is where they are.
        let elsewhere = |path: &&std::path::PathBuf| !path.to_string_lossy().contains("state.db");
        for path in written.iter().filter(elsewhere) {
            let bytes = std::fs::read(path).unwrap();
            assert!(!bytes.windows(32).any(|window| window == value.expose()), "{}", path.display());
            assert!(!forms.iter().any(|form| holds(&bytes, form)), "{}", path.display());
        }
    }
    let own = [SHARED, UPSTREAM, CLIENT_SECRET].map(str::to_owned);
    let all = secrets.into_iter().cloned().chain(own).chain([first_token.clone()]);
    for secret in all {
        // What a mistyped one has in common with it counts too.
        let told = if secret.len() > 60 {
            &secret[secret.len() - 45..secret.len() - 2]
        } else {
            &secret[4..secret.len() - 2]
        };
        for (number, line) in printed.lines().enumerate() {
            let is_first = line == first_token;
            assert!(is_first || !line.contains(told), "line {number} of the log holds a secret: {line}");
        }
        for path in &written {
            let bytes = std::fs::read(path).unwrap();
            assert!(!holds(&bytes, told), "{} holds a secret", path.display());
        }
    }
}
