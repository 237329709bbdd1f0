//! Reads every migration: what was released does not change, and what is new only adds, so that the version
//! before can work beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Migrations by path, below `migrations`.
fn files() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files = BTreeMap::new();
    for directory in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()) {
        if !directory.is_dir() {
            continue;
        }
        for file in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            let name = file.strip_prefix(root.parent().unwrap()).unwrap().to_str().unwrap().to_owned();
            files.insert(name, fs::read_to_string(&file).unwrap());
        }
    }
    files
}

/// What was released, by path, with its SHA-256.
fn released() -> BTreeMap<String, String> {
    let list = include_str!("../../../migrations/released.sha256");
    list.lines()
        .map(|line| line.split_once("  ").unwrap())
        .map(|(hash, path)| (path.to_owned(), hash.to_owned()))
        .collect()
}

/// Statements in capitals, word by word, without comments and with texts emptied.
fn statements(sql: &str) -> Vec<Vec<String>> {
    let mut bare = String::new();
    let mut rest = sql;
    while let Some(next) = rest.chars().next() {
        let (skip, instead) = match next {
            '-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), " "),
            '/' if rest.starts_with("/*") => (rest.find("*/").map_or(rest.len(), |end| end + 2), " "),
            '\'' => (rest[1..].find('\'').map_or(rest.len(), |end| end + 2), " '' "),
            _ => (next.len_utf8(), &rest[..next.len_utf8()]),
        };
        bare.push_str(instead);
        rest = &rest[skip..];
    }
    let words = |statement: &str| {
        statement
            .split(|part: char| !(part.is_alphanumeric() || part == '_' || part == '\''))
            .filter(|word| !word.is_empty())
            .map(str::to_uppercase)
            .collect::<Vec<_>>()
    };
    bare.split(';').map(words).filter(|words| !words.is_empty()).collect()
}

/// Why a migration does more than add.
fn objection(sql: &str) -> Option<String> {
    let statements = statements(sql);
    let made: Vec<&str> = statements
        .iter()
        .filter(|words| words[0] == "CREATE")
        .filter_map(|words| words.iter().position(|word| word == "TABLE").map(|at| &words[at + 1..]))
        .filter_map(|rest| rest.iter().find(|word| !["IF", "NOT", "EXISTS"].contains(&word.as_str())))
        .map(String::as_str)
        .collect();
    statements.iter().find_map(|words| {
        let has = |wanted: &[&str]| words.windows(wanted.len()).any(|some| some == wanted);
        let begins = |wanted: &[&str]| words.len() >= wanted.len() && words[..wanted.len()] == *wanted;
        let named = |after: &str| {
            words.iter().position(|word| word == after).and_then(|at| words.get(at + 1)).map(String::as_str)
        };
        let own_table = |after: &str| named(after).is_some_and(|table| made.contains(&table));
        let wrong = begins(&["DROP"])
            || begins(&["TRUNCATE"])
            || begins(&["DELETE"])
            || begins(&["ALTER"]) && !begins(&["ALTER", "TABLE"])
            || begins(&["ALTER", "TABLE"])
                && !own_table("TABLE")
                && (!has(&["ADD", "COLUMN"])
                    || ["DROP", "RENAME", "TYPE", "ALTER", "CHECK", "UNIQUE", "CONSTRAINT", "REFERENCES"]
                        .iter()
                        .any(|word| words[2..].iter().any(|found| found == word))
                    || has(&["NOT", "NULL"]) && !has(&["DEFAULT"]))
            || begins(&["CREATE", "UNIQUE", "INDEX"]) && !own_table("ON")
            || begins(&["CREATE"]) && has(&["TRIGGER"]);
        wrong.then(|| words.join(" "))
    })
}

#[test]
fn what_was_released_does_not_change() {
    let files = files();
    let released = released();
    assert!(released.len() > 20);
    for (path, hash) in released {
        let found = files.get(&path).unwrap_or_else(|| panic!("{path} was released and is gone"));
        let found: String = Sha256::digest(found).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, hash, "{path} was released and has changed; databases refuse it");
    }
}

#[test]
fn what_is_new_only_adds() {
    let released = released();
    for (path, sql) in files() {
        if released.contains_key(&path) || path.ends_with("_incompatible.sql") {
            continue;
        }
        assert_eq!(objection(&sql), None, "{path} takes away; the version before could not work beside it");
    }
}

#[test]
fn each_state_schema_is_numbered_alike_on_both_databases() {
    let names = |directory: &str| -> Vec<String> {
        let prefix = format!("migrations/{directory}/");
        files().keys().filter_map(|path| path.strip_prefix(&prefix).map(str::to_owned)).collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
    assert_eq!(names("audit_sqlite"), names("audit_postgres"));
    assert_eq!(names("traces_sqlite"), names("traces_postgres"));
}

#[test]
fn what_takes_away_is_found_however_it_is_written() {
    for sql in [
        "DROP TABLE a",
        "create table b (id int); drop/**/table a",
        "-- fine\nALTER TABLE a RENAME TO b",
        "ALTER TABLE a RENAME COLUMN x TO y",
        "alter table a add column x text, drop column y",
        "ALTER TABLE a ALTER COLUMN x TYPE bigint",
        "ALTER TABLE a ADD COLUMN x TEXT NOT\nNULL",
        "ALTER TABLE a ADD CONSTRAINT c CHECK (x > 0)",
        "ALTER TABLE a ADD COLUMN x TEXT UNIQUE",
        "CREATE UNIQUE INDEX i ON a (x)",
        "CREATE TRIGGER t BEFORE INSERT ON a",
        "DELETE FROM a",
        "TRUNCATE a",
        "INSERT INTO a VALUES ('-- '); DROP TABLE a",
        "INSERT INTO a VALUES ('it''s; '); DROP TABLE a",
        "/* one */ DROP INDEX i",
    ] {
        assert!(objection(sql).is_some(), "{sql}");
    }
    for sql in [
        "CREATE TABLE a (id BIGINT NOT NULL UNIQUE); CREATE UNIQUE INDEX i ON a (id)",
        "ALTER TABLE a ADD COLUMN x TEXT",
        "ALTER TABLE a ADD COLUMN x TEXT NOT NULL DEFAULT 'drop; table'",
        "CREATE INDEX i ON a (x) -- DROP TABLE a",
        "INSERT INTO a VALUES ('; DROP TABLE a')",
        "UPDATE a SET x = 1 WHERE x IS NULL",
    ] {
        assert_eq!(objection(sql), None, "{sql}");
    }
}
