//! `tracegate serve`.

use std::path::Path;

use crate::app::App;
use crate::config::Config;
use crate::telemetry::Telemetry;

pub fn run(config: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    actix_web::rt::System::new().block_on(async {
        let metrics = crate::telemetry::Metrics::default();
        let telemetry = Telemetry::start(&config.telemetry, &metrics)?;
        let (app, first_token) = App::open(config, metrics).await?;
        if let Some(token) = first_token {
            let name = &app.config.policy.first_administrator;
            eprintln!("the token of the first administrator `{name}`, shown only now:\n{token}");
        }
        let running = crate::http::start(app)?;
        let url = format!("{}://{}", running.scheme, running.address);
        tracing::info!(url, "accepting requests");
        super::print_line(&if json {
            serde_json::json!({ "url": url }).to_string()
        } else {
            format!("Tracegate accepts requests at {url}")
        });
        running.until_stopped().await?;
        telemetry.shutdown();
        Ok(())
    })
}
