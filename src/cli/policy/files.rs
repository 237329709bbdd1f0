//! Policy files: found, read and checked together, so that every problem of every file is told at once.
//!
//! ```yaml
//! version: 1
//! groups:
//!   - group: analysts            # everybody who is in it directly
//!     members: [user:bob, group:juniors]
//! grants:
//!   - on: experiment:1           # every grant on it; what no file names stays as it is
//!     allow:
//!       - {to: group:analysts, privilege: CAN_READ, until: 2026-12-31T00:00:00Z, reason: quarterly review}
//! expect:
//!   - {principal: user:bob, on: experiment:1, may: [trace.read], may_not: [trace.write]}
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::time;
use super::yaml::{self, Kind, Node, Position};
use crate::access::{Principal, PrincipalKind, Privilege, Securable};
use crate::policy::plan::{Document, Expectation, GroupMembers, Scope, SecurableGrants, WrittenGrant};

/// All files together, in bytes; what is sent of them is about as large.
const BYTES: u64 = 16 * 1024 * 1024;
/// Folders within folders that are looked into.
const DEPTH: usize = 16;
/// Of more problems than this only the number is told.
const MOST_PROBLEMS: usize = 100;

/// What the files say together, and where each part of it stands.
#[derive(Debug)]
pub(super) struct Files {
    pub document: Document,
    places: Places,
}

/// A file by its number, and a position in it: in this order problems are told.
type Place = (usize, Position);

#[derive(Debug, Default)]
struct Places {
    files: Vec<String>,
    parts: HashMap<String, Place>,
}

impl Places {
    /// Where a part of the document stands, or else what holds it.
    fn find(&self, part: &str) -> Option<Place> {
        let mut known = part;
        loop {
            if let Some(place) = self.parts.get(known) {
                return Some(*place);
            }
            known = &known[..known.rfind(['.', '['])?];
        }
    }

    fn write(&self, (file, at): Place) -> String {
        format!("{}:{}:{}", self.files.get(file).map_or("", String::as_str), at.line, at.column)
    }
}

impl Files {
    /// Reads files, and from directories everything that ends in `.yaml` or `.yml`.
    pub fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            find(path, 0, &mut files)?;
        }
        anyhow::ensure!(!files.is_empty(), "no policy files: no name there ends in `.yaml` or `.yml`");
        let mut texts = Vec::new();
        let mut bytes = 0;
        for file in &files {
            let failed = |error: std::io::Error| anyhow::anyhow!("{}: {error}", file.display());
            bytes += std::fs::metadata(file).map_err(failed)?.len();
            anyhow::ensure!(bytes <= BYTES, "the policy files are larger than {BYTES} bytes together");
            texts.push((file.display().to_string(), std::fs::read(file).map_err(failed)?));
        }
        Self::parse(texts.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())))
    }

    /// Reads files that are in memory, each with its name.
    pub fn parse<'t>(texts: impl IntoIterator<Item = (&'t str, &'t [u8])>) -> anyhow::Result<Self> {
        let mut reader = Reader::default();
        for (name, bytes) in texts {
            reader.file(name, bytes);
        }
        reader.finish()
    }

    /// Where a part of the document stands: `grants[2].allow[0]` becomes `FILE:LINE:COLUMN`.
    pub fn place(&self, part: &str) -> String {
        self.places.find(part).map_or_else(|| part.to_owned(), |place| self.places.write(place))
    }
}

fn find(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let failed = |error: std::io::Error| anyhow::anyhow!("{}: {error}", path.display());
    if !path.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    anyhow::ensure!(depth < DEPTH, "{}: folders are nested deeper than {DEPTH}", path.display());
    let mut inside = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        inside.push(entry.map_err(failed)?.path());
    }
    inside.sort();
    for path in inside {
        let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if path.is_dir() || yaml {
            find(&path, depth + 1, found)?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Reader {
    document: Document,
    /// The scope that a file stated, and where.
    scope: Option<(Scope, Place)>,
    places: Places,
    problems: Vec<(Place, String)>,
}

/// A map whose keys are known ones.
struct Fields<'n> {
    at: Position,
    entries: HashMap<&'n str, &'n Node>,
}

impl Reader {
    fn finish(mut self) -> anyhow::Result<Files> {
        self.document.scope = self.scope.as_ref().map_or(Scope::Listed, |(scope, _)| *scope);
        for problem in self.document.problems() {
            let first = problem.other.and_then(|first| self.places.find(&first));
            let first = first.map(|first| format!("; first at {}", self.places.write(first)));
            let reason = problem.reason + first.as_deref().unwrap_or_default();
            let start = Position { line: 1, column: 1 };
            self.problems.push((self.places.find(&problem.place).unwrap_or((0, start)), reason));
        }
        if self.problems.is_empty() {
            return Ok(Files { document: self.document, places: self.places });
        }
        let count = self.problems.len();
        self.problems.sort_by_key(|(place, _)| *place);
        self.problems.truncate(MOST_PROBLEMS);
        let line = |(place, reason): &(Place, String)| format!("{}: {reason}", self.places.write(*place));
        let mut lines: Vec<String> = self.problems.iter().map(line).collect();
        if count > MOST_PROBLEMS {
            lines.push(format!("{} more are not told", count - MOST_PROBLEMS));
        }
        let plural = if count == 1 { "problem" } else { "problems" };
        anyhow::bail!("{count} {plural} in the policy files; nothing was applied\n{}", lines.join("\n"))
    }

    fn file(&mut self, name: &str, bytes: &[u8]) {
        self.places.files.push(name.to_owned());
        let start = Position { line: 1, column: 1 };
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self.problem(start, "is not UTF-8");
        };
        match yaml::parse(text) {
            Ok(node) => self.top(&node),
            Err((at, reason)) => self.problem(at, &reason),
        }
    }

    fn problem(&mut self, at: Position, reason: &str) {
        self.problems.push((self.here(at), reason.to_owned()));
    }

    fn here(&self, at: Position) -> Place {
        (self.places.files.len().saturating_sub(1), at)
    }

    fn note(&mut self, part: String, at: Position) {
        let place = self.here(at);
        self.places.parts.insert(part, place);
    }

    fn top(&mut self, node: &Node) {
        let Some(fields) = self.fields(node, &["version", "scope", "groups", "grants", "expect"]) else {
            return;
        };
        match fields.entries.get("version").map(|node| (&node.kind, node.at)) {
            Some((Kind::Other(version), _)) if version == "1" => {}
            Some((_, at)) => self.problem(at, "`version` must be 1"),
            None => self.problem(fields.at, "`version: 1` is missing"),
        }
        if let Some(node) = fields.entries.get("scope") {
            self.read_scope(node);
        }
        for node in self.list(&fields, "groups") {
            self.group(node);
        }
        for node in self.list(&fields, "grants") {
            self.grants(node);
        }
        for node in self.list(&fields, "expect") {
            self.expectation(node);
        }
    }

    fn read_scope(&mut self, node: &Node) {
        let scope = match &node.kind {
            Kind::Text(text) if text == "listed" => Scope::Listed,
            Kind::Text(text) if text == "all" => Scope::All,
            _ => return self.problem(node.at, "`scope` must be `listed` or `all`"),
        };
        match self.scope {
            Some((other, first)) if other != scope => {
                let reason = format!("`scope` differs from the one at {}", self.places.write(first));
                self.problem(node.at, &reason);
            }
            _ => self.scope = Some((scope, self.here(node.at))),
        }
    }

    fn group(&mut self, node: &Node) {
        let Some(fields) = self.fields(node, &["group", "members"]) else { return };
        let group = self.needed(&fields, "group").and_then(|node| self.group_name(node));
        let index = self.document.groups.len();
        if !fields.entries.contains_key("members") {
            self.problem(fields.at, "`members` is missing; write `members: []` for a group without any");
        }
        let mut members = Vec::new();
        for node in self.list(&fields, "members") {
            if let Some(member) = self.parsed::<Principal>(node) {
                self.note(format!("groups[{index}].members[{}]", members.len()), node.at);
                members.push(member);
            }
        }
        if let Some(group) = group {
            self.note(format!("groups[{index}]"), fields.at);
            self.document.groups.push(GroupMembers { group, members });
        }
    }

    /// A group's name, with or without its kind.
    fn group_name(&mut self, node: &Node) -> Option<Principal> {
        let name = self.text(node)?;
        let kinds = PrincipalKind::ALL.map(|kind| format!("{}:", kind.as_str()));
        if kinds.iter().any(|kind| name.starts_with(kind)) {
            return self.parsed(node);
        }
        let group = Principal::group(name);
        self.or_problem(node, group)
    }

    fn grants(&mut self, node: &Node) {
        let Some(fields) = self.fields(node, &["on", "allow", "deny"]) else { return };
        let on = self.needed(&fields, "on").and_then(|node| self.parsed::<Securable>(node));
        let index = self.document.grants.len();
        let mut lists = [Vec::new(), Vec::new()];
        for (list, name) in lists.iter_mut().zip(["allow", "deny"]) {
            for node in self.list(&fields, name) {
                if let Some(grant) = self.grant(node) {
                    self.note(format!("grants[{index}].{name}[{}]", list.len()), node.at);
                    list.push(grant);
                }
            }
        }
        if let Some(on) = on {
            self.note(format!("grants[{index}]"), fields.at);
            let [allow, deny] = lists;
            self.document.grants.push(SecurableGrants { on, allow, deny });
        }
    }

    fn grant(&mut self, node: &Node) -> Option<WrittenGrant> {
        let fields = self.fields(node, &["to", "privilege", "until", "reason"])?;
        let to = self.needed(&fields, "to").and_then(|node| self.parsed::<Principal>(node));
        let privilege = self.needed(&fields, "privilege").and_then(|node| self.text(node));
        let until = match fields.entries.get("until") {
            None => None,
            Some(node) => {
                let time = self.text(node).and_then(time::parse);
                if time.is_none() {
                    self.problem(node.at, "`until` must be a time such as `2026-12-31T00:00:00Z`");
                }
                time
            }
        };
        let reason = fields.entries.get("reason").and_then(|node| self.text(node)).map(str::to_owned);
        Some(WrittenGrant { to: to?, privilege: privilege?.to_owned(), until, reason })
    }

    fn expectation(&mut self, node: &Node) {
        let Some(fields) = self.fields(node, &["principal", "on", "may", "may_not"]) else { return };
        let principal = self.needed(&fields, "principal").and_then(|node| self.parsed::<Principal>(node));
        let on = self.needed(&fields, "on").and_then(|node| self.parsed::<Securable>(node));
        let mut lists = [Vec::new(), Vec::new()];
        for (list, name) in lists.iter_mut().zip(["may", "may_not"]) {
            for node in self.list(&fields, name) {
                list.extend(self.parsed::<Privilege>(node));
            }
        }
        if let (Some(principal), Some(on)) = (principal, on) {
            self.note(format!("expect[{}]", self.document.expect.len()), fields.at);
            let [may, may_not] = lists;
            self.document.expect.push(Expectation { principal, on, may, may_not });
        }
    }

    fn fields<'n>(&mut self, node: &'n Node, known: &[&str]) -> Option<Fields<'n>> {
        let Kind::Map(entries) = &node.kind else {
            let reason = format!("expected a map with {}, found {}", listed(known), node.describe());
            self.problem(node.at, &reason);
            return None;
        };
        let mut fields = Fields { at: node.at, entries: HashMap::new() };
        for (key, value) in entries {
            match &key.kind {
                Kind::Text(name) if known.contains(&name.as_str()) => {
                    fields.entries.insert(name, value);
                }
                Kind::Text(name) => {
                    let name: String = name.chars().take(80).collect();
                    self.problem(key.at, &format!("`{name}` is not known here; there is {}", listed(known)));
                }
                _ => self.problem(key.at, "a key must be a text"),
            }
        }
        Some(fields)
    }

    fn needed<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<&'n Node> {
        let found = fields.entries.get(name).copied();
        if found.is_none() {
            self.problem(fields.at, &format!("`{name}` is missing"));
        }
        found
    }

    fn list<'n>(&mut self, fields: &Fields<'n>, name: &str) -> &'n [Node] {
        match fields.entries.get(name).map(|node| (&node.kind, *node)) {
            Some((Kind::List(nodes), _)) => nodes,
            None => &[],
            Some((_, node)) => {
                let reason = format!("`{name}` must be a list, not {}", node.describe());
                self.problem(node.at, &reason);
                &[]
            }
        }
    }

    fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        match &node.kind {
            Kind::Text(text) => Some(text),
            Kind::Other(value) => {
                let reason =
                    format!("expected a text, found {value}; put it in quotes if it is meant as one");
                self.problem(node.at, &reason);
                None
            }
            _ => {
                let reason = format!("expected a text, found {}", node.describe());
                self.problem(node.at, &reason);
                None
            }
        }
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self, node: &Node) -> Option<T> {
        let parsed = self.text(node)?.parse();
        self.or_problem(node, parsed)
    }

    fn or_problem<T>(&mut self, node: &Node, result: Result<T, impl std::fmt::Display>) -> Option<T> {
        result.map_err(|error| self.problem(node.at, &error.to_string())).ok()
    }
}

/// `a`, `b` and `c`.
fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.join(""),
    }
}

#[cfg(test)]
mod tests;
