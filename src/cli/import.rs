//! `tracegate import`: brings the accounts of another server over. What it would do is shown; it is done with `--apply`.

mod gateway;
mod translate;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Client;
use super::print_line;
use crate::policy::mlflow_permissions::Permission;
use crate::store::mlflow_auth;
use gateway::Difference;
use translate::{Carried, Wishes, translate};

#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    /// Users, roles and permissions of an MLflow server with basic-auth
    #[command(after_help = "Example:\n  tracegate import mlflow-auth --database sqlite:///basic_auth.db\n  \
        tracegate import mlflow-auth --database basic_auth.db --with-passwords --apply")]
    MlflowAuth(MlflowAuthArguments),
}

#[derive(Debug, Args)]
pub(super) struct MlflowAuthArguments {
    /// `database_uri` of the server's basic_auth.ini, or the path of its SQLite file; it is only read
    #[arg(long)]
    database: String,
    /// Do what the plan says; running it again is harmless
    #[arg(long)]
    apply: bool,
    /// Bring passwords along, by their hashes; needs `identity.passwords` on the gateway
    #[arg(long)]
    with_passwords: bool,
    /// `default_permission` of the server, to be granted to everybody on everything: READ, USE, EDIT or MANAGE
    #[arg(long)]
    default_permission: Option<String>,
    /// Put before the names of groups that roles become, so that none is taken for a group that is there
    #[arg(long, default_value = "")]
    role_prefix: String,
    /// Apply although some denials cannot be carried over
    #[arg(long)]
    accept_wider: bool,
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: ImportCommand) -> anyhow::Result<()> {
    let ImportCommand::MlflowAuth(arguments) = command;
    let client = Client::from_environment()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let accounts = runtime.block_on(mlflow_auth::read(&arguments.database))?;
    let default = arguments.default_permission.as_deref().map(Permission::parse).transpose();
    let default = default.map_err(|problem| anyhow::anyhow!("--default-permission: {problem}"))?;
    if default == Some(Permission::Deny) {
        anyhow::bail!("--default-permission: DENY for everybody is what there is without any grant");
    }
    let wishes = Wishes { default, role_prefix: arguments.role_prefix.clone() };
    let mut carried = translate(&accounts, &wishes)?;
    let mut difference = Difference::of(&client, &mut carried)?;
    if !arguments.apply {
        show(&arguments, &carried, &difference, None);
        return Ok(());
    }
    if !carried.wider.is_empty() && !arguments.accept_wider {
        show(&arguments, &carried, &difference, None);
        anyhow::bail!(
            "{} denials cannot be carried over, so somebody could do more than before; nothing was applied \
             (--accept-wider applies all the same)",
            carried.wider.len()
        );
    }
    if difference.make_known(&client)? {
        // Policy has moved on by it.
        let made = std::mem::take(&mut difference.new_principals);
        difference = Difference::of(&client, &mut carried)?;
        difference.new_principals = made;
    }
    let version = difference.apply(&client)?;
    let passwords = match arguments.with_passwords {
        true => gateway::import_passwords(&client, &carried)?,
        false => (Vec::new(), Vec::new()),
    };
    let done =
        json!({ "policy_version": version, "passwords_set": passwords.0, "passwords_kept": passwords.1 });
    show(&arguments, &carried, &difference, Some(&done));
    Ok(())
}

fn show(arguments: &MlflowAuthArguments, carried: &Carried, difference: &Difference, done: Option<&Value>) {
    let users: Vec<Value> = carried
        .users
        .iter()
        .map(|user| {
            json!({
                "user": user.principal,
                "new": difference.new_principals.contains(&user.principal),
                "password": arguments.with_passwords && user.password_hash.is_some(),
            })
        })
        .collect();
    if arguments.json {
        let plan = json!({
            "users": users,
            "groups": carried.groups,
            "new_principals": difference.new_principals,
            "new_memberships": difference.memberships.iter()
                .map(|(group, member)| json!({ "group": group, "member": member })).collect::<Vec<_>>(),
            "new_grants": difference.grants,
            "not_carried": carried.lost,
            "wider": carried.wider,
            "notes": carried.notes,
            "applied": done,
        });
        print_line(&serde_json::to_string_pretty(&plan).unwrap_or_default());
        return;
    }
    print_line(&format!(
        "{} users and {} roles; {} principals, {} memberships and {} grants are new here",
        carried.users.len(),
        carried.groups.len(),
        difference.new_principals.len(),
        difference.memberships.len(),
        difference.grants.len()
    ));
    for principal in &difference.new_principals {
        print_line(&format!("  + {principal}"));
    }
    for (group, member) in &difference.memberships {
        print_line(&format!("  + {member} in {group}"));
    }
    for grant in &difference.grants {
        let effect = grant.effect.as_str();
        print_line(&format!("  + {effect} {} {} on {}", grant.principal, grant.privilege, grant.securable));
    }
    let lists = [
        ("denials that cannot be carried over, so that somebody could do MORE than before:", &carried.wider),
        ("not carried over:", &carried.lost),
        ("to know:", &carried.notes),
    ];
    for (title, lines) in lists.into_iter().filter(|(_, lines)| !lines.is_empty()) {
        print_line(title);
        lines.iter().for_each(|line| print_line(&format!("  - {line}")));
    }
    match done {
        None => print_line("nothing was changed; --apply does it"),
        Some(done) => {
            let count = |key: &str| done[key].as_array().map_or(0, Vec::len);
            print_line(&format!(
                "applied; policy is at version {}, {} passwords were set, {} users had one or cannot have one",
                done["policy_version"],
                count("passwords_set"),
                count("passwords_kept")
            ));
        }
    }
}
