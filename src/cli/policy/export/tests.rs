//! What is written is read back as it was.

use proptest::prelude::*;
use serde_json::json;

use super::super::files::Files;
use super::*;

fn written(lines: &[Value]) -> String {
    let mut text = Vec::new();
    let mut written = Written::new(&mut text);
    for line in lines {
        written.line(line).unwrap();
    }
    assert_eq!(written.finish().unwrap(), Some(true));
    String::from_utf8(text).unwrap()
}

fn grant(principal: &str, securable: &str, privilege: &str, effect: &str) -> Value {
    json!({
        "principal": principal, "securable": securable, "privilege": privilege, "effect": effect,
        "reason": null, "expires_at_ms": null,
    })
}

#[test]
fn an_export_is_a_file_that_people_can_read() {
    let mut reviewed = grant("group:analysts", "experiment:1", "CAN_READ", "allow");
    reviewed["expires_at_ms"] = json!(1_798_675_200_000_i64);
    reviewed["reason"] = json!("quarterly: \"review\" #3");
    let text = written(&[
        json!({ "policy_version": 7, "at_ms": 0 }),
        json!({ "group": "group:analysts", "members": ["user:bob", "user:a b"] }),
        reviewed,
        grant("user:eve", "experiment:1", "trace.read", "deny"),
        grant("user:ann", "folder:/Users/ann@example.com", "CAN_MANAGE", "allow"),
        json!({ "end": true, "complete": true }),
    ]);
    assert_eq!(
        text,
        r##"# Policy version 7, exported 1970-01-01T00:00:00Z.
version: 1
scope: listed
groups:
  - group: group:analysts
    members: [user:bob, "user:a b"]
grants:
  - on: experiment:1
    allow:
      - {to: group:analysts, privilege: CAN_READ, until: 2026-12-31T00:00:00Z, reason: "quarterly: \"review\" #3"}
    deny:
      - {to: user:eve, privilege: trace.read}
  - on: folder:/Users/ann@example.com
    allow:
      - {to: user:ann, privilege: CAN_MANAGE}
"##
    );
    let files = Files::parse([("x", text.as_bytes())]).unwrap();
    let read = &files.document.grants[0].allow[0];
    assert_eq!(read.reason.as_deref(), Some("quarterly: \"review\" #3"));
    assert_eq!(read.until, Some(UnixMillis(1_798_675_200_000)));
}

#[test]
fn an_export_without_its_end_is_told_from_a_whole_one() {
    let mut text = Vec::new();
    let mut cut = Written::new(&mut text);
    cut.line(&json!({ "policy_version": 7, "at_ms": 0 })).unwrap();
    assert_eq!(cut.finish().unwrap(), None);
}

#[test]
fn lines_are_put_together_from_whatever_pieces_come() {
    let whole = "{\"a\": \"é\"}\n{\"b\": 2}\n".as_bytes();
    for size in 1..whole.len() {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in whole.chunks(size) {
            lines
                .push(piece, &mut |line| {
                    found.push(line.to_owned());
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(found, ["{\"a\": \"é\"}", "{\"b\": 2}"], "pieces of {size}");
    }
}

proptest! {
    /// No name and no reason breaks out of its place, whatever it is.
    #[test]
    fn any_text_is_read_back_as_it_was(name in "[^\"\\p{Cc},]{1,30}", reason in "[^\\p{Cc}]{0,40}") {
        let principal = format!("user:{name}");
        prop_assume!(principal.parse::<crate::access::Principal>().is_ok());
        let mut with_reason = grant(&principal, "registered_model:a b: #1 {x}", "CAN_READ", "allow");
        with_reason["reason"] = json!(reason);
        let text = written(&[
            json!({ "policy_version": 7, "at_ms": 0 }),
            json!({ "group": "group:yes", "members": [principal] }),
            with_reason,
            json!({ "end": true, "complete": true }),
        ]);
        let files = Files::parse([("x", text.as_bytes())]).unwrap();
        let grants = &files.document.grants[0];
        prop_assert_eq!(grants.on.to_string(), "registered_model:a b: #1 {x}");
        prop_assert_eq!(grants.allow[0].to.to_string(), &*principal);
        prop_assert_eq!(grants.allow[0].reason.as_deref(), Some(&*reason));
        prop_assert_eq!(files.document.groups[0].members[0].to_string(), &*principal);
    }
}
