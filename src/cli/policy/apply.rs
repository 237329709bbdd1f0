//! `tracegate policy apply`: files put in force, all at once or not at all.

use std::process::ExitCode;

use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::FileArguments;
use super::files::Files;
use super::plan::{ask, describe, list, with_places};
use crate::cli::client::{Client, print};
use crate::cli::print_line;

#[derive(Debug, Args)]
pub(in crate::cli) struct ApplyArguments {
    #[command(flatten)]
    files: FileArguments,
    /// Apply only if policy is at this version, as `plan` told it; without, at the version of the plan shown now
    #[arg(long)]
    expect_version: Option<i64>,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &ApplyArguments) -> anyhow::Result<ExitCode> {
    let files = Files::read(&arguments.files.files)?;
    let client = Client::from_environment()?;
    let plan = ask(&client, &files, 0)?;
    let unmet = !list(&plan["failures"]).is_empty();
    let stays = list(&plan["changes"]).is_empty();
    if !arguments.json {
        describe(&plan, &files).iter().for_each(|line| print_line(line));
    }
    if arguments.dry_run || unmet {
        if arguments.json {
            print(&plan, true, "", &[]);
        }
        return Ok(if unmet { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let version = arguments.expect_version.or_else(|| plan["policy_version"].as_i64());
    let body = json!({ "policy": files.document, "expected_version": version });
    let answer = client.call(Method::POST, "policy/apply", &[], Some(&body));
    let mut applied = answer.map_err(|error| with_places(&error, &files))?;
    if arguments.json {
        super::plan::name_places(&mut applied["changes"], &files);
        print(&applied, true, "", &[]);
    } else if !stays {
        print_line(&format!("applied; policy is at version {}", applied["policy_version"]));
    }
    Ok(ExitCode::SUCCESS)
}
