//! Every operation × every kind of caller, as a text that a person can read and a change must touch.
//!
//! Made from the manifest and `policies/levels.csv` alone. `UPDATE_GOLDEN=1` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use super::super::{Access, Handling, Manifest, Need, Operation, Target};
use crate::access::{LEVELS, Privilege};

const HEADING: &str = "\
# Who may call what. Each caller holds the level on everything that the call names, and nothing on the workspace.
#   allow   yes                              narrow  yes, and the answer is cut down to what the caller may see
#   deny    no                               own     yes, for a trace that the caller started itself
#   partly  yes, unless the call names one of the optional things (UPDATE_GOLDEN=1 writes this file)
";

type Levels = BTreeMap<String, BTreeSet<Privilege>>;

fn levels() -> Levels {
    let mut levels = Levels::new();
    for line in include_str!("../../../../policies/levels.csv").lines().skip(1) {
        let (level, privilege) = line.split_once(',').unwrap();
        assert!(
            levels.entry(level.to_owned()).or_default().insert(privilege.parse().unwrap()),
            "{line} stands twice"
        );
    }
    levels
}

/// Whether the handling cuts an answer down for a caller who holds just these.
fn narrows(operation: &Operation, held: &BTreeSet<Privilege>) -> bool {
    match operation.handling {
        Handling::ExperimentSearch
        | Handling::ModelSearch
        | Handling::ModelVersionSearch
        | Handling::ScorerConfigs
        | Handling::GraphQl => true,
        Handling::TracePage => !held.contains(&Privilege::TraceRead),
        _ => false,
    }
}

fn answer(operation: &Operation, held: &BTreeSet<Privilege>) -> &'static str {
    let mut answer = "allow";
    let holds = |need: &Need| need.target != Target::Workspace && held.contains(&need.privilege);
    for need in operation.needs.iter().filter(|need| !need.optional) {
        if holds(need) {
            continue;
        }
        match need.own {
            Some(own) if held.contains(&own) => answer = "own",
            _ => return "deny",
        }
    }
    if narrows(operation, held) {
        return "narrow";
    }
    if operation.needs.iter().any(|need| need.optional && !holds(need)) { "partly" } else { answer }
}

fn row(operation: &Operation, levels: &Levels) -> Vec<&'static str> {
    let nothing = BTreeSet::new();
    let mut row = Vec::new();
    let fixed = match operation.access {
        Access::Public => Some("allow"),
        Access::Refused => Some("deny"),
        Access::Authenticated | Access::Needs => None,
    };
    row.push(fixed.unwrap_or("deny"));
    row.push(fixed.unwrap_or_else(|| answer(operation, &nothing)));
    row.extend(LEVELS.iter().map(|level| fixed.unwrap_or_else(|| answer(operation, &levels[*level]))));
    row.push(fixed.unwrap_or("allow"));
    row
}

#[test]
fn the_policy_matrix_is_the_golden_one() {
    let levels = levels();
    assert_eq!(levels.keys().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(LEVELS));
    let manifest = Manifest::builtin().unwrap();
    let mut matrix = HEADING.to_owned();
    let columns: Vec<&str> = ["anonymous", "nothing"].into_iter().chain(LEVELS).chain(["admin"]).collect();
    let width = manifest.operations().iter().map(|operation| operation.name.len()).max().unwrap();
    for (name, cells) in std::iter::once(("operation", columns)).chain(
        manifest.operations().iter().map(|operation| (operation.name.as_str(), row(operation, &levels))),
    ) {
        let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:<10}")).collect();
        writeln!(matrix, "{}", format!("{name:<width$}  {}", cells.join(" ")).trim_end()).unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/policy_matrix.txt");
    if option_env!("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &matrix).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap();
    for (ours, golden) in matrix.lines().zip(golden.lines()) {
        assert_eq!(ours, golden, "a change of meaning: review it, then UPDATE_GOLDEN=1");
    }
    assert_eq!(matrix.len(), golden.len());
}

#[test]
fn levels_are_closed_and_hold_what_the_design_says() {
    let levels = levels();
    let within = |lesser: &str, greater: &str| {
        assert!(levels[lesser].is_subset(&levels[greater]), "{lesser} {greater}")
    };
    within("CAN_LIST", "CAN_READ");
    within("CAN_READ", "CAN_ASSESS");
    within("CAN_ASSESS", "CAN_EDIT");
    within("CAN_EDIT", "CAN_MANAGE");
    assert_eq!(levels["CAN_INGEST"], BTreeSet::from([Privilege::ExperimentView, Privilege::TraceWrite]));
    assert_eq!(levels["CAN_LIST"], BTreeSet::from([Privilege::ExperimentView, Privilege::TraceList]));
    for workspace in [
        Privilege::ExperimentCreate,
        Privilege::ModelCreate,
        Privilege::GatewayManage,
        Privilege::WebhookManage,
        Privilege::McpManage,
        Privilege::JobManage,
        Privilege::AssistantUse,
        Privilege::WorkspaceManage,
        Privilege::IdentityManage,
        Privilege::PolicyRead,
        Privilege::PolicyManage,
        Privilege::AuditRead,
    ] {
        assert!(levels.values().all(|held| !held.contains(&workspace)), "{workspace}");
    }
}
