//! The values of queues, checked and in the form in which they are kept.

use crate::backend::embedded::evaluation;
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::python;
use crate::backend::embedded::request::Request;

const MAX_NAME: usize = 250;
pub(super) const MAX_USER: usize = 250;
const MAX_SCHEMA: usize = 36;
const MAX_ITEM: usize = 50;
const MAX_USERS: usize = 10;
/// The queue of whoever works without an identity.
const RESERVED: &str = "default";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Custom,
}

impl Kind {
    pub fn of(request: &Request) -> Result<Self, Problem> {
        match evaluation::enumeration(request, "queue_type", &["USER", "CUSTOM"]) {
            1 => Ok(Self::User),
            2 => Ok(Self::Custom),
            other => Err(Problem::invalid(format!(
                "`queue_type` must be one of USER or CUSTOM; got proto enum value {other}."
            ))),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Custom => "CUSTOM",
        }
    }
}

/// A queue that may be made.
pub(super) struct NewQueue {
    pub name: String,
    pub kind: Kind,
    pub users: Vec<String>,
    pub schemas: Vec<String>,
    pub owner: Option<String>,
}

impl NewQueue {
    pub fn checked(
        name: &str,
        kind: Kind,
        users: &[String],
        schemas: &[String],
        owner: Option<String>,
    ) -> Result<Self, Problem> {
        let (mut users, schemas) = (self::users(users)?, self::schemas(schemas)?);
        let name = match kind {
            Kind::Custom => custom_name(name)?,
            Kind::User => {
                let name = user(name);
                check("name", &name, MAX_NAME)?;
                if users.is_empty() {
                    users.push(name.clone());
                } else if users != [name.as_str()] {
                    return Err(Problem::invalid(format!(
                        "A user queue must have exactly one assigned user equal to its name; got name={} and \
                         users={}.",
                        python::repr(&name),
                        python::repr_list(users.iter().map(String::as_str))
                    )));
                }
                if !schemas.is_empty() {
                    return Err(Problem::invalid(
                        "A user queue cannot have explicitly-attached schemas; it resolves to all of the \
                         experiment's label schemas.",
                    ));
                }
                name
            }
        };
        Ok(Self { name, kind, users, schemas, owner })
    }
}

pub(super) fn custom_name(name: &str) -> Result<String, Problem> {
    let name = name.trim();
    check("name", name, MAX_NAME)?;
    if name.to_lowercase() == RESERVED {
        return Err(Problem::invalid(format!(
            "`{name}` is a reserved queue name and cannot be used for a custom queue."
        )));
    }
    Ok(name.to_owned())
}

pub(super) fn owner(owner: &str) -> Result<String, Problem> {
    let owner = owner.trim();
    check("new_owner", owner, MAX_USER)?;
    Ok(owner.to_owned())
}

/// Who reviews is compared with who wrote an assessment, whatever the case.
pub(super) fn user(user: &str) -> String {
    user.trim().to_lowercase()
}

pub(super) fn users(given: &[String]) -> Result<Vec<String>, Problem> {
    let users = each("user", given.iter().map(|one| user(one)), MAX_USER)?;
    if users.len() > MAX_USERS {
        return Err(Problem::invalid(format!(
            "A review queue can have at most {MAX_USERS} assigned users; got {}.",
            users.len()
        )));
    }
    Ok(users)
}

pub(super) fn schemas(given: &[String]) -> Result<Vec<String>, Problem> {
    each("schema_id", given.iter().map(|id| id.trim().to_owned()), MAX_SCHEMA)
}

pub(super) fn items(given: &[String]) -> Result<Vec<String>, Problem> {
    if given.is_empty() {
        return Err(Problem::invalid("`item_ids` must be a non-empty list; got []."));
    }
    each("item_id", given.iter().map(|id| id.trim().to_owned()), MAX_ITEM)
}

/// All of them once, in their order.
fn each(name: &str, given: impl Iterator<Item = String>, longest: usize) -> Result<Vec<String>, Problem> {
    let mut seen = std::collections::HashSet::new();
    let mut all = Vec::new();
    for one in given {
        check(name, &one, longest)?;
        if seen.insert(one.clone()) {
            all.push(one);
        }
    }
    Ok(all)
}

fn check(name: &str, value: &str, longest: usize) -> Result<(), Problem> {
    let length = value.chars().count();
    if length == 0 {
        return Err(Problem::invalid(format!("`{name}` must be a non-empty string; got ''.")));
    }
    if length > longest {
        return Err(Problem::invalid(format!(
            "`{name}` must be at most {longest} characters; got {length}."
        )));
    }
    Ok(())
}
