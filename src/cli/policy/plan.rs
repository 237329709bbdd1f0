//! `tracegate policy plan`: what files would change, and who would gain or lose what by it.

use std::process::ExitCode;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::files::Files;
use super::{FileArguments, time};
use crate::cli::client::{Client, print};
use crate::cli::print_line;
use crate::clock::UnixMillis;

#[derive(Debug, Args)]
pub(in crate::cli) struct PlanArguments {
    #[command(flatten)]
    files: FileArguments,
    /// Decide the calls of the last days again; 0 for none
    #[arg(long, default_value_t = 7)]
    replay_days: u32,
    /// Exit with 2 if anything would change
    #[arg(long)]
    exit_code: bool,
    #[arg(long)]
    json: bool,
}

/// Exit code of a plan with changes, where it is asked for: 1 is a failure.
const CHANGES: u8 = 2;

pub(super) fn run(arguments: &PlanArguments) -> anyhow::Result<ExitCode> {
    let files = Files::read(&arguments.files.files)?;
    let plan = ask(&Client::from_environment()?, &files, arguments.replay_days)?;
    if arguments.json {
        print(&plan, true, "", &[]);
    } else {
        describe(&plan, &files).iter().for_each(|line| print_line(line));
    }
    if !list(&plan["failures"]).is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let changes = !list(&plan["changes"]).is_empty();
    Ok(if arguments.exit_code && changes { ExitCode::from(CHANGES) } else { ExitCode::SUCCESS })
}

/// The plan, its places already those of the files.
pub(super) fn ask(client: &Client, files: &Files, replay_days: u32) -> anyhow::Result<Value> {
    let body = json!({ "policy": files.document, "replay_days": replay_days });
    let answer = client.call(Method::POST, "policy/plan", &[], Some(&body));
    let mut plan = answer.map_err(|error| with_places(&error, files))?;
    for part in ["changes", "failures"] {
        name_places(&mut plan[part], files);
    }
    for ended in plan["ended"].as_array_mut().into_iter().flatten() {
        *ended = json!(files.place(text(ended)));
    }
    Ok(plan)
}

/// Puts `FILE:LINE:COLUMN` where the gateway named a part of the document.
pub(super) fn name_places(list: &mut Value, files: &Files) {
    for entry in list.as_array_mut().into_iter().flatten() {
        if let Some(place) = entry.get_mut("place") {
            *place = json!(files.place(text(place)));
        }
    }
}

/// The gateway's refusal with the places that it names as those of the files.
pub(super) fn with_places(error: &anyhow::Error, files: &Files) -> anyhow::Error {
    let message = error.to_string();
    let named = |word: &str| {
        let part = word.trim_end_matches([':', ';', ',']);
        let is_part = ["groups[", "grants[", "expect["].iter().any(|start| part.starts_with(start));
        if is_part { word.replacen(part, &files.place(part), 1) } else { word.to_owned() }
    };
    anyhow::Error::msg(message.split(' ').map(named).collect::<Vec<_>>().join(" "))
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A plan in words.
pub(super) fn describe(plan: &Value, files: &Files) -> Vec<String> {
    let changes = list(&plan["changes"]);
    let version = &plan["policy_version"];
    let mut lines = Vec::new();
    if changes.is_empty() {
        lines.push(format!("nothing would change (policy version {version})"));
    } else {
        lines.push(format!("{} at policy version {version}:", counted(changes.len(), "change")));
        lines.extend(changes.iter().map(change));
    }
    for principal in list(&plan["new_principals"]) {
        lines.push(format!("`{}` is not known yet; is the name right?", text(principal)));
    }
    for place in list(&plan["ended"]) {
        lines.push(format!("{}: has ended and is not granted", text(place)));
    }
    if !changes.is_empty() {
        lines.extend(pairs("loses access", &plan["loses"], &plan["losing_pairs"]));
        lines.extend(pairs("gains access", &plan["gains"], &plan["gaining_pairs"]));
        if plan["complete"] == false {
            lines.push("there was more to compare than is compared at once: these are not all".to_owned());
        }
        lines.extend(replayed(&plan["replay"]));
    }
    lines.extend(expectations(plan, files));
    lines
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn change(change: &Value) -> String {
    let sign = match text(&change["change"]) {
        "added" => "+",
        "removed" => "-",
        _ => "~",
    };
    let place = change["place"].as_str().map(|place| format!("  ({place})")).unwrap_or_default();
    if text(&change["what"]) == "membership" {
        return format!("  {sign} {} in {}{place}", text(&change["member"]), text(&change["group"]));
    }
    let terms = |of: &Value| {
        let until = of["expires_at_ms"].as_i64().map(|end| format!(" until {}", when(end)));
        let reason = of["reason"].as_str().map(|reason| format!(" ({reason})"));
        until.unwrap_or_default() + reason.as_deref().unwrap_or_default()
    };
    let before = match &change["before"] {
        Value::Null => String::new(),
        before => match terms(before) {
            terms if terms.is_empty() => "; before without end or reason".to_owned(),
            terms => format!("; before{terms}"),
        },
    };
    format!(
        "  {sign} {} {} to {} on {}{}{before}{place}",
        text(&change["effect"]),
        text(&change["privilege"]),
        text(&change["principal"]),
        text(&change["securable"]),
        terms(change)
    )
}

fn when(millis: i64) -> String {
    time::write(UnixMillis(millis)).unwrap_or_else(|| format!("{millis} ms"))
}

/// Everybody on one line with each securable that is won or lost.
fn pairs(title: &str, pairs: &Value, count: &Value) -> Vec<String> {
    let listed = list(pairs);
    if listed.is_empty() && count.as_u64() == Some(0) {
        return vec![format!("{title}: nobody")];
    }
    let mut lines = vec![format!("{title}:")];
    for pair in listed {
        let name = pair["name"].as_str().map(|name| format!(" ({name})")).unwrap_or_default();
        let privileges: Vec<&str> = list(&pair["privileges"]).iter().map(text).collect();
        let who = match text(&pair["principal"]) {
            "group:users" => "everybody else".to_owned(),
            group if group.starts_with("group:") => format!("whose credential says {group}"),
            who => who.to_owned(),
        };
        lines.push(format!("  {who} on {}{name}: {}", text(&pair["securable"]), privileges.join(", ")));
    }
    let all = count.as_u64().unwrap_or_default();
    if all > listed.len() as u64 {
        lines.push(format!("  {all} pairs altogether; the rest is not listed"));
    }
    lines
}

fn replayed(replay: &Value) -> Vec<String> {
    if replay.is_null() {
        return Vec::new();
    }
    if let Some(why) = replay["skipped"].as_str() {
        return vec![format!("the calls of the last days were not decided again: {why}")];
    }
    let mut lines = vec![format!("of {} calls in the last {} days:", replay["calls"], replay["days"])];
    for (list_name, verb) in [("would_be_refused", "refused"), ("would_be_allowed", "allowed")] {
        for line in list(&replay[list_name]) {
            let surely = if line["certain"] == false { "perhaps " } else { "" };
            lines.push(format!(
                "  {} by {} would {surely}be {verb}: {} on {}",
                line["calls"],
                text(&line["principal"]),
                text(&line["privilege"]),
                text(&line["securable"])
            ));
        }
    }
    if lines.len() == 1 {
        lines.push("  none would be decided otherwise".to_owned());
    }
    if replay["already_otherwise"].as_u64().is_some_and(|count| count > 0) {
        lines.push(format!(
            "  {} are decided otherwise today already, whatever is planned",
            replay["already_otherwise"]
        ));
    }
    if replay["complete"] == false {
        lines.push("  there were more than are read at once: these are not all".to_owned());
    }
    lines
}

/// How the expectations fare, each failure with its place.
pub(super) fn expectations(answer: &Value, files: &Files) -> Vec<String> {
    let asked = answer["expectations"].as_u64().unwrap_or_default();
    if asked == 0 && files.document.expect.is_empty() {
        return Vec::new();
    }
    let failures = list(&answer["failures"]);
    let mut lines = vec![match failures.len() {
        0 => format!("all of {asked} expectations are met"),
        count => format!("{count} of {asked} expectations are not met:"),
    }];
    lines.extend(failures.iter().map(|failure| {
        format!(
            "{}: `{}` {} `{}` on `{}`: {}",
            text(&failure["place"]),
            text(&failure["principal"]),
            if failure["expected"] == "allow" { "does not have" } else { "has" },
            text(&failure["privilege"]),
            text(&failure["on"]),
            text(&failure["reason"])
        )
    }));
    lines
}

#[cfg(test)]
mod tests;
