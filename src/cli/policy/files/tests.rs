//! Good files, and bad ones with exactly what is said of them.

use super::*;

fn read(texts: &[(&str, &str)]) -> anyhow::Result<Files> {
    Files::parse(texts.iter().map(|(name, text)| (*name, text.as_bytes())))
}

fn complaints(texts: &[(&str, &str)]) -> Vec<String> {
    let error = read(texts).expect_err("the files are bad").to_string();
    error.lines().skip(1).map(str::to_owned).collect()
}

const GOOD: &str = "\
version: 1
groups:
  - group: analysts
    members: [user:bob, group:juniors]
grants:
  - on: experiment:1
    allow:
      - {to: group:analysts, privilege: CAN_READ, until: 2026-12-31T00:00:00Z, reason: quarterly review}
      - to: 'user:ann'
        privilege: USE CATALOG
    deny: []
expect:
  - {principal: user:bob, on: experiment:1, may: [trace.read], may_not: [trace.write]}
";

#[test]
fn a_file_is_read_and_every_part_knows_its_place() {
    let text = GOOD.replace("USE CATALOG", "CAN_EDIT");
    let files = read(&[("team.yaml", &text)]).unwrap();
    let document = &files.document;
    assert_eq!(document.scope, Scope::Listed);
    assert_eq!(document.groups[0].group.to_string(), "group:analysts");
    assert_eq!(document.groups[0].members.len(), 2);
    let grant = &document.grants[0].allow[0];
    assert_eq!(grant.until.map(|until| until.0), Some(1_798_675_200_000));
    assert_eq!(grant.reason.as_deref(), Some("quarterly review"));
    assert_eq!(document.expect[0].may_not[0], Privilege::TraceWrite);
    assert_eq!(files.place("grants[0].allow[1]"), "team.yaml:9:9");
    assert_eq!(files.place("expect[0]"), "team.yaml:13:5");
    assert_eq!(files.place("groups[0].members[1]"), "team.yaml:4:25");
    // A part that has no place of its own stands where what holds it stands.
    assert_eq!(files.place("grants[0].deny[4]"), "team.yaml:6:5");
}

#[test]
fn what_is_granted_must_mean_something_there() {
    assert_eq!(
        complaints(&[("a.yaml", GOOD)]),
        ["a.yaml:9:9: `USE_CATALOG` means nothing on `experiment:1`"]
    );
}

#[test]
fn every_problem_of_every_file_is_told_at_once() {
    let first = "\
version: 2
scope: everything
group: x
groups:
  - group: user:bob
    members: [bob, 7]
  - members: []
grants:
  - on: experiment:01
    allow: {to: user:bob}
  - on: experiment:1
    allow:
      - {to: user:bob, privilege: CAN_FLY}
      - {to: user:bob, privilege: CAN_READ, until: tomorrow}
      - {privilege: CAN_READ, reason: [x]}
      - nobody
expect:
  - {principal: user:bob, on: experiment:1}
  - {principal: user:bob, on: experiment:1, may: [fly], may_not: []}
";
    let second = "version: 1\ngrants:\n  - {on: experiment:1}\n";
    assert_eq!(
        complaints(&[("one.yaml", first), ("two.yaml", second), ("three.yaml", "version: 1\n\tx")]),
        [
            "one.yaml:1:10: `version` must be 1",
            "one.yaml:2:8: `scope` must be `listed` or `all`",
            "one.yaml:3:1: `group` is not known here; there is `version`, `scope`, `groups`, `grants` and `expect`",
            "one.yaml:5:5: `user:bob` is not a group and cannot have members",
            "one.yaml:6:15: `bob` is not a principal (`user:NAME`, `service_principal:NAME` or `group:NAME`)",
            "one.yaml:6:20: expected a text, found 7; put it in quotes if it is meant as one",
            "one.yaml:7:5: `group` is missing",
            "one.yaml:9:9: `01` is not an experiment id (decimal digits)",
            "one.yaml:10:12: `allow` must be a list, not a map",
            "one.yaml:13:9: `CAN_FLY` is not a level (such as `CAN_READ`) or a privilege (such as `trace.read` or `SELECT`)",
            "one.yaml:14:52: `until` must be a time such as `2026-12-31T00:00:00Z`",
            "one.yaml:15:9: `to` is missing",
            "one.yaml:15:39: expected a text, found a list",
            "one.yaml:16:9: expected a map with `to`, `privilege`, `until` and `reason`, found a text",
            "one.yaml:18:5: expects nothing; name privileges in `may` or `may_not`",
            "one.yaml:19:5: expects nothing; name privileges in `may` or `may_not`",
            "one.yaml:19:51: `fly` is not a privilege (such as `trace.read` or `SELECT`)",
            "two.yaml:3:5: `experiment:1` is listed twice; first at one.yaml:11:5",
            "three.yaml:1:10: while scanning a plain scalar, found a tab",
        ]
    );
}

#[test]
fn two_files_may_not_speak_of_one_thing() {
    let one = "version: 1\nscope: all\ngroups:\n- {group: a, members: []}\n";
    let two = "version: 1\nscope: listed\ngroups:\n- {group: 'group:a', members: [user:x, user:x]}\n";
    assert_eq!(
        complaints(&[("one.yaml", one), ("two.yaml", two)]),
        [
            "two.yaml:2:8: `scope` differs from the one at one.yaml:2:8",
            "two.yaml:4:3: `group:a` is listed twice; first at one.yaml:4:3",
            "two.yaml:4:40: `user:x` is listed twice; first at two.yaml:4:32",
        ]
    );
}

#[test]
fn a_catalog_name_in_another_case_is_the_same_securable() {
    let text = "version: 1\ngrants:\n- {on: 'table:Main.a.b'}\n- {on: 'table:main.A.b'}\n";
    assert_eq!(complaints(&[("x", text)]), ["x:4:3: `table:main.a.b` is listed twice; first at x:3:3"]);
}

#[test]
fn one_securable_has_one_owner_and_ownership_does_not_end() {
    let text = "version: 1
grants:
- on: table:a.b.c
  allow:
  - {to: user:x, privilege: OWNER}
  - {to: user:y, privilege: OWNER, until: 2030-01-01}
  deny:
  - {to: user:z, privilege: OWNER}
";
    let all = complaints(&[("x", text)]);
    assert_eq!(
        all,
        [
            "x:6:5: `OWNER` is an allow without an end",
            "x:6:5: `table:a.b.c` has two owners; first at x:5:5",
            "x:8:5: `OWNER` is an allow without an end",
            "x:8:5: `table:a.b.c` has two owners; first at x:5:5",
        ]
    );
}

#[test]
fn what_cannot_be_read_plainly_is_refused() {
    let refused = |text: &str| complaints(&[("x", text)]).remove(0);
    for (text, at, part) in [
        ("version: 1\nversion: 1\n", "x:2:1", "version"),
        ("version: 1\ngroups: &a []\ngrants: *a\n", "x:", "anchor"),
        ("version: 1\n<<: {groups: []}\n", "x:2:1", "merge"),
        ("version: 1\n---\nversion: 1\n", "x:", "document"),
        ("version: 1\ngroups: !include other.yaml\n", "x:2", "tag"),
        ("version: 1\ngroups: [", "x:", ""),
        ("", "x:1:1", "expected a map"),
        ("- version: 1\n", "x:1:1", "expected a map"),
        ("true", "x:1:1", "expected a map"),
    ] {
        let complaint = refused(text);
        assert!(complaint.starts_with(at), "{text:?}: {complaint}");
        assert!(complaint.to_lowercase().contains(part), "{text:?}: {complaint}");
        assert!(!complaint.contains('\n'), "{complaint}");
    }
    let mut deep = "version: 1\ngroups: ".to_owned();
    deep.push_str(&"[".repeat(5000));
    assert!(refused(&deep).starts_with("x:2:"), "{}", refused(&deep));
    let binary = Files::parse([("x", &[0xff, 0xfe, 0x00][..])]).unwrap_err().to_string();
    assert!(binary.contains("x:1:1: is not UTF-8"), "{binary}");
}

/// What would expand without end elsewhere is refused at its first reference.
#[test]
fn a_bomb_of_aliases_does_not_go_off() {
    let mut bomb = "version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let previous = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{previous}]\n"));
    }
    assert_eq!(complaints(&[("bomb.yaml", &bomb)]).len(), 1);
}

#[test]
fn directories_are_read_in_the_order_of_their_names_and_other_files_are_left() {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("teams");
    std::fs::create_dir(&inside).unwrap();
    for (name, group) in [("b.yaml", "b"), ("a.yml", "a"), ("teams/c.yaml", "c")] {
        let text = format!("version: 1\ngroups: [{{group: {group}, members: []}}]\n");
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    std::fs::write(directory.path().join("notes.txt"), "no policy").unwrap();
    let files = Files::read(&[directory.path().to_owned()]).unwrap();
    let groups: Vec<String> = files.document.groups.iter().map(|entry| entry.group.to_string()).collect();
    assert_eq!(groups, ["group:a", "group:b", "group:c"]);
    std::fs::remove_dir_all(&inside).unwrap();
    let empty = tempfile::tempdir().unwrap();
    assert!(Files::read(&[empty.path().to_owned()]).unwrap_err().to_string().contains("no policy files"));
    assert!(Files::read(&[empty.path().join("none.yaml")]).is_err());
}
