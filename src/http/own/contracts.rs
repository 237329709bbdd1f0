//! The contract of each operation of our own API, by its name.

use super::contract::Kind::{Number, OneOf, Principal, Privilege, Securable, Text, Time};
use super::contract::{Contract, Parameter, optional, required};
use super::{
    access_requests, access_reviews, adoption, archives, audit, audit_review, audit_seen, break_glass,
    checkpoints, explain, grants, keys, limits, policy, principals, secrets, sessions, shadow, tokens,
};
use crate::access::NewGrant;
use crate::http::mlflow_auth;
use serde_json::{Map, Value};

const SINCE: Parameter = optional("since", Time, "From this time on (milliseconds since 1970).");
const UNTIL: Parameter =
    optional("until", Time, "Up to this time, which is not included (milliseconds since 1970).");
const LIMIT: Parameter = optional("limit", Number(1, 1000), "Entries of one page; 100 if left out.");
const AFTER: Parameter = optional("after", Text, "`next` of the page before.");

/// What the record can be filtered by.
macro_rules! filters {
    ($($more:expr),*) => {
        vec![
            SINCE,
            UNTIL,
            optional("principal", Text, "Who called."),
            optional("securable", Text, "On what."),
            optional("trace_id", Text, "Which trace was touched."),
            optional("decision", OneOf(&["allow", "deny"]), "What was decided."),
            optional("operation", Text, "The operation's name."),
            optional("decision_id", Text, "All records of one call."),
            optional("kind", Text, "The kind of record, such as `policy_change`."),
            optional("status", Number(100, 599), "The status answered; 401 are failed logins."),
            LIMIT,
            AFTER,
            $($more),*
        ]
    };
}
const KEY: Parameter = required("key", Text, "One of `audit.subject_keys`.");
const VALUE: Parameter = required("value", Text, "Whose traces: a session, an end user.");

/// Nothing for a name that is none of ours.
pub(super) fn of(operation: &str) -> Option<Contract> {
    Some(match operation {
        "tracegate.live" => Contract::answering::<super::Live>("Answers while the process serves."),
        "tracegate.ready" => {
            Contract::answering::<super::Ready>("Whether calls can be decided, recorded and forwarded.")
        }
        "tracegate.metrics" => {
            Contract::text("Metrics.", &["application/openmetrics-text; version=1.0.0; charset=utf-8"])
        }
        "tracegate.openapi" => Contract::answering::<Map<String, Value>>("This description."),
        "tracegate.docs" => Contract::text("This description as a page.", &["text/html; charset=utf-8"]),
        "tracegate.explain" => Contract::answering::<explain::Explained>(
            "Why somebody may or may not do something.",
        )
        .query(vec![
            optional("on", Securable, "The securable; needed without `decision`."),
            optional("privilege", Privilege, "The privilege; needed without `decision`."),
            optional("principal", Principal, "Who; the caller if left out."),
            optional("decision", Text, "A recorded decision's id, to explain that one."),
        ]),
        "tracegate.grant.list" => {
            Contract::answering::<grants::Grants>("Grants: one's own, those on what one manages, or all.")
                .query(vec![
                    optional("principal", Principal, "To whom."),
                    optional("securable", Securable, "On what."),
                ])
        }
        "tracegate.grant.create" => {
            Contract::answering::<grants::Granted>("Grants a level or a privilege, or denies it.")
                .body::<NewGrant>()
        }
        "tracegate.grant.delete" => Contract::answering::<grants::Removed>("Withdraws a grant."),
        "tracegate.policy.get" => {
            Contract::answering::<explain::InForce>("Everything in force, and the latest changes.")
        }
        "tracegate.policy.plan" => Contract::answering::<policy::Plan>(
            "What a policy document would change, and who would gain or lose by it.",
        )
        .body::<policy::ToPlan>(),
        "tracegate.policy.apply" => {
            Contract::answering::<policy::Applied>("Applies a policy document, in one transaction.")
                .body::<policy::ToApply>()
                .also(&[409])
        }
        "tracegate.policy.test" => {
            Contract::answering::<policy::Tested>("Holds a document's expectations against policy.")
                .body::<policy::ToTest>()
        }
        "tracegate.policy.export" => {
            Contract::text("Groups and grants, a JSON object a line.", &["application/x-ndjson"])
        }
        "tracegate.policy.casbin" => Contract::text(
            "Policy as another casbin reads it.",
            &["text/csv; charset=utf-8", "text/plain; charset=utf-8"],
        )
        .query(vec![optional(
            "part",
            OneOf(&["model", "rules"]),
            "The model, or the rules in force.",
        )]),
        "tracegate.audit.events" => {
            Contract::answering::<audit::Events>("The record, newest first.").query(filters![optional(
                "calls",
                OneOf(&["true", "false"]),
                "One entry a call instead of one a record."
            )])
        }
        "tracegate.audit.export" => Contract::text(
            "The record as lines, oldest first.",
            &["application/jsonl", "text/plain; charset=utf-8"],
        )
        .query(filters![required(
            "format",
            OneOf(&["jsonl", "ocsf", "cef", "otlp", "databricks"]),
            "In whose form."
        )]),
        "tracegate.audit.checkpoints" => {
            Contract::answering::<checkpoints::Signed>("Signed checkpoints and the keys.").query(vec![
                optional("after", Number(0, u64::MAX), "The number of the last checkpoint that one has."),
                optional("limit", Number(0, 1000), "Checkpoints of one page."),
            ])
        }
        "tracegate.audit.seen" => Contract::answering::<audit_seen::Seen>(
            "Who saw a trace, or the traces of a session or end user.",
        )
        .query(vec![
            optional("trace_id", Text, "The trace; without it `key` and `value` are needed."),
            optional("key", Text, "One of `audit.subject_keys`."),
            optional("value", Text, "Whose traces: a session, an end user."),
            optional(
                "level",
                OneOf(&["read", "listed", "wrote"]),
                "What they saw at least; `listed` if left out.",
            ),
            SINCE,
            UNTIL,
        ]),
        "tracegate.audit.subjects" => {
            Contract::answering::<audit_seen::Traces>("The traces of a session or end user.")
                .query(vec![KEY, VALUE, LIMIT, AFTER])
        }
        "tracegate.audit.erase" => {
            Contract::answering::<audit_seen::Erased>("Forgets which traces are of a session or end user.")
                .query(vec![KEY, VALUE])
        }
        "tracegate.audit.addresses" => {
            Contract::answering::<audit_review::Addresses>("When principals were first seen at an address.")
                .query(vec![SINCE, LIMIT, AFTER])
        }
        "tracegate.audit.review" => {
            Contract::answering::<audit_review::Review>("Grants with their use, and counts of calls.")
                .query(vec![SINCE, UNTIL])
        }
        "tracegate.whoami" => Contract::answering::<explain::Whoami>("Who calls, and what narrows the call."),
        "tracegate.token.list" => Contract::answering::<tokens::Tokens>("Tokens: one's own, or another's.")
            .query(vec![
                optional("principal", Principal, "Whose; one's own if left out."),
                optional(
                    "kind",
                    OneOf(&["personal", "oauth"]),
                    "Those that people made, or those of the token endpoint.",
                ),
            ]),
        "tracegate.token.create" => {
            Contract::answering::<tokens::Made>("Makes a token.").body::<tokens::NewToken>()
        }
        "tracegate.token.revoke" => Contract::answering::<tokens::Revoked>("Revokes a token."),
        "tracegate.secret.list" => {
            Contract::answering::<secrets::Secrets>("The secrets of a service principal.")
        }
        "tracegate.secret.create" => {
            Contract::answering::<secrets::Made>("Makes a secret.").body::<secrets::NewSecret>()
        }
        "tracegate.secret.revoke" => {
            Contract::answering::<secrets::Revoked>("Revokes a secret, and every token that was got for it.")
        }
        "tracegate.key.list" => {
            Contract::answering::<keys::Listed>("The keys, without themselves, retired ones too.")
        }
        "tracegate.key.rotate" => {
            Contract::answering::<keys::Rotated>("Makes a key, which takes over once every replica knows it.")
                .body::<keys::Rotation>()
        }
        "tracegate.key.retire" => {
            Contract::answering::<keys::Retired>("Ends a key: what was made with it is not good any more.")
                .body::<keys::Wanted>()
        }
        "tracegate.session.list" => {
            Contract::answering::<sessions::SessionList>("Sessions of browsers: one's own, or another's.")
                .query(vec![optional("principal", Principal, "Whose; one's own if left out.")])
        }
        "tracegate.session.end" => Contract::answering::<sessions::SessionsEnded>("Ends a session."),
        "tracegate.session.end_all" => {
            Contract::answering::<sessions::SessionsEnded>("Ends all sessions of one person.")
                .query(vec![optional("principal", Principal, "Whose; one's own if left out.")])
        }
        "tracegate.break_glass" => {
            Contract::answering::<grants::Granted>("Gives oneself access for minutes, with a reason.")
                .body::<break_glass::Wanted>()
        }
        "tracegate.principal.list" => {
            Contract::answering::<principals::Principals>("Everybody who is known.")
        }
        "tracegate.principal.get" => {
            Contract::answering::<principals::Shown>("One principal and how much it has.")
        }
        "tracegate.principal.create" => Contract::answering::<principals::Entered>("Makes somebody known.")
            .body::<principals::NewPrincipal>(),
        "tracegate.principal.active" => {
            Contract::answering::<principals::Activity>("Shuts somebody out, or lets them in again.")
                .body::<principals::Active>()
        }
        "tracegate.principal.delete" => {
            Contract::answering::<principals::Deleted>("Deletes somebody with all that they have.")
        }
        "tracegate.group.list" => Contract::answering::<principals::Groups>("Who was put into which group."),
        "tracegate.group.add" => Contract::answering::<principals::Joined>("Puts somebody into a group."),
        "tracegate.group.remove" => Contract::answering::<principals::Left>("Takes somebody out of a group."),
        "tracegate.access_request.create" => {
            Contract::answering::<access_requests::Answered>("Asks for access, with a reason.")
                .body::<access_requests::Ask>()
                .also(&[429])
        }
        "tracegate.access_request.list" => Contract::answering::<access_requests::Listed>(
            "Requests: one's own, and those on what one manages.",
        )
        .query(vec![
            optional("principal", Principal, "Who asked."),
            optional("securable", Securable, "For what."),
            optional(
                "state",
                OneOf(&["pending", "approved", "refused", "withdrawn", "expired"]),
                "What became of them.",
            ),
            LIMIT,
            AFTER,
        ]),
        "tracegate.access_request.get" => Contract::answering::<access_requests::Answered>("One request."),
        "tracegate.access_request.approve" => Contract::answering::<access_requests::Approved>(
            "Approves a request, which grants what was asked for.",
        )
        .body::<access_requests::Approve>()
        .also(&[409]),
        "tracegate.access_request.refuse" => {
            Contract::answering::<access_requests::Answered>("Refuses a request, with a reason.")
                .body::<access_requests::Refuse>()
                .also(&[409])
        }
        "tracegate.access_request.withdraw" => {
            Contract::answering::<access_requests::Answered>("Takes back a request of one's own.")
                .also(&[409])
        }
        "tracegate.access_review.list" => Contract::answering::<access_reviews::Review>(
            "Who has what, through whom, since when and last used when.",
        )
        .query(vec![
            optional("on", Securable, "On what; this or `principal` is needed."),
            optional("principal", Principal, "Who."),
            optional("unused_since_days", Number(1, 36_500), "Only what was not used for so many days."),
            LIMIT,
            AFTER,
        ]),
        "tracegate.access_review.decide" => {
            Contract::answering::<access_reviews::Reviewed>("Says that a grant is right, or withdraws it.")
                .body::<access_reviews::Decide>()
                .also(&[409])
        }
        "tracegate.adoption.experiments" => Contract::answering::<adoption::Experiments>(
            "Adopts a page of experiments of a server that was in use before.",
        )
        .body::<adoption::OfAll>()
        .also(&[409, 502, 504]),
        "tracegate.adoption.traces" => {
            Contract::answering::<adoption::Traces>("Claims a page of an experiment's traces for it.")
                .body::<adoption::OfOne>()
                .also(&[409, 502, 504])
        }
        "tracegate.adoption.runs" => {
            Contract::answering::<adoption::Runs>("Says who wrote a page of an experiment's runs.")
                .body::<adoption::OfOne>()
                .also(&[409, 502, 504])
        }
        "tracegate.adoption.held" => {
            Contract::answering::<adoption::Held>("Says how many traces the server holds of an experiment.")
                .body::<adoption::OfOne>()
                .also(&[409, 502, 504])
        }
        "tracegate.shadow.list" => Contract::answering::<shadow::Shown>(
            "Experiments in shadow mode, where what policy denies passes.",
        ),
        "tracegate.shadow.start" => {
            Contract::answering::<shadow::Changed>("Puts experiments in shadow mode, for days.")
                .body::<shadow::Wanted>()
        }
        "tracegate.shadow.end" => Contract::answering::<shadow::Changed>("Ends shadow mode.")
            .query(vec![optional("experiment", Text, "Of this experiment (id); of all if left out.")]),
        "tracegate.shadow.report" => {
            Contract::answering::<shadow::Report>("Who would be denied what without shadow mode.")
                .query(vec![optional("experiment", Text, "On this experiment (id); all if left out."), SINCE])
        }
        "tracegate.archive.list" => Contract::answering::<archives::Listed>(
            "Archives of the experiments that one manages, and how far they are.",
        ),
        "tracegate.archive.get" => {
            Contract::answering::<archives::Shown>("An experiment's archive, and how far it is.")
        }
        "tracegate.archive.set" => Contract::answering::<archives::Shown>(
            "Copies an experiment's traces into a table as they come and change, in one's own name.",
        )
        .body::<archives::ToArchive>()
        .also(&[409]),
        "tracegate.archive.end" => {
            Contract::answering::<archives::Ended>("Ends an archive; what it wrote stays in its table.")
        }
        "tracegate.limit.list" => Contract::answering::<limits::Shown>("Limits, with what is used of them.")
            .query(vec![
                optional("securable", Securable, "On what; all that were set if left out."),
                optional("principal", Principal, "Of whom."),
            ]),
        "tracegate.limit.set" => {
            Contract::answering::<limits::Changed>("Sets a limit.").body::<limits::Wanted>()
        }
        "tracegate.limit.clear" => {
            Contract::answering::<limits::Changed>("Takes a limit back to the configuration's.").query(vec![
                required("securable", Securable, "On what."),
                required("name", OneOf(&["requests_per_second", "traces"]), "Which limit."),
                optional("principal", Principal, "Of whom."),
            ])
        }
        "mlflow_auth.passwords.import" => Contract::answering::<mlflow_auth::ImportedPasswordsAnswer>(
            "Takes passwords over from another server, by their hashes.",
        )
        .body::<mlflow_auth::ImportedPasswords>(),
        _ => return None,
    })
}
