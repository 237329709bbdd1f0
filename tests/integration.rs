//! The gateway as a whole: a real one in this process, before a stand-in for MLflow that records.
//!
//! `support` holds the gateway, the callers as values, a client that sends any bytes, and the stand-in;
//! `integration/` holds the tests, one file per promise. Everything listens on free ports of the loopback.

#[cfg(test)]
mod support;

#[cfg(test)]
#[path = "integration/access_requests.rs"]
mod access_requests;
#[cfg(test)]
#[path = "integration/access_reviews.rs"]
mod access_reviews;
#[cfg(test)]
#[path = "integration/audit.rs"]
mod audit;
#[cfg(test)]
#[path = "integration/break_glass.rs"]
mod break_glass;
#[cfg(test)]
#[path = "integration/canonical.rs"]
mod canonical;
#[cfg(test)]
#[path = "integration/catalog_matrix.rs"]
mod catalog_matrix;
#[cfg(test)]
#[path = "integration/checkpoints.rs"]
mod checkpoints;
#[cfg(test)]
#[path = "integration/claims.rs"]
mod claims;
#[cfg(test)]
#[path = "integration/connections.rs"]
mod connections;
#[cfg(test)]
#[path = "integration/design_rules.rs"]
mod design_rules;
#[cfg(test)]
#[path = "integration/documented.rs"]
mod documented;
#[cfg(test)]
#[path = "integration/failures.rs"]
mod failures;
#[cfg(test)]
#[path = "integration/headers.rs"]
mod headers;
#[cfg(test)]
#[path = "integration/health.rs"]
mod health;
#[cfg(test)]
#[path = "integration/jwt_attacks.rs"]
mod jwt_attacks;
#[cfg(test)]
#[path = "integration/keys.rs"]
mod keys;
#[cfg(test)]
#[path = "integration/kills.rs"]
mod kills;
#[cfg(test)]
#[path = "integration/last_administrator.rs"]
mod last_administrator;
#[cfg(test)]
#[path = "integration/levels.rs"]
mod levels;
#[cfg(test)]
#[path = "integration/limits.rs"]
mod limits;
#[cfg(test)]
#[path = "integration/live_matrix.rs"]
mod live_matrix;
#[cfg(test)]
#[path = "integration/multipart.rs"]
mod multipart;
#[cfg(test)]
#[path = "integration/oauth.rs"]
mod oauth;
#[cfg(test)]
#[path = "integration/on_behalf.rs"]
mod on_behalf;
#[cfg(test)]
#[path = "integration/pages.rs"]
mod pages;
#[cfg(test)]
#[path = "integration/permissions.rs"]
mod permissions;
#[cfg(test)]
#[path = "integration/policy_code.rs"]
mod policy_code;
#[cfg(test)]
#[path = "integration/scim.rs"]
mod scim;
#[cfg(test)]
#[path = "integration/secrets_in_logs.rs"]
mod secrets_in_logs;
#[cfg(test)]
#[path = "integration/shadow.rs"]
mod shadow;
#[cfg(test)]
#[path = "integration/tls.rs"]
mod tls;
#[cfg(test)]
#[path = "integration/tokens.rs"]
mod tokens;
