//! Renders `docs/CONFIGURATION.md` from this directory's own source: each key's meaning is its doc
//! comment, its type the field's, and its default what `Default` really gives. The test below fails when
//! the page and the code differ, so the page cannot grow old.
//!
//! A section's file holds `pub struct …Config` with `pub key: Type` fields, each below its `///` lines.

use std::collections::HashMap;
use std::fmt::{Debug, Write};

use super::Config;
use super::identity::{CertificateConfig, FederationConfig, IssuerConfig};

const HEADING: &str = "\
# Configuration

<!-- Written by `UPDATE_GOLDEN=1 cargo test --lib config::describe` from src/config. Do not edit. -->

Settings come from a TOML file (`tracegate serve --config FILE`) and from the environment, which beats the
file. The key `key` of the section `[section]` is the variable `TRACEGATE__SECTION__KEY`; a value that reads
as TOML (a number, `true`, a list) is taken as such, anything else as text. An unknown key and an unknown
section are errors. All bad values are reported together, at the start, each by its key.

Nothing must be set. Numbers whose unit is not said are counts. A key without a default is off, or
does what its line says.

The command line reads two more variables, to talk to a running gateway: `TRACEGATE_URL` and
`TRACEGATE_TOKEN`.

```toml
[server]
listen = \"0.0.0.0:5001\"
data_dir = \"/var/lib/tracegate\"
public_url = \"https://traces.example.com\"

[mlflow]
url = \"http://mlflow.internal:5000\"
username = \"tracegate\"
password_file = \"/run/secrets/mlflow\"

[identity]
username_claim = \"email\"
groups_claim = \"groups\"

[[identity.issuers]]
issuer = \"https://login.example.com\"
audience = [\"tracegate\"]
```
";

/// One struct of settings, as it stands in the source.
struct Table {
    /// `[server]`, or `[[identity.issuers]]` for a list of tables.
    title: String,
    doc: String,
    fields: Vec<Field>,
}

struct Field {
    key: String,
    kind: String,
    default: String,
    doc: String,
}

/// The whole page.
fn page() -> String {
    let config = Config::default();
    let identity = include_str!("identity.rs");
    let tables = [
        table("[server]", include_str!("server.rs"), "ServerConfig", &config.server),
        table("[mlflow]", include_str!("mlflow.rs"), "MlflowConfig", &config.mlflow),
        table("[identity]", identity, "IdentityConfig", &config.identity),
        table("[[identity.issuers]]", identity, "IssuerConfig", &IssuerConfig::default()),
        table("[[identity.federation]]", identity, "FederationConfig", &FederationConfig::default()),
        table("[[identity.certificates]]", identity, "CertificateConfig", &CertificateConfig::default()),
        table("[database]", include_str!("database.rs"), "DatabaseConfig", &config.database),
        table("[policy]", include_str!("policy.rs"), "PolicyConfig", &config.policy),
        table("[audit]", include_str!("audit.rs"), "AuditConfig", &config.audit),
        table("[limits]", include_str!("limits.rs"), "LimitsConfig", &config.limits),
        table("[telemetry]", include_str!("telemetry.rs"), "TelemetryConfig", &config.telemetry),
        table("[lake]", include_str!("lake.rs"), "LakeConfig", &config.lake),
    ];
    let mut page = HEADING.to_owned();
    for table in tables {
        write!(page, "\n## `{}`\n\n{}\n", table.title, table.doc).unwrap();
        if !table.fields.is_empty() {
            page.push_str("\n| key | type | default | meaning |\n|---|---|---|---|\n");
        }
        for Field { key, kind, default, doc } in &table.fields {
            writeln!(page, "| `{key}` | {kind} | {default} | {} |", doc.replace('|', "\\|")).unwrap();
        }
    }
    page
}

/// Reads a struct's fields from the source and its defaults from a value of it.
fn table(title: &str, source: &str, name: &str, defaults: &dyn Debug) -> Table {
    let defaults = defaults_of(defaults);
    let mut lines = source.lines().skip_while(|line| *line != format!("pub struct {name} {{")).skip(1);
    let (mut fields, mut doc) = (Vec::new(), Vec::new());
    for line in lines.by_ref().map(str::trim).take_while(|line| *line != "}") {
        if let Some(text) = line.strip_prefix("///") {
            doc.push(text.trim());
        } else if let Some(field) = line.strip_prefix("pub ") {
            let (key, kind) = field.trim_end_matches(',').split_once(": ").unwrap();
            let default = defaults.get(key).unwrap_or_else(|| panic!("`{name}` does not show `{key}`"));
            let doc = std::mem::take(&mut doc).join(" ");
            assert!(!doc.is_empty(), "`{name}.{key}` has no doc comment");
            fields.push(Field {
                key: key.to_owned(),
                kind: kind_in_words(kind),
                default: default.clone(),
                doc,
            });
        } else {
            assert!(
                line.is_empty() || line.starts_with("#["),
                "`{name}` has a line that is no field: {line}"
            );
        }
    }
    assert_eq!(fields.len(), defaults.len(), "`{name}` has fields that were not read");
    let doc = if title.starts_with("[[") { doc_above(source, name) } else { module_doc(source) };
    Table { title: title.to_owned(), doc, fields }
}

/// `key: value,` lines of the pretty debug form, each value in words.
fn defaults_of(value: &dyn Debug) -> HashMap<String, String> {
    let text = format!("{value:#?}");
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("    ")) {
        let line = line.trim_end_matches(',');
        match (line.split_once(": "), fields.last_mut()) {
            // The entries of a list stand below its name.
            (_, Some((_, list))) if line.starts_with(' ') => list.push_str(&format!("{},", line.trim())),
            (None, Some((_, list))) => {
                *list = list.replacen(",", ", ", 9).trim_end_matches(", ").to_owned() + "]"
            }
            (Some((key, value)), _) => fields.push((key.to_owned(), value.to_owned())),
            (None, None) => panic!("`{line}` is no field"),
        }
    }
    fields.iter().map(|(key, value)| in_words((key, value))).collect()
}

fn in_words((key, value): (&str, &str)) -> (String, String) {
    let words = match value {
        "None" | "[]" | "{}" | "\"\"" => "–".to_owned(),
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => match number.parse() {
            Ok(number) => format!("{}{}", grouped(number), size_in_words(key, number)),
            Err(_) => number.to_owned(),
        },
        text => format!("`{}`", text.trim_matches('"').replace("Text", "text").replace("Off", "off")),
    };
    (key.to_owned(), words)
}

/// `33,554,432`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

fn size_in_words(key: &str, number: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.iter().find(|(_, bits)| number >= 1 << bits && number.is_multiple_of(1 << bits));
    match unit {
        Some((unit, bits)) if key.ends_with("_bytes") => format!(" ({} {unit})", number >> bits),
        _ => String::new(),
    }
}

fn kind_in_words(kind: &str) -> String {
    let inner = kind.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')).unwrap_or(kind);
    match inner {
        "String" | "SecretText" => "text",
        "PathBuf" => "path",
        "bool" => "`true` or `false`",
        "u32" | "u64" | "usize" => "number",
        "LogFormat" => "`text` or `json`",
        "LimitsProfile" => "`off` or `reference-platform`",
        "Vec<String>" => "list of texts",
        "Vec<IssuerConfig>" | "Vec<FederationConfig>" | "Vec<CertificateConfig>" => "list of tables",
        "BTreeMap<String, String>" => "table of texts",
        other => panic!("`{other}` has no words; give it some"),
    }
    .to_owned()
}

/// The first paragraph of `//!` lines, without the section's name before its colon.
fn module_doc(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let doc = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let doc = doc.split_once("]`: ").map_or(doc.as_str(), |(_, doc)| doc);
    let mut letters = doc.chars();
    letters.next().map(char::to_uppercase).into_iter().flatten().chain(letters).collect()
}

/// The `///` lines above a struct.
fn doc_above(source: &str, name: &str) -> String {
    let before = source.split(&format!("pub struct {name} {{")).next().unwrap();
    let above = before.lines().rev().skip_while(|line| line.starts_with("#["));
    let mut lines: Vec<&str> = above.map_while(|line| line.strip_prefix("///")).map(str::trim).collect();
    lines.reverse();
    lines.join(" ")
}

#[test]
fn the_page_says_what_the_code_says() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIGURATION.md");
    if option_env!("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, page()).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(written, page(), "UPDATE_GOLDEN=1 writes docs/CONFIGURATION.md anew");
}

#[test]
fn every_section_is_on_the_page_and_its_example_is_valid() {
    let page = page();
    for section in super::SECTIONS {
        assert!(page.contains(&format!("\n## `[{section}]`\n")), "{section}");
    }
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let config: Config = toml::from_str(example).unwrap();
    let mut problems = Vec::new();
    config.validate(&mut problems);
    assert!(problems.is_empty(), "{problems:?}");
}
