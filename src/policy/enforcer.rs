//! casbin as the judge: the candidate grants of one question go to a pooled enforcer that holds nothing
//! else, so a verdict costs microseconds however large the policy is.
//!
//! The relations come from the snapshot through our own role manager. casbin's default one would share
//! one graph between `g` relations, stop at a depth that depends on the graph's shape, and search it
//! linearly for unknown names.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use casbin::{CoreApi, DefaultModel, Enforcer, MatchingFn, MemoryAdapter, RoleManager};
use futures_util::FutureExt;
use parking_lot::RwLock;

use super::casbin_rules::{MODEL, OWNED};
use super::levels::Levels;
use crate::access::{GrantId, Privilege};

/// What one request knows of the three relations, in casbin's names.
pub(super) struct Relations {
    pub subject: String,
    pub identities: HashSet<String>,
    pub object: String,
    pub ancestors: HashSet<String>,
    pub privilege: Privilege,
    pub levels: Arc<Levels>,
}

impl Relations {
    fn linked(&self, name: &str, role: &str) -> bool {
        if name.is_empty() || role.is_empty() {
            return false;
        }
        if name == self.subject {
            self.identities.contains(role)
        } else if name == self.object {
            self.ancestors.contains(role)
        } else if name == self.privilege.as_str() {
            let owned = role == OWNED && self.levels.owned().has(self.privilege);
            owned || self.levels.gives(role, self.privilege)
        } else {
            false
        }
    }
}

#[derive(Default)]
struct Links(Option<Relations>);

impl RoleManager for Links {
    fn clear(&mut self) {
        self.0 = None;
    }

    fn add_link(&mut self, _: &str, _: &str, _: Option<&str>) {}

    fn matching_fn(&mut self, _: Option<MatchingFn>, _: Option<MatchingFn>) {}

    fn delete_link(&mut self, _: &str, _: &str, _: Option<&str>) -> casbin::Result<()> {
        Ok(())
    }

    fn has_link(&self, name: &str, role: &str, _: Option<&str>) -> bool {
        self.0.as_ref().is_some_and(|relations| relations.linked(name, role))
    }

    fn get_roles(&self, _: &str, _: Option<&str>) -> Vec<String> {
        Vec::new()
    }

    fn get_users(&self, _: &str, _: Option<&str>) -> Vec<String> {
        Vec::new()
    }
}

struct Pooled {
    enforcer: Enforcer,
    links: Arc<RwLock<Links>>,
}

thread_local! {
    static POOLED: RefCell<Option<Pooled>> = const { RefCell::new(None) };
}

fn pooled() -> Result<Pooled, String> {
    let build = async {
        let model = DefaultModel::from_str(MODEL).await?;
        Enforcer::new(model, MemoryAdapter::default()).await
    };
    // Neither the model nor the memory adapter ever waits.
    let mut enforcer =
        build.now_or_never().ok_or("casbin waited while it was built")?.map_err(|error| error.to_string())?;
    let links = Arc::new(RwLock::new(Links::default()));
    enforcer
        .set_role_manager(Arc::clone(&links) as Arc<RwLock<dyn RoleManager>>)
        .map_err(|error| error.to_string())?;
    Ok(Pooled { enforcer, links })
}

/// casbin's verdict on one request, and the grants that determined it. No candidates: denied.
pub(super) fn judge(
    relations: Relations,
    candidates: Vec<Vec<String>>,
) -> Result<(bool, Vec<GrantId>), String> {
    if candidates.is_empty() {
        return Ok((false, Vec::new()));
    }
    POOLED.with_borrow_mut(|slot| {
        let pool = match slot {
            Some(pool) => pool,
            None => slot.insert(pooled()?),
        };
        let request =
            (relations.subject.clone(), relations.object.clone(), relations.privilege.as_str().to_owned());
        *pool.links.write() = Links(Some(relations));
        let model = pool.enforcer.get_mut_model();
        model.clear_policy();
        let added = model.add_policies("p", "p", candidates);
        let judged = pool.enforcer.enforce_ex(request).map_err(|error| error.to_string());
        *pool.links.write() = Links::default();
        if !added {
            return Err("two grants with one id".to_owned());
        }
        let (allowed, matched) = judged?;
        let effect = if allowed { "allow" } else { "deny" };
        let deciding = matched
            .iter()
            .filter(|rule| rule.get(3).is_some_and(|matched| matched == effect))
            .filter_map(|rule| rule.get(4)?.parse().ok())
            .map(GrantId)
            .collect();
        Ok((allowed, deciding))
    })
}
