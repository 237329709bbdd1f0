//! `tracegate demo`: a gateway with callers, experiments and traces to try.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::demo_seed::{self, Seeded};
use crate::app::App;
use crate::config::Config;
use crate::telemetry::{Metrics, Telemetry};

#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// The port to listen on at 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 5001)]
    port: u16,
    /// Where state is kept; a temporary directory if absent
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// An MLflow server to stand before; without it traces are kept in a store of its own
    #[arg(long)]
    mlflow_url: Option<String>,
    /// Write {"url", "tokens", "experiments"} here once requests are accepted
    #[arg(long)]
    json: Option<PathBuf>,
}

pub(super) fn run(arguments: DemoArguments) -> anyhow::Result<()> {
    let temporary = match &arguments.data_dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("tracegate-demo-").tempdir()?),
    };
    let data_dir = match (&arguments.data_dir, &temporary) {
        (Some(directory), _) => directory.clone(),
        (None, Some(directory)) => directory.path().to_owned(),
        (None, None) => anyhow::bail!("no data directory"),
    };
    std::fs::create_dir_all(&data_dir)?;
    actix_web::rt::System::new().block_on(async {
        let mut config = Config::load(None)?;
        config.server.listen = format!("127.0.0.1:{}", arguments.port);
        config.server.data_dir = data_dir.clone();
        let metrics = Metrics::default();
        let telemetry = Telemetry::start(&config.telemetry, &metrics)?;
        if let Some(url) = &arguments.mlflow_url {
            config.mlflow.url = Some(url.clone());
        }
        let served = serve(config, metrics, &arguments).await;
        telemetry.shutdown();
        served
    })
}

async fn serve(config: Config, metrics: Metrics, arguments: &DemoArguments) -> anyhow::Result<()> {
    let (app, _) = App::open(config, metrics).await?;
    let running = crate::http::start(Arc::clone(&app))?;
    let url = format!("http://{}", running.address);
    let serving = actix_web::rt::spawn(running.until_stopped());
    let seeded = demo_seed::seed(&app, &url).await?;
    announce(&url, &seeded);
    if let Some(path) = &arguments.json {
        let content = json!({ "url": url, "tokens": seeded.tokens, "experiments": seeded.experiments });
        // Whole or not at all: others wait for this file.
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, content.to_string())?;
        std::fs::rename(&unfinished, path)?;
    }
    serving.await?
}

fn announce(url: &str, seeded: &Seeded) {
    let line = |text: &str| super::print_line(text);
    line(&format!("\nTracegate accepts requests at {url}\n"));
    line("callers and their tokens (user name and token work as MLFLOW_TRACKING_USERNAME and _PASSWORD):");
    for (name, what) in demo_seed::CALLERS_TOLD {
        let token = seeded.tokens.get(*name).map_or("-", String::as_str);
        line(&format!("  {name:<7} {token}  {what}"));
    }
    for (name, id) in &seeded.experiments {
        line(&format!("experiment {name} is {id}"));
    }
    let bob = seeded.tokens.get("bob").map_or("-", String::as_str);
    line(&format!(
        "\ntry it, as bob, who may read support-bot:\n  export MLFLOW_TRACKING_URI={url} MLFLOW_TRACKING_TOKEN={bob}\n  \
         python -c 'import mlflow; print(mlflow.search_traces(locations=[\"{}\"]))'\n\nstop with Ctrl-C",
        seeded.experiments.get("support-bot").map_or("1", String::as_str)
    ));
}
