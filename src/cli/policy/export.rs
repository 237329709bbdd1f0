//! `tracegate policy export`: what is in force, as a policy file or as casbin reads it.

use std::fs::File;
use std::io::{BufWriter, Seek as _, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::plan::{list, text};
use super::time;
use crate::cli::client::Client;
use crate::clock::UnixMillis;

/// How often an export is begun again because policy changed under it.
const ATTEMPTS: usize = 5;

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArguments {
    /// Where to write the policy file; stdout if absent
    #[arg(long)]
    output: Option<PathBuf>,
    /// Write model.conf and policy.csv for another casbin implementation into this directory instead
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    casbin: Option<PathBuf>,
}

pub(super) fn run(arguments: &ExportArguments) -> anyhow::Result<()> {
    let client = Client::from_environment()?;
    if let Some(directory) = &arguments.casbin {
        return casbin(&client, directory);
    }
    for _ in 0..ATTEMPTS {
        // What is read while policy changes belongs to no version: nothing of it is shown.
        let mut gathered = tempfile::tempfile()?;
        let mut written = Written::new(BufWriter::new(&mut gathered));
        let mut lines = Lines::default();
        client.stream("policy/export", &[], &mut |bytes| {
            lines.push(bytes, &mut |line| written.line(&serde_json::from_str(line)?))
        })?;
        let Some(complete) = written.finish()? else {
            anyhow::bail!("the export broke off");
        };
        if complete {
            gathered.rewind()?;
            match &arguments.output {
                Some(path) => std::io::copy(&mut gathered, &mut created(path)?)?,
                None => std::io::copy(&mut gathered, &mut std::io::stdout().lock())?,
            };
            return Ok(());
        }
    }
    anyhow::bail!("policy changed during each of {ATTEMPTS} attempts; try again when it is quieter")
}

fn casbin(client: &Client, directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)
        .map_err(|error| anyhow::anyhow!("{}: {error}", directory.display()))?;
    for (part, name) in [("model", "model.conf"), ("rules", "policy.csv")] {
        // A file that is there is whole: half a policy would deny or, worse, lack its denies.
        let unfinished = directory.join(format!("{name}.part"));
        let mut file = created(&unfinished)?;
        client
            .stream("policy/casbin", &[("part", part.to_owned())], &mut |bytes| Ok(file.write_all(bytes)?))?;
        file.sync_all()?;
        std::fs::rename(&unfinished, directory.join(name))?;
    }
    Ok(())
}

fn created(path: &Path) -> anyhow::Result<File> {
    File::create(path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

/// Cuts what comes in pieces into lines.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn push(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let rest = self.rest.split_off(end + 1);
        for line in std::str::from_utf8(&self.rest)?.lines() {
            each(line)?;
        }
        self.rest = rest;
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Start,
    Groups,
    Grants,
}

/// Writes a policy file line by line, from an export in the order of groups, then securables.
struct Written<W: Write> {
    to: W,
    section: Section,
    /// The securable whose grants are being gathered.
    on: String,
    allow: Vec<String>,
    deny: Vec<String>,
    complete: Option<bool>,
}

impl<W: Write> Written<W> {
    fn new(to: W) -> Self {
        let (allow, deny) = (Vec::new(), Vec::new());
        Self { to, section: Section::Start, on: String::new(), allow, deny, complete: None }
    }

    fn line(&mut self, entry: &Value) -> anyhow::Result<()> {
        if let Some(version) = entry["policy_version"].as_i64() {
            let at = entry["at_ms"].as_i64().and_then(|at| time::write(UnixMillis(at))).unwrap_or_default();
            writeln!(self.to, "# Policy version {version}, exported {at}.\nversion: 1\nscope: listed")?;
        } else if entry["end"] == true {
            self.complete = Some(entry["complete"] == true);
        } else if entry.get("group").is_some() {
            self.enter(Section::Groups, "groups:")?;
            let members: Vec<String> = list(&entry["members"]).iter().map(|one| scalar(text(one))).collect();
            let group = scalar(text(&entry["group"]));
            writeln!(self.to, "  - group: {group}\n    members: [{}]", members.join(", "))?;
        } else {
            self.grant(entry)?;
        }
        Ok(())
    }

    fn enter(&mut self, section: Section, heading: &str) -> std::io::Result<()> {
        if self.section != section {
            self.section = section;
            writeln!(self.to, "{heading}")?;
        }
        Ok(())
    }

    fn grant(&mut self, grant: &Value) -> anyhow::Result<()> {
        self.enter(Section::Grants, "grants:")?;
        if text(&grant["securable"]) != self.on {
            self.end_securable()?;
            text(&grant["securable"]).clone_into(&mut self.on);
        }
        let mut parts = vec![
            format!("to: {}", scalar(text(&grant["principal"]))),
            format!("privilege: {}", scalar(text(&grant["privilege"]))),
        ];
        if let Some(end) = grant["expires_at_ms"].as_i64() {
            let until = time::write(UnixMillis(end));
            let until =
                until.ok_or_else(|| anyhow::anyhow!("a grant ends at {end} ms, after the year 9999"))?;
            parts.push(format!("until: {until}"));
        }
        parts.extend(grant["reason"].as_str().map(|reason| format!("reason: {}", quoted(reason))));
        let list = if grant["effect"] == "deny" { &mut self.deny } else { &mut self.allow };
        list.push(format!("{{{}}}", parts.join(", ")));
        Ok(())
    }

    fn end_securable(&mut self) -> std::io::Result<()> {
        if self.on.is_empty() {
            return Ok(());
        }
        writeln!(self.to, "  - on: {}", scalar(&self.on))?;
        for (name, grants) in [("allow", &mut self.allow), ("deny", &mut self.deny)] {
            if !grants.is_empty() {
                writeln!(self.to, "    {name}:")?;
                for grant in grants.drain(..) {
                    writeln!(self.to, "      - {grant}")?;
                }
            }
        }
        Ok(())
    }

    /// Whether all of it was of one version; `None` if the end did not come.
    fn finish(mut self) -> anyhow::Result<Option<bool>> {
        self.end_securable()?;
        self.to.flush()?;
        Ok(self.complete)
    }
}

/// A name, plain where no reader could take it for anything else.
fn scalar(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/@+=-".contains(&byte);
    let is_word = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && !name.ends_with(':')
        && name.contains([':', '_', '.'])
        && name.bytes().all(plain);
    if is_word { name.to_owned() } else { quoted(name) }
}

/// A text in double quotes, with everything escaped that a line or a reader could break on.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\u{2028}' | '\u{2029}' | '\u{feff}' => quoted.push_str(&format!("\\u{:04X}", character as u32)),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", control as u32)),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
#[cfg(test)]
mod tests;
