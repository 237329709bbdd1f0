//! Principals beside the callers, with tokens of their own, and what directories are asked about them.

use serde_json::Value;
use tracegate::access::Principal;

use super::gateway::Gateway;
use super::raw_http::{Answer, Request};

pub const SCIM: &str = "/api/2.0/preview/scim/v2";

pub fn principal(text: &str) -> Principal {
    text.parse().unwrap()
}

impl Gateway {
    /// Makes somebody known, and a token for it.
    pub async fn newcomer(&self, name: &str) -> String {
        let now = self.app.clock.now();
        self.app.store.ensure_principal(&principal(name), "test", now).await.unwrap();
        self.app.reload_policy().await.unwrap();
        self.app.identity.issue_token(&principal(name), "test", None, "test").await.unwrap().0
    }

    pub async fn with_token(&self, token: &str, request: Request) -> Answer {
        request.header("Authorization", &format!("Bearer {token}")).send(self.address).await
    }

    /// The id that SCIM has for somebody.
    pub async fn id_of(&self, name: &str) -> String {
        let entry = self.app.store.directory_of(&principal(name)).await.unwrap();
        entry.unwrap_or_else(|| panic!("`{name}` is not there")).number.to_string()
    }

    /// Grants, memberships and who may call: all that policy is made of.
    pub async fn policy_as_text(&self) -> String {
        let mut policy = self.app.store.policy().await.unwrap();
        policy.memberships.sort();
        policy.principals.sort();
        format!("{:?} {:?} {:?}", policy.grants, policy.memberships, policy.principals)
    }

    /// What a call changed, as the record has it.
    pub async fn recorded_change(&self, answer: &Answer) -> Value {
        let records = self.records(&answer.decision_id()).await;
        let change = records.into_iter().find_map(|record| record.policy_change);
        serde_json::to_value(change.expect("a record with before and after")).unwrap()
    }
}
