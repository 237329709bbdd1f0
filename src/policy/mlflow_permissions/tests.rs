use super::*;
use crate::access::{Grant, GrantId};
use crate::clock::UnixMillis;

const NOW: UnixMillis = UnixMillis(1_000);

fn levels() -> Levels {
    Levels::builtin().unwrap()
}

fn ann() -> Principal {
    Principal::user("ann").unwrap()
}

fn held(grants: Vec<NewGrant>) -> Vec<Grant> {
    let with_id = |(index, grant)| Grant {
        id: GrantId(index as i64 + 1),
        grant,
        granted_by: "user:root".to_owned(),
        granted_at: UnixMillis(0),
    };
    grants.into_iter().enumerate().map(with_id).collect()
}

fn grant(securable: &str, privilege: &str, effect: Effect) -> NewGrant {
    NewGrant {
        principal: ann(),
        securable: securable.parse().unwrap(),
        privilege: privilege.to_owned(),
        effect,
        reason: None,
        expires_at: None,
    }
}

fn told(grants: Vec<NewGrant>) -> Vec<String> {
    let rows = rows(&levels(), &held(grants), NOW);
    rows.iter()
        .map(|row| {
            format!("{} {} {}", row.resource.kind.as_str(), row.resource.pattern(), row.permission.as_str())
        })
        .collect()
}

#[test]
fn what_is_written_is_read_back() {
    for (kind, pattern) in [
        ("experiment", "12"),
        ("experiment", "*"),
        ("registered_model", "a/b"),
        ("prompt", "greeting"),
        ("workspace", "*"),
    ] {
        for permission in Permission::ALL {
            let resource = Resource::parse(kind, pattern).unwrap();
            let Ok(grants) = resource.grants(&levels(), &ann(), permission) else {
                assert!(kind == "workspace" && !matches!(permission, Permission::Use | Permission::Manage));
                continue;
            };
            assert_eq!(told(grants.clone()), [format!("{kind} {pattern} {}", permission.as_str())]);
            let all: Vec<GrantId> = held(grants.clone()).iter().map(|grant| grant.id).collect();
            let row = rows(&levels(), &held(grants), NOW).remove(0);
            assert_eq!((row.grants, row.fixed), (all, None));
            assert_eq!(Row::grant_of(row.id), GrantId(1));
        }
    }
}

#[test]
fn what_an_experiments_manager_may_do_is_manage() {
    let level = levels().set("CAN_MANAGE".parse().unwrap());
    let kinds = [
        (ResourceType::Experiment, SecurableKind::Experiment),
        (ResourceType::RegisteredModel, SecurableKind::RegisteredModel),
        (ResourceType::Prompt, SecurableKind::RegisteredModel),
    ];
    for (kind, on) in kinds {
        let has = level.both(levels().applicable(on));
        assert_eq!(kind.nearest(&levels(), has), Some(Permission::Manage));
    }
}

#[test]
fn a_permission_on_all_experiments_gives_nothing_on_models_and_warehouses() {
    let all = Resource::parse("experiment", "*").unwrap();
    for permission in Permission::ALL {
        for grant in all.grants(&levels(), &ann(), permission).unwrap() {
            for other in ["model.read", "model.write", "model.delete", "model.manage", "model.create"] {
                assert!(!levels().gives(&grant.privilege, other.parse().unwrap()), "{grant:?}");
            }
            for other in ["warehouse.use", "warehouse.monitor", "warehouse.manage", "experiment.create"] {
                assert!(!levels().gives(&grant.privilege, other.parse().unwrap()), "{grant:?}");
            }
        }
    }
    let denied = all.grants(&levels(), &ann(), Permission::Deny).unwrap();
    assert!(denied.iter().all(|grant| grant.effect == Effect::Deny));
    assert!(denied.iter().any(|grant| grant.privilege == "trace.read"));
}

#[test]
fn all_models_without_all_prompts_is_refused_and_both_together_are_narrow() {
    for kind in ["registered_model", "prompt"] {
        let all = Resource::parse(kind, "*").unwrap();
        assert!(all.grants(&levels(), &ann(), Permission::Read).unwrap_err().contains("both"));
    }
    let both = Resource::grants_on_all_models(&levels(), &ann(), Permission::Edit);
    let names: Vec<&str> = both.iter().map(|grant| grant.privilege.as_str()).collect();
    assert_eq!(names, ["model.read", "model.write"]);
    assert_eq!(told(both), ["registered_model * EDIT", "prompt * EDIT"]);
}

#[test]
fn grants_made_elsewhere_are_never_overstated() {
    use Effect::{Allow, Deny};
    let on = |what: &[(&str, Effect)]| {
        told(what.iter().map(|(privilege, effect)| grant("experiment:1", privilege, *effect)).collect())
    };
    assert_eq!(on(&[("CAN_LIST", Allow)]), [""; 0]);
    assert_eq!(on(&[("CAN_INGEST", Allow)]), [""; 0]);
    assert_eq!(on(&[("trace.read", Allow)]), [""; 0]);
    assert_eq!(on(&[("CAN_ASSESS", Allow)]), ["experiment 1 READ"]);
    assert_eq!(on(&[("ALL", Allow)]), ["experiment 1 MANAGE"]);
    assert_eq!(on(&[("CAN_EDIT", Allow), ("CAN_READ", Allow)]), ["experiment 1 EDIT"]);
    assert_eq!(on(&[("CAN_MANAGE", Allow), ("trace.delete", Deny)]), ["experiment 1 READ"]);
    assert_eq!(on(&[("CAN_MANAGE", Allow), ("trace.read", Deny)]), [""; 0]);
    assert_eq!(on(&[("CAN_MANAGE", Allow), ("ALL", Deny)]), ["experiment 1 DENY"]);
    assert_eq!(told(vec![grant("folder:/a", "CAN_READ", Allow)]), [""; 0]);
    let mut ended = grant("experiment:1", "CAN_READ", Allow);
    ended.expires_at = Some(NOW);
    assert_eq!(told(vec![ended]), [""; 0]);
}

#[test]
fn a_level_on_the_workspace_shows_as_all_that_it_reaches_and_cannot_be_split() {
    let grants = held(vec![grant("workspace:default", "CAN_READ", Effect::Allow)]);
    let rows = rows(&levels(), &grants, NOW);
    let ids: std::collections::BTreeSet<i64> = rows.iter().map(|row| row.id).collect();
    assert_eq!((rows.len(), ids.len()), (3, 3));
    assert!(rows.iter().all(|row| row.permission == Permission::Read && row.fixed.is_some()));
    let created = vec![
        grant("workspace:default", "experiment.create", Effect::Allow),
        grant("workspace:default", "model.create", Effect::Allow),
    ];
    assert_eq!(told(created), ["workspace * USE"]);
}

#[test]
fn a_denial_that_is_not_shown_stays_when_what_is_shown_goes() {
    let grants = held(vec![
        grant("experiment:1", "CAN_EDIT", Effect::Allow),
        grant("experiment:1", "trace.delete", Effect::Deny),
    ]);
    let row = rows(&levels(), &grants, NOW).remove(0);
    assert_eq!((row.permission, row.grants), (Permission::Read, vec![GrantId(1)]));
}

#[test]
fn what_cannot_be_granted_says_why() {
    for (kind, pattern, part) in [
        ("gateway_endpoint", "*", "for administrators"),
        ("scorer", "1/x", "no grants on a `scorer`"),
        ("trace", "*", "no grants on a `trace`"),
        ("Experiment", "1", "not a resource type"),
        ("experiment", "not an id!", ""),
        ("experiment", "", ""),
        ("workspace", "default", "on `*`"),
    ] {
        let problem = Resource::parse(kind, pattern).unwrap_err();
        assert!(problem.contains(part), "{kind}: {problem}");
    }
    for bad in ["read", "NO_PERMISSIONS", "", "CAN_READ"] {
        assert!(Permission::parse(bad).is_err(), "{bad}");
    }
}
