//! Users and roles as MLflow's clients see them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{DIRECT_ROLE, WORKSPACE};
use crate::access::{Caller, Grant, Principal, PrincipalKind, Proof, Scheme};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::policy::mlflow_permissions::{Row, rows};
use crate::policy::{Snapshot, View};
use crate::store::DirectoryEntry as Account;

/// What is needed to tell of some or of all users and roles, as of one moment.
pub(super) struct Directory {
    pub view: View,
    snapshot: Arc<Snapshot>,
    accounts: HashMap<Principal, Account>,
    grants: HashMap<Principal, Vec<Grant>>,
    now: crate::clock::UnixMillis,
}

/// A role: a group, or what one user was granted directly.
pub(super) struct Role<'d> {
    pub account: &'d Account,
}

impl Directory {
    /// All of them; for who may see others, since it takes as long as there are many.
    pub async fn read(call: &Call<'_>) -> Result<Self, Refusal> {
        let mut directory = Self::empty(call).await?;
        for kind in [PrincipalKind::User, PrincipalKind::Group] {
            let accounts = call.app.store.directory(kind).await?.into_iter();
            directory.accounts.extend(accounts.map(|account| (account.principal.clone(), account)));
        }
        for grant in call.app.store.grants(None, None).await? {
            directory.grants.entry(grant.grant.principal.clone()).or_default().push(grant);
        }
        Ok(directory)
    }

    /// One principal and the groups that it is in, those that only its credential asserts as well.
    pub async fn about(
        call: &Call<'_>,
        principal: &Principal,
        asserted: &[Principal],
    ) -> Result<Self, Refusal> {
        let mut directory = Self::empty(call).await?;
        let mut concerned = closure(&directory.snapshot, principal, asserted);
        concerned.insert(principal.clone());
        for one in concerned {
            if let Some(account) = call.app.store.directory_of(&one).await? {
                directory.accounts.insert(one.clone(), account);
            }
            let grants = call.app.store.grants(Some(&one), None).await?;
            directory.grants.insert(one, grants);
        }
        Ok(directory)
    }

    /// A user of this name, for who may know whether there is one.
    pub async fn about_user(call: &Call<'_>, name: &str) -> Result<(Self, Principal), Refusal> {
        let missing = || Refusal::NotFound(format!("user `{}` does not exist", shown(name)));
        let user = Principal::user(name).map_err(|_| missing())?;
        let directory = Self::about(call, &user, &[]).await?;
        directory.user(name)?;
        Ok((directory, user))
    }

    async fn empty(call: &Call<'_>) -> Result<Self, Refusal> {
        call.app.confirm_policy().await?;
        let view = call.view()?;
        let snapshot = Arc::clone(view.snapshot());
        let (accounts, grants) = (HashMap::new(), HashMap::new());
        Ok(Self { view, snapshot, accounts, grants, now: call.app.clock.now() })
    }

    pub fn account(&self, principal: &Principal) -> Option<&Account> {
        self.accounts.get(principal)
    }

    /// The user of a name; for who may know whether there is one.
    pub fn user(&self, name: &str) -> Result<&Account, Refusal> {
        let account = Principal::user(name).ok().and_then(|user| self.account(&user));
        account.ok_or_else(|| Refusal::NotFound(format!("user `{}` does not exist", shown(name))))
    }

    pub fn users(&self) -> Vec<&Account> {
        self.sorted(|account| account.principal.kind == PrincipalKind::User)
    }

    fn sorted(&self, wanted: impl Fn(&Account) -> bool) -> Vec<&Account> {
        let mut found: Vec<&Account> = self.accounts.values().filter(|account| wanted(account)).collect();
        found.sort_by_key(|account| account.number);
        found
    }

    /// Groups but for the administrators', of whom `is_admin` tells; then what users were granted directly.
    pub fn roles(&self) -> Vec<Role<'_>> {
        let is_role = |account: &Account| match account.principal.kind {
            PrincipalKind::Group => !is_admins(&account.principal),
            PrincipalKind::User => !self.rows(&account.principal).is_empty(),
            PrincipalKind::ServicePrincipal => false,
        };
        self.sorted(is_role).into_iter().map(|account| Role { account }).collect()
    }

    /// The role with a number; for who may know whether there is one.
    pub fn role(&self, number: i64) -> Result<Role<'_>, Refusal> {
        let found = self.accounts.values().find(|account| account.number == number);
        found
            .filter(|account| account.principal.kind != PrincipalKind::ServicePrincipal)
            .filter(|account| !is_admins(&account.principal))
            .map(|account| Role { account })
            .ok_or_else(|| Refusal::NotFound(format!("role {number} does not exist")))
    }

    /// Every role that somebody has, through whatever groups; groups of `asserted` as well.
    pub fn roles_of(&self, principal: &Principal, asserted: &[Principal]) -> Vec<Role<'_>> {
        let groups = closure(&self.snapshot, principal, asserted);
        let has = |account: &Account| match account.principal.kind {
            PrincipalKind::Group => !is_admins(&account.principal) && groups.contains(&account.principal),
            _ => account.principal == *principal && !self.rows(principal).is_empty(),
        };
        self.sorted(has).into_iter().map(|account| Role { account }).collect()
    }

    /// Users with a role, and their numbers.
    pub fn users_with(&self, role: &Role<'_>) -> Vec<&Account> {
        let principal = &role.account.principal;
        let has = |account: &&Account| {
            account.principal == *principal
                || closure(&self.snapshot, &account.principal, &[]).contains(principal)
        };
        self.users().into_iter().filter(has).collect()
    }

    /// The permissions that were granted to a principal itself.
    pub fn rows(&self, principal: &Principal) -> Vec<Row> {
        let grants = self.grants.get(principal).map_or(&[][..], Vec::as_slice);
        rows(self.snapshot.levels(), grants, self.now)
    }

    pub fn is_admin(&self, user: &Principal) -> bool {
        self.view.is_admin(&as_caller(user))
    }

    pub fn user_json(&self, account: &Account) -> Value {
        json!({
            "id": account.number,
            "username": account.principal.name,
            "is_admin": self.is_admin(&account.principal),
        })
    }

    pub fn role_json(&self, role: &Role<'_>) -> Value {
        let number = role.account.number;
        let permissions: Vec<Value> =
            self.rows(&role.account.principal).iter().map(|row| permission_json(number, row)).collect();
        json!({
            "id": number,
            "name": role.name(),
            "workspace": WORKSPACE,
            "description": role.account.description,
            "permissions": permissions,
        })
    }
}

impl Role<'_> {
    pub fn name(&self) -> String {
        match self.account.principal.kind {
            PrincipalKind::Group => self.account.principal.name.clone(),
            _ => format!("{DIRECT_ROLE}{}__", self.account.number),
        }
    }

    /// The group, for what can be done to groups alone.
    pub fn group(&self) -> Result<&Principal, Refusal> {
        match self.account.principal.kind {
            PrincipalKind::Group => Ok(&self.account.principal),
            _ => Err(crate::wire::Malformed::new(
                "role_id",
                "this role is what one user was granted directly; only its permissions can be changed",
            )
            .into()),
        }
    }
}

pub(super) fn permission_json(role: i64, row: &Row) -> Value {
    json!({
        "id": row.id,
        "role_id": role,
        "resource_type": row.resource.kind.as_str(),
        "resource_pattern": row.resource.pattern(),
        "permission": row.permission.as_str(),
    })
}

/// MLflow numbers assignments; the two numbers in one are as good, and exact in a client's floating point.
pub(super) fn assignment_json(role: i64, user: i64) -> Value {
    json!({ "id": (role << 26) | user, "user_id": user, "role_id": role })
}

/// A principal as policy alone knows it.
pub(super) fn as_caller(principal: &Principal) -> Caller {
    let proof = Proof { scheme: Scheme::Token, credential: "described".to_owned() };
    Caller::new(principal.clone(), Vec::new(), proof)
}

pub(super) fn is_admins(principal: &Principal) -> bool {
    principal.kind == PrincipalKind::Group && principal.name == Principal::ADMINS
}

/// Whether whoever is put into a group becomes an administrator by it.
pub(super) fn leads_to_admins(snapshot: &Snapshot, group: &Principal) -> bool {
    is_admins(group) || closure(snapshot, group, &[]).iter().any(is_admins)
}

/// All groups that a principal is in, `users` among them unless it is a group itself.
fn closure(snapshot: &Snapshot, principal: &Principal, asserted: &[Principal]) -> BTreeSet<Principal> {
    let mut next: Vec<Principal> = snapshot.direct_groups(principal).into_iter().cloned().collect();
    next.extend(asserted.iter().cloned());
    if principal.kind != PrincipalKind::Group {
        next.extend(Principal::group(Principal::USERS));
    }
    let mut reached = BTreeSet::new();
    while let Some(group) = next.pop() {
        if reached.insert(group.clone()) {
            next.extend(snapshot.direct_groups(&group).into_iter().cloned());
        }
    }
    reached
}

pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
