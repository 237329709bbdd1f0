//! What the token endpoint gives, and to whom.

use super::issuer_server::{IssuerServer, sign, sign_as};
use super::*;
use crate::access::{Scheme, Scope};
use crate::clock::UnixMillis;
use crate::config::identity::FederationConfig;
use crate::store::TokenKind;

fn agent() -> Principal {
    Principal::service_principal("agent").unwrap()
}

fn scope(text: &str) -> Vec<Scope> {
    vec![text.parse().unwrap()]
}

async fn world_with_agent(config: IdentityConfig) -> World {
    let world = World::new(config).await;
    world.store.ensure_principal(&agent(), "user:root", UnixMillis(NOW)).await.unwrap();
    world
}

impl World {
    async fn secret(&self, ttl: Option<i64>) -> (String, String) {
        let (secret, record) = self.identity.issue_secret(&agent(), ttl, None, "user:root").await.unwrap();
        (secret, record.id)
    }

    async fn access(&self, secret: &str) -> Result<String, ExchangeError> {
        let claimant = self.identity.client("agent", secret, None).await?;
        Ok(self.identity.give(&claimant, claimant.narrowed(None)?, None).await?.0)
    }

    async fn exchanged(&self, token: &str, client: Option<&str>) -> Result<String, ExchangeError> {
        let claimant = self.identity.workload(token, client).await?;
        Ok(self.identity.give(&claimant, None, None).await?.0)
    }
}

#[tokio::test]
async fn several_secrets_are_good_at_once_and_each_ends_with_its_tokens() {
    let world = world_with_agent(IdentityConfig::default()).await;
    let ((one, one_id), (two, _)) = (world.secret(None).await, world.secret(None).await);
    assert!(one.starts_with("tgs_") && one != two);
    let (by_one, by_two) = (world.access(&one).await.unwrap(), world.access(&two).await.unwrap());
    let caller = world.bearer(&by_one).await.unwrap();
    assert_eq!((caller.principal, caller.proof.scheme, caller.scopes), (agent(), Scheme::Token, None));
    world.bearer(&by_two).await.unwrap();
    assert!(world.identity.revoke_secret(&agent(), &one_id).await.unwrap().is_some());
    assert!(world.refusal(&by_one).await.ends_with("was revoked"));
    assert!(matches!(world.access(&one).await, Err(ExchangeError::Client)));
    world.bearer(&by_two).await.unwrap();
    // A secret is not a token, nor a token a secret.
    assert!(world.bearer(&two).await.is_err());
    assert!(matches!(world.access(&by_two).await, Err(ExchangeError::Client)));
}

#[tokio::test]
async fn an_unknown_client_and_a_wrong_secret_are_one_answer() {
    let world = world_with_agent(IdentityConfig::default()).await;
    let (secret, _) = world.secret(None).await;
    let other = super::super::tokens::new_secret("tgs_");
    for (client, secret) in [
        ("agent", other.as_str()),
        ("nobody", other.as_str()),
        ("nobody", secret.as_str()),
        ("Agent", secret.as_str()),
        ("agent ", secret.as_str()),
        ("service_principal:agent", secret.as_str()),
        ("", secret.as_str()),
        ("agent", ""),
        ("agent", "tgs_"),
        ("agent", &secret[..secret.len() - 1]),
        ("agent", secret.trim_start_matches("tgs_")),
    ] {
        let refused = world.identity.client(client, secret, None).await.err().unwrap();
        assert_eq!(refused.to_string(), ExchangeError::Client.to_string(), "{client}");
    }
    world.access(&secret).await.unwrap();
}

#[tokio::test]
async fn many_wrong_secrets_make_their_sender_wait_and_lock_out_nobody() {
    let world = world_with_agent(IdentityConfig::default()).await;
    let (secret, _) = world.secret(None).await;
    let address = Some("192.0.2.7");
    let mut waits = 0;
    for _ in 0..100 {
        let wrong = super::super::tokens::new_secret("tgs_");
        match world.identity.client("agent", &wrong, address).await.err().unwrap() {
            ExchangeError::TooMany { retry_after_ms } => {
                assert!((1..=60_000).contains(&retry_after_ms));
                waits += 1;
            }
            ExchangeError::Client => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(waits, 70);
    assert!(world.identity.client("agent", &secret, address).await.is_ok(), "the right one is always taken");
    let elsewhere = world.identity.client("agent", "tgs_x", Some("192.0.2.8")).await.err().unwrap();
    assert!(matches!(elsewhere, ExchangeError::Client));
}

#[tokio::test]
async fn access_tokens_end_soon_and_never_after_their_secret() {
    let config = IdentityConfig { access_token_seconds: 60, ..Default::default() };
    let world = world_with_agent(config).await;
    let (long, _) = world.secret(None).await;
    let (short, _) = world.secret(Some(10_000)).await;
    let (by_long, by_short) = (world.access(&long).await.unwrap(), world.access(&short).await.unwrap());
    world.clock.advance(10_000);
    world.bearer(&by_long).await.unwrap();
    assert!(world.refusal(&by_short).await.ends_with("has expired"));
    assert!(matches!(world.access(&short).await, Err(ExchangeError::Client)));
    world.clock.advance(50_000);
    assert!(world.refusal(&by_long).await.ends_with("has expired"));
    assert_eq!(world.identity.prune_access_tokens().await.unwrap(), 0);
    world.clock.advance(3_600_001);
    assert_eq!(world.identity.prune_access_tokens().await.unwrap(), 2);
    assert!(world.store.tokens(None, TokenKind::Oauth).await.unwrap().is_empty());
}

#[tokio::test]
async fn shutting_out_a_service_principal_ends_its_tokens_at_once() {
    let world = world_with_agent(IdentityConfig::default()).await;
    let (secret, _) = world.secret(None).await;
    let token = world.access(&secret).await.unwrap();
    world.bearer(&token).await.unwrap();
    world.store.set_active(&agent(), false, "user:root", UnixMillis(NOW)).await.unwrap();
    world.identity.forget();
    assert!(world.refusal(&token).await.contains("deactivated"));
    assert!(matches!(world.access(&secret).await, Err(ExchangeError::Client)));
}

#[tokio::test]
async fn scopes_only_ever_narrow() {
    let world = world_with_agent(IdentityConfig::default()).await;
    let bound =
        ["CAN_INGEST@experiment:1", "CAN_READ@experiment:2"].map(|text| text.parse().unwrap()).to_vec();
    let issued = world.identity.issue_secret(&agent(), None, Some(bound.clone()), "user:root").await;
    let (secret, _) = issued.unwrap();
    let claimant = world.identity.client("agent", &secret, None).await.unwrap();
    assert_eq!(claimant.narrowed(None).unwrap(), Some(bound.clone()));
    let narrower = claimant.narrowed(Some(scope("CAN_READ@experiment:2"))).unwrap();
    let (token, _) = world.identity.give(&claimant, narrower, None).await.unwrap();
    assert_eq!(world.bearer(&token).await.unwrap().scopes.unwrap().to_vec(), scope("CAN_READ@experiment:2"));
    for more in ["CAN_MANAGE@experiment:1", "CAN_READ@workspace:default", "CAN_READ@experiment:3"] {
        let refused = claimant.narrowed(Some(scope(more)));
        assert!(matches!(refused, Err(ExchangeError::Scope(_))), "{more}");
    }
    let (unbound, _) = world.secret(None).await;
    let claimant = world.identity.client("agent", &unbound, None).await.unwrap();
    assert_eq!(
        claimant.narrowed(Some(scope("CAN_READ@experiment:2"))).unwrap(),
        Some(scope("CAN_READ@experiment:2"))
    );
    // For nothing at all is not for everything.
    assert!(matches!(world.identity.give(&claimant, Some(vec![]), None).await, Err(ExchangeError::Scope(_))));
    assert!(world.identity.issue_secret(&agent(), None, Some(vec![]), "user:root").await.is_err());
}

#[tokio::test]
async fn lifetimes_have_a_limit_that_is_named() {
    let config = IdentityConfig { token_max_days: Some(30), ..Default::default() };
    let world = World::new(config).await;
    let day = 86_400_000;
    assert_eq!(world.identity.lifetime(None).unwrap(), Some(30 * day));
    assert_eq!(world.identity.lifetime(Some(30 * day)).unwrap(), Some(30 * day));
    for long in [30 * day + 1, i64::MAX] {
        let refused = world.identity.lifetime(Some(long)).unwrap_err().to_string();
        assert!(refused.contains("30 days") && refused.contains("identity.token_max_days"), "{refused}");
    }
    assert_eq!(World::new(IdentityConfig::default()).await.identity.lifetime(None).unwrap(), None);
}

fn rule(server: &IssuerServer, subject: &str) -> FederationConfig {
    FederationConfig {
        issuer: server.url.clone(),
        audience: vec!["gate-ci".into()],
        subject: Some(subject.into()),
        service_principal: "agent".into(),
        ..Default::default()
    }
}

/// An issuer of people and of jobs, and one rule for a job.
fn federated(server: &IssuerServer) -> IdentityConfig {
    IdentityConfig { federation: vec![rule(server, "repo:a/b")], ..server.config() }
}

fn job(server: &IssuerServer, replaced: Value) -> String {
    let mut all = json!({"aud": "gate-ci", "sub": "repo:a/b"});
    for (name, value) in replaced.as_object().unwrap() {
        all[name] = value.clone();
    }
    sign("rsa-1", &claims(&server.url, all))
}

#[tokio::test]
async fn a_job_is_who_the_one_rule_says_and_nobody_by_itself() {
    let server = IssuerServer::start(&["rsa-1"]).await;
    let world = world_with_agent(federated(&server)).await;
    let token = world.exchanged(&job(&server, json!({})), None).await.unwrap();
    assert_eq!(world.bearer(&token).await.unwrap().principal, agent());
    world.exchanged(&job(&server, json!({})), Some("agent")).await.unwrap();
    // Its own token is no caller's: the audience is the rule's and not that of people.
    assert!(world.refusal(&job(&server, json!({}))).await.contains("another audience"));
    // Nor is a person's a job's.
    let person = sign("rsa-1", &claims(&server.url, json!({"sub": "repo:a/b"})));
    world.bearer(&person).await.unwrap();
    for (problem, token) in [
        ("a person's", person),
        ("subject", job(&server, json!({"sub": "repo:a/c"}))),
        ("audience", job(&server, json!({"aud": "other"}))),
        ("expired", job(&server, json!({"exp": NOW / 1000 - 61}))),
        ("not yet", job(&server, json!({"nbf": NOW / 1000 + 61}))),
        ("no end", job(&server, json!({"exp": null}))),
        ("issuer", job(&server, json!({"iss": "https://other"}))),
        (
            "key",
            sign_as(
                "rsa-2",
                Some("rsa-1"),
                &claims(&server.url, json!({"aud": "gate-ci", "sub": "repo:a/b"})),
            ),
        ),
        (
            "none",
            forged(
                &json!({"alg": "none"}),
                &claims(&server.url, json!({"aud": "gate-ci", "sub": "repo:a/b"})),
                b"",
            ),
        ),
        ("no jwt", "x".to_owned()),
        ("huge", format!("{}.a.b", "a".repeat(20_000))),
    ] {
        let refused = world.exchanged(&token, None).await;
        assert!(matches!(refused, Err(ExchangeError::Grant(_))), "{problem}");
    }
    assert!(matches!(
        world.exchanged(&job(&server, json!({})), Some("other")).await,
        Err(ExchangeError::Grant(_))
    ));
}

#[tokio::test]
async fn an_issuer_may_be_for_jobs_alone() {
    let server = IssuerServer::start(&["rsa-1"]).await;
    let mut config = federated(&server);
    config.issuers[0].audience = vec![];
    let world = world_with_agent(config.clone()).await;
    world.exchanged(&job(&server, json!({})), None).await.unwrap();
    for audience in ["tracegate", "gate-ci", ""] {
        let token = job(&server, json!({"aud": audience, "sub": "ann"}));
        assert!(world.refusal(&token).await.contains("not accepted here"), "{audience}");
    }
    // Without a rule it would be for nothing: such a configuration does not start.
    let config = IdentityConfig { federation: vec![], ..config };
    let started = Identity::new(&config, world.store.clone(), Arc::new(world.clock.clone())).await;
    assert!(started.is_err());
}

#[tokio::test]
async fn two_rules_that_match_are_none_and_a_stranger_is_nobody() {
    let server = IssuerServer::start(&["rsa-1"]).await;
    let mut config = federated(&server);
    config
        .federation
        .push(FederationConfig { service_principal: "other".into(), ..rule(&server, "repo:a/b") });
    let world = world_with_agent(config).await;
    let refused = world.exchanged(&job(&server, json!({})), None).await.unwrap_err().to_string();
    assert!(refused.contains("more than one"), "{refused}");
    world.exchanged(&job(&server, json!({})), Some("agent")).await.unwrap();
    // Nobody entered the other one.
    let refused = world.exchanged(&job(&server, json!({})), Some("other")).await.unwrap_err().to_string();
    assert!(refused.contains("not known"), "{refused}");
}

#[tokio::test]
async fn what_was_got_by_a_rule_ends_with_it() {
    let server = IssuerServer::start(&["rsa-1"]).await;
    let world = world_with_agent(federated(&server)).await;
    let token = world.exchanged(&job(&server, json!({})), None).await.unwrap();
    let headers = authorization(&[&format!("Bearer {token}")]);
    let other = IdentityConfig { federation: vec![rule(&server, "repo:a/c")], ..server.config() };
    let clock = Arc::new(world.clock.clone());
    let changed = Identity::new(&other, world.store.clone(), clock.clone()).await.unwrap();
    let refused = changed.identify(&headers).await.unwrap_err().to_string();
    assert!(refused.contains("no longer in force"), "{refused}");
    let same = Identity::new(&federated(&server), world.store.clone(), clock).await.unwrap();
    assert!(same.identify(&headers).await.unwrap().is_some());
}
