//! Plans in words.

use serde_json::json;

use super::*;

fn files() -> Files {
    let text = "version: 1\ngrants:\n- {on: experiment:1}\nexpect:\n- {principal: user:bob, on: experiment:1, may: [trace.read]}\n";
    Files::parse([("team.yaml", text.as_bytes())]).unwrap()
}

#[test]
fn a_plan_says_what_changes_who_loses_what_and_which_calls_would_be_refused() {
    let plan = json!({
        "policy_version": 12,
        "changes": [
            {"what": "membership", "change": "added", "group": "group:a", "member": "user:x", "place": "team.yaml:4:5"},
            {"what": "grant", "change": "removed", "principal": "group:a", "securable": "experiment:1",
             "privilege": "CAN_READ", "effect": "allow", "reason": null, "expires_at_ms": null},
            {"what": "grant", "change": "changed", "principal": "user:x", "securable": "experiment:2",
             "privilege": "CAN_EDIT", "effect": "deny", "reason": "why", "expires_at_ms": 0,
             "before": {"expires_at_ms": null, "reason": null}, "place": "team.yaml:9:9"},
        ],
        "new_principals": ["user:x"],
        "ended": ["team.yaml:7:1"],
        "loses": [
            {"principal": "user:bob", "securable": "experiment:1", "name": "support-bot", "privileges": ["trace.list", "trace.read"]},
            {"principal": "group:users", "securable": "experiment:1", "privileges": ["trace.list"]},
            {"principal": "group:a", "securable": "experiment:1", "privileges": ["trace.list"]},
        ],
        "losing_pairs": 5,
        "gains": [], "gaining_pairs": 0, "complete": false,
        "expectations": 1,
        "failures": [{"place": "team.yaml:5:3", "principal": "user:bob", "on": "experiment:1",
            "privilege": "trace.read", "expected": "allow", "reason": "no grant gives it"}],
        "replay": {"days": 7, "complete": true, "unreadable": 0, "calls": 40, "already_otherwise": 2,
            "would_be_refused": [{"principal": "user:bob", "securable": "experiment:1",
                "privilege": "trace.read", "calls": 12, "certain": true}],
            "would_be_allowed": [{"principal": "user:x", "securable": "experiment:1",
                "privilege": "trace.read", "calls": 1, "certain": false}]},
    });
    assert_eq!(
        describe(&plan, &files()).join("\n"),
        "\
3 changes at policy version 12:
  + user:x in group:a  (team.yaml:4:5)
  - allow CAN_READ to group:a on experiment:1
  ~ deny CAN_EDIT to user:x on experiment:2 until 1970-01-01T00:00:00Z (why); before without end or reason  (team.yaml:9:9)
`user:x` is not known yet; is the name right?
team.yaml:7:1: has ended and is not granted
loses access:
  user:bob on experiment:1 (support-bot): trace.list, trace.read
  everybody else on experiment:1: trace.list
  whose credential says group:a on experiment:1: trace.list
  5 pairs altogether; the rest is not listed
gains access: nobody
there was more to compare than is compared at once: these are not all
of 40 calls in the last 7 days:
  12 by user:bob would be refused: trace.read on experiment:1
  1 by user:x would perhaps be allowed: trace.read on experiment:1
  2 are decided otherwise today already, whatever is planned
1 of 1 expectations are not met:
team.yaml:5:3: `user:bob` does not have `trace.read` on `experiment:1`: no grant gives it"
    );
}

#[test]
fn a_plan_without_changes_is_short() {
    let plan = json!({"policy_version": 3, "changes": [], "new_principals": [], "ended": [], "expectations": 1, "failures": []});
    let lines = describe(&plan, &files());
    assert_eq!(lines, ["nothing would change (policy version 3)", "all of 1 expectations are met"]);
}

#[test]
fn a_refusal_names_the_place_in_the_file() {
    let error = anyhow::anyhow!("400: policy grants[0]: is wrong; first at expect[0] (decision 7)");
    let message = with_places(&error, &files()).to_string();
    assert_eq!(message, "400: policy team.yaml:3:3: is wrong; first at team.yaml:5:3 (decision 7)");
}
