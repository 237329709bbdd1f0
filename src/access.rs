//! The words of access control as types: who, what, may they, and what happened.
//!
//! No I/O and no framework. Everything above speaks in these types, so that two modules of one layer
//! never need to import each other.
//!
//! ```
//! use tracegate::access::{ExperimentId, Privilege, Securable};
//!
//! let securable = Securable::experiment(&ExperimentId::parse("12").unwrap());
//! assert_eq!(securable.to_string(), "experiment:12");
//! assert_eq!("trace.read".parse::<Privilege>().unwrap(), Privilege::TraceRead);
//! ```

mod applies;
mod caller;
mod decision;
mod event;
mod given;
mod grant;
mod ids;
mod location;
mod policy_edit;
mod principal;
mod privilege;
mod schema;
mod scope;
mod securable;
mod sink;

pub use caller::{Caller, Proof, Scheme};
pub use decision::{Check, Decision, DecisionId, Verdict};
pub use event::{Event, EventId, EventKind, Missing, Outcome, PolicyChange, RequestContext, Sight};
pub use given::{Given, LEVELS};
pub use grant::{Effect, Grant, GrantId, NewGrant};
pub use ids::{AssessmentId, ExperimentId, LoggedModelId, MalformedId, RunId, TraceId};
pub use location::{Location, MANAGED_SEGMENT};
pub use policy_edit::{PolicyEdit, Rule};
pub use principal::{Principal, PrincipalKind};
pub use privilege::Privilege;
pub use scope::Scope;
pub use securable::{Securable, SecurableKind};
pub use sink::{AuditError, AuditSink, Durability};
