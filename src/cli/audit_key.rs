//! `tracegate audit rotate-key`: a new key for checkpoints, which the old one announces.

use std::path::PathBuf;

use clap::Args;

use crate::audit::SigningKey;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct RotateKeyArguments {
    /// The gateway's configuration, which names the key file
    #[arg(long)]
    config: Option<PathBuf>,
    /// The key file itself, instead of the configured one
    #[arg(long, conflicts_with = "config")]
    key: Option<PathBuf>,
    /// Make a key that no old one announces. Whoever verifies must be given its public half
    #[arg(long)]
    old_key_lost: bool,
}

/// Replaces the key file at once. A running gateway signs with the new key from its next checkpoint on.
pub(super) fn run(arguments: RotateKeyArguments) -> anyhow::Result<()> {
    let path = match arguments.key {
        Some(path) => path,
        None => {
            let config = Config::load(arguments.config.as_deref())?;
            config.audit.signing_key_in(&config.server.data_dir)
        }
    };
    let now = SystemClock.now();
    let next = if arguments.old_key_lost {
        SigningKey::unannounced(now)?
    } else {
        let current = SigningKey::load(&path)?.ok_or_else(|| {
            anyhow::anyhow!(
                "there is no key in `{}`; the first start of the gateway makes one",
                path.display()
            )
        })?;
        current.rotated(now)?
    };
    next.save(&path)?;
    let public = next.public();
    super::print_line(&format!(
        "`{}` holds the new key {}; the old private key is gone\n{}",
        path.display(),
        public.id(),
        public.to_pem().trim_end()
    ));
    Ok(())
}
