//! What Tracegate says of itself stands in `docs/OPERATING.md`, and nothing stands there that it does not say:
//! each metric, and each line of the log from a warning on, with its fields.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::callers::Who;
use crate::support::gateway::Gateway;
use crate::support::raw_http::Request;

fn guide() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATING.md")).unwrap()
}

/// The cells of the table that follows a heading, row by row.
fn tables_under(heading: &str, text: &str) -> Vec<Vec<String>> {
    let section =
        text.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("no heading {heading}"));
    let level = heading.split(' ').next().unwrap();
    let ends = |line: &&str| {
        let hashes = line.split(' ').next().unwrap_or_default();
        !hashes.is_empty() && hashes.bytes().all(|byte| byte == b'#') && hashes.len() <= level.len()
    };
    let rows = section.lines().take_while(|line| !ends(line)).filter(|line| line.starts_with("| `"));
    // A bar within a cell is written `\|`.
    let cells = |line: &str| {
        let line = line.replace("\\|", "\u{0}");
        line.trim_matches('|').split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
    };
    rows.map(cells).collect()
}

/// What stands between backquotes.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[actix_rt::test]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let gateway = Gateway::start().await;
    gateway
        .call(Who::Reader, Request::get("/api/2.0/mlflow/experiments/get?experiment_id=1"))
        .await
        .expect(200);
    gateway
        .call(Who::Stranger, Request::get("/api/2.0/mlflow/experiments/get?experiment_id=1"))
        .await
        .expect(403);
    gateway.call(Who::Reader, Request::get("/no/such/route")).await.expect(404);
    // What has labels is there once it was counted.
    gateway.app.metrics.limited("requests_per_second");
    gateway.app.metrics.issuer_keys_failed("https://issuer.example", 0);
    let text = loop {
        // Who keeps archives up says again and again that there are none.
        let archive = ("1".to_owned(), false, std::time::Duration::ZERO);
        gateway.app.metrics.archives(std::iter::once(archive));
        let text = gateway.call(Who::Anonymous, Request::get("/metrics")).await.expect(200);
        let text = String::from_utf8(text.body).unwrap();
        if text.contains("tracegate_archive_lag_seconds{") && text.contains("tracegate_archive_stopped{") {
            break text;
        }
    };
    gateway.stop().await;
    let exported: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| {
            let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
            let total = if kind == "counter" { "_total" } else { "" };
            Some((format!("{name}{total}"), kind.to_owned()))
        })
        .collect();
    assert!(exported.len() > 15, "{text}");
    let documented: BTreeMap<String, String> = tables_under("## Metrics", &guide())
        .into_iter()
        .map(|cells| (cells[0].trim_matches('`').to_owned(), cells[1].clone()))
        .collect();
    assert_eq!(exported, documented, "left: /metrics; right: the table of docs/OPERATING.md");
    // Labels are named where a metric has any.
    let rows = tables_under("## Metrics", &guide());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, labels)) = line.split_once('{') else { continue };
        let name = name.trim_end_matches("_bucket");
        let row = rows.iter().find(|cells| cells[0].trim_matches('`') == name).unwrap();
        for label in labels.split('}').next().unwrap().split(',').filter_map(|pair| pair.split('=').next()) {
            let told = label == "le" || row.iter().any(|cell| quoted(cell).contains(label));
            assert!(told, "{name} has the label `{label}`, of which its row says nothing");
        }
    }
}

/// A line of the log: its level and its text.
type Message = (String, String);

/// The arguments of a call, split at the commas of its own level; what follows `open` up to its end.
fn arguments(source: &str) -> Vec<String> {
    let (mut depth, mut found, mut current) = (0usize, Vec::new(), String::new());
    let mut characters = source.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                current.push('"');
                while let Some(character) = characters.next() {
                    match character {
                        // A line that goes on in the next one, without its indentation.
                        '\\' => match characters.next() {
                            Some('\n') => {
                                let rest = characters.as_str().trim_start();
                                characters = rest.chars();
                            }
                            Some(escaped) => current.extend(['\\', escaped]),
                            None => break,
                        },
                        '"' => break,
                        other => current.push(other),
                    }
                }
                current.push('"');
            }
            '(' | '[' | '{' => {
                depth += 1;
                current.push(character);
            }
            ')' if depth == 0 => {
                found.push(current);
                found.retain(|argument| !argument.trim().is_empty());
                return found;
            }
            ')' | ']' | '}' => {
                depth -= 1;
                current.push(character);
            }
            ',' if depth == 0 => found.push(std::mem::take(&mut current)),
            other => current.push(other),
        }
    }
    panic!("a call that does not end")
}

/// What a source file logs at `warn` and `error`, with the fields.
fn logged(source: &str, found: &mut BTreeMap<Message, BTreeSet<String>>) {
    for level in ["warn", "error"] {
        for call in source.split(&format!("tracing::{level}!(")).skip(1) {
            let (mut text, mut fields) = (None, BTreeSet::new());
            for argument in arguments(call) {
                let argument = argument.trim();
                match argument.strip_prefix('"') {
                    Some(rest) => text = Some(rest.trim_end_matches('"').to_owned()),
                    None => {
                        let name = argument.split(" = ").next().unwrap_or(argument);
                        fields.insert(name.trim_start_matches(['%', '?']).to_owned());
                    }
                }
            }
            let text = text.unwrap_or_else(|| panic!("a {level} without a text: {call:.80}"));
            found.entry((level.to_owned(), text)).or_default().extend(fields);
        }
    }
}

fn in_directory(directory: &Path, found: &mut BTreeMap<Message, BTreeSet<String>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" {
                in_directory(&path, found);
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            logged(&std::fs::read_to_string(&path).unwrap(), found);
        }
    }
}

#[test]
fn every_warning_and_error_is_documented_with_what_to_do() {
    let mut said = BTreeMap::new();
    in_directory(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut said);
    assert!(said.len() > 40, "{said:?}");
    let mut documented = BTreeMap::new();
    for cells in tables_under("### Warnings and errors", &guide()) {
        let [text, level, fields, means, action] = cells.as_slice() else { panic!("five cells: {cells:?}") };
        assert!(!means.is_empty() && !action.is_empty(), "{text}: say what it means and what to do");
        let key = (level.clone(), text.trim_matches('`').to_owned());
        assert!(documented.insert(key, quoted(fields)).is_none(), "{text} stands twice");
    }
    let lacks: Vec<String> = said
        .iter()
        .filter(|(message, fields)| documented.get(*message) != Some(*fields))
        .map(|((level, text), fields)| {
            let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
            format!("| `{text}` | {level} | {} | … | … |", fields.join(", "))
        })
        .collect();
    assert!(lacks.is_empty(), "rows that docs/OPERATING.md lacks, or has otherwise:\n{}", lacks.join("\n"));
    let gone: Vec<&Message> = documented.keys().filter(|message| !said.contains_key(*message)).collect();
    assert!(gone.is_empty(), "nothing logs these any more: {gone:#?}");
}

#[test]
fn a_log_line_is_read_off_the_source_whole() {
    let mut found = BTreeMap::new();
    let source = r#"
        tracing::warn!(issuer = %self.config("a, b"), ?cut, "a text; with (brackets), and commas \
             over two lines");
        tracing::error!("alone");
        tracing::info!("not this one");
    "#;
    logged(source, &mut found);
    let texts: Vec<(&str, &str, Vec<&str>)> = found
        .iter()
        .map(|((level, text), fields)| {
            (level.as_str(), text.as_str(), fields.iter().map(String::as_str).collect())
        })
        .collect();
    assert_eq!(
        texts,
        [
            ("error", "alone", vec![]),
            ("warn", "a text; with (brackets), and commas over two lines", vec!["cut", "issuer"]),
        ]
    );
}
