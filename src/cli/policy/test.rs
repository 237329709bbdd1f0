//! `tracegate policy test`: what files expect, held against the policy in force or the one that they plan.

use std::process::ExitCode;

use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::FileArguments;
use super::files::Files;
use super::plan::{expectations, list, name_places, with_places};
use crate::cli::client::{Client, print};
use crate::cli::print_line;

#[derive(Debug, Args)]
pub(in crate::cli) struct TestArguments {
    #[command(flatten)]
    files: FileArguments,
    /// Test the policy as it would be with these files applied
    #[arg(long)]
    planned: bool,
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &TestArguments) -> anyhow::Result<ExitCode> {
    let files = Files::read(&arguments.files.files)?;
    anyhow::ensure!(!files.document.expect.is_empty(), "the files expect nothing; write `expect`");
    let client = Client::from_environment()?;
    let body = json!({ "policy": files.document, "planned": arguments.planned });
    let answer = client.call(Method::POST, "policy/test", &[], Some(&body));
    let mut answer = answer.map_err(|error| with_places(&error, &files))?;
    name_places(&mut answer["failures"], &files);
    if arguments.json {
        print(&answer, true, "", &[]);
    } else {
        expectations(&answer, &files).iter().for_each(|line| print_line(line));
    }
    Ok(if list(&answer["failures"]).is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
