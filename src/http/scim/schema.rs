//! The attributes that users, groups and service principals have, and the reading of what clients send.

use serde_json::{Map, Value};

use super::{Kind, refuse};
use crate::http::error::Refusal;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Flag,
    Complex(&'static [&'static str]),
    Many(&'static [&'static str]),
}

#[derive(Debug)]
pub(super) struct Attribute {
    pub name: &'static str,
    pub shape: Shape,
    /// Kept by us; what clients send for it counts for nothing.
    pub read_only: bool,
    /// Compared letter by letter.
    pub exact: bool,
}

pub(super) const CORE_USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(super) const CORE_GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
pub(super) const SERVICE_PRINCIPAL: &str = "urn:ietf:params:scim:schemas:core:2.0:ServicePrincipal";
pub(super) const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

const VALUE: &[&str] = &["value", "display", "type", "primary", "$ref"];
const NAME: &[&str] =
    &["formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix"];
const ADDRESS: &[&str] =
    &["formatted", "streetAddress", "locality", "region", "postalCode", "country", "type", "primary"];
const META: &[&str] = &["resourceType", "created", "lastModified", "location"];
const COMPANY: &[&str] = &["employeeNumber", "costCenter", "organization", "division", "department"];

const fn plain(name: &'static str, shape: Shape) -> Attribute {
    Attribute { name, shape, read_only: false, exact: false }
}

const fn kept(name: &'static str, shape: Shape) -> Attribute {
    Attribute { name, shape, read_only: true, exact: true }
}

const ID: Attribute = kept("id", Shape::Text);
const EXTERNAL_ID: Attribute =
    Attribute { name: "externalId", shape: Shape::Text, read_only: false, exact: true };
const DISPLAY_NAME: Attribute = plain("displayName", Shape::Text);
const ACTIVE: Attribute = plain("active", Shape::Flag);
const ENTITLEMENTS: Attribute = plain("entitlements", Shape::Many(VALUE));
const ROLES: Attribute = plain("roles", Shape::Many(VALUE));
const GROUPS: Attribute = kept("groups", Shape::Many(VALUE));
const SCHEMAS: Attribute = kept("schemas", Shape::Many(&[]));
const META_ATTRIBUTE: Attribute = kept("meta", Shape::Complex(META));

static USER: &[Attribute] = &[
    ID,
    EXTERNAL_ID,
    plain("userName", Shape::Text),
    DISPLAY_NAME,
    ACTIVE,
    plain("name", Shape::Complex(NAME)),
    plain("nickName", Shape::Text),
    plain("profileUrl", Shape::Text),
    plain("title", Shape::Text),
    plain("userType", Shape::Text),
    plain("preferredLanguage", Shape::Text),
    plain("locale", Shape::Text),
    plain("timezone", Shape::Text),
    plain("emails", Shape::Many(VALUE)),
    plain("phoneNumbers", Shape::Many(VALUE)),
    plain("addresses", Shape::Many(ADDRESS)),
    ENTITLEMENTS,
    ROLES,
    plain(ENTERPRISE, Shape::Complex(COMPANY)),
    GROUPS,
    SCHEMAS,
    META_ATTRIBUTE,
];
static GROUP: &[Attribute] = &[
    ID,
    EXTERNAL_ID,
    DISPLAY_NAME,
    Attribute { name: "members", shape: Shape::Many(VALUE), read_only: false, exact: true },
    ENTITLEMENTS,
    ROLES,
    GROUPS,
    SCHEMAS,
    META_ATTRIBUTE,
];
static SERVICE: &[Attribute] = &[
    ID,
    EXTERNAL_ID,
    plain("applicationId", Shape::Text),
    DISPLAY_NAME,
    ACTIVE,
    ENTITLEMENTS,
    ROLES,
    GROUPS,
    SCHEMAS,
    META_ATTRIBUTE,
];

/// Characters in one text, elements in one list (but members), and bytes in all that is kept of one principal.
const LONGEST_TEXT: usize = 1000;
const MOST_VALUES: usize = 100;

impl Kind {
    pub fn attributes(self) -> &'static [Attribute] {
        match self {
            Self::User => USER,
            Self::Group => GROUP,
            Self::ServicePrincipal => SERVICE,
        }
    }

    /// An attribute by its name in any case.
    pub fn attribute(self, name: &str) -> Option<&'static Attribute> {
        self.attributes().iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
    }

    /// `name`, `name.sub`, or either behind the URN of its schema.
    pub fn resolve(self, path: &str) -> Option<(&'static Attribute, Option<&'static str>)> {
        let after = |urn: &str| -> Option<String> {
            let head = path.get(..urn.len())?;
            if head.eq_ignore_ascii_case(urn) { path.get(urn.len()..).map(str::to_owned) } else { None }
        };
        if self == Self::User
            && let Some(rest) = after(ENTERPRISE)
        {
            let attribute = self.attribute(ENTERPRISE)?;
            return match rest.strip_prefix([':', '.']) {
                Some(sub) => Some((attribute, Some(attribute.sub(sub)?))),
                None => rest.is_empty().then_some((attribute, None)),
            };
        }
        if let Some(rest) = after(self.schema()) {
            return self.resolve(rest.strip_prefix(':')?);
        }
        match path.split_once('.') {
            Some((name, sub)) => {
                let attribute = self.attribute(name)?;
                Some((attribute, Some(attribute.sub(sub)?)))
            }
            None => self.attribute(path).map(|attribute| (attribute, None)),
        }
    }
}

impl Attribute {
    pub fn subs(&self) -> &'static [&'static str] {
        match self.shape {
            Shape::Complex(subs) | Shape::Many(subs) => subs,
            Shape::Text | Shape::Flag => &[],
        }
    }

    pub fn sub(&self, name: &str) -> Option<&'static str> {
        self.subs().iter().copied().find(|sub| sub.eq_ignore_ascii_case(name))
    }

    /// The value in its one form; `None` if it is as good as absent.
    pub fn read(&self, value: &Value) -> Result<Option<Value>, Refusal> {
        if value.is_null() {
            return Ok(None);
        }
        Ok(Some(match self.shape {
            Shape::Text => Value::String(text(self.name, value)?),
            Shape::Flag => Value::Bool(flag(self.name, value)?),
            Shape::Complex(subs) => Value::Object(complex(self.name, subs, value)?),
            Shape::Many(subs) => {
                let elements: Vec<&Value> = match value {
                    Value::Array(elements) => elements.iter().collect(),
                    one => vec![one],
                };
                if elements.len() > MOST_VALUES && self.name != "members" {
                    return Err(wrong(self.name, &format!("has more than {MOST_VALUES} values")));
                }
                let read = elements.into_iter().map(|element| self.element(subs, element));
                Value::Array(read.collect::<Result<_, _>>()?)
            }
        }))
    }

    fn element(&self, subs: &'static [&'static str], value: &Value) -> Result<Value, Refusal> {
        match value {
            Value::String(_) => {
                let value = Value::String(text(self.name, value)?);
                Ok(Value::Object(Map::from_iter([("value".to_owned(), value)])))
            }
            other => complex(self.name, subs, other).map(Value::Object),
        }
    }

    /// As [`read`](Self::read), for one sub-attribute.
    pub fn read_sub(&self, sub: &str, value: &Value) -> Result<Value, Refusal> {
        match sub {
            "primary" => flag(sub, value).map(Value::Bool),
            _ => text(sub, value).map(Value::String),
        }
    }
}

/// What was sent, with each attribute under its one name and in its one form. What is not known is left out, and
/// so is a password: none is kept for directories.
pub(super) fn canonical(kind: Kind, sent: &Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    let mut read = Map::new();
    for (name, value) in sent {
        let Some((attribute, None)) = kind.resolve(name) else { continue };
        if attribute.read_only && attribute.name != "id" {
            continue;
        }
        if read.contains_key(attribute.name) {
            return Err(wrong(attribute.name, "is given twice"));
        }
        if let Some(value) = attribute.read(value)? {
            read.insert(attribute.name.to_owned(), value);
        }
    }
    Ok(read)
}

fn complex(name: &str, subs: &'static [&'static str], value: &Value) -> Result<Map<String, Value>, Refusal> {
    let Value::Object(object) = value else { return Err(wrong(name, "must be an object")) };
    let mut read = Map::new();
    for (key, value) in object {
        let Some(sub) = subs.iter().find(|sub| sub.eq_ignore_ascii_case(key)) else { continue };
        if value.is_null() {
            continue;
        }
        let value = match *sub {
            "primary" => Value::Bool(flag(sub, value)?),
            _ => Value::String(text(sub, value)?),
        };
        if read.insert((*sub).to_owned(), value).is_some() {
            return Err(wrong(sub, "is given twice"));
        }
    }
    Ok(read)
}

fn text(name: &str, value: &Value) -> Result<String, Refusal> {
    let Value::String(text) = value else { return Err(wrong(name, "must be a string")) };
    if text.chars().count() > LONGEST_TEXT || text.chars().any(char::is_control) {
        return Err(wrong(name, &format!("has at most {LONGEST_TEXT} characters, none of them control")));
    }
    Ok(text.clone())
}

/// Some directories send booleans as text.
fn flag(name: &str, value: &Value) -> Result<bool, Refusal> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(wrong(name, "must be true or false")),
    }
}

pub(super) fn wrong(name: &str, problem: &str) -> Refusal {
    refuse("invalidValue", format!("`{name}` {problem}"))
}
