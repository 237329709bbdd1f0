//! Sets up logging and, if an endpoint is configured, OTLP export of our own spans and metrics.

use std::collections::HashMap;
use std::io::IsTerminal as _;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::Metrics;
use crate::config::telemetry::{LogFormat, TelemetryConfig};

/// Keeps the exporters; [`shutdown`](Self::shutdown) sends what is still buffered.
pub struct Telemetry {
    spans: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

impl Telemetry {
    /// Starts logging to stderr and, if configured, exporting. Call it once, before anything logs.
    pub fn start(config: &TelemetryConfig, metrics: &Metrics) -> anyhow::Result<Self> {
        let filter = EnvFilter::try_new(&config.log)
            .map_err(|error| anyhow::anyhow!("`telemetry.log` is `{}`: {error}", config.log))?;
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false);
        let lines = match config.format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        let Some(endpoint) = &config.otlp_endpoint else {
            tracing_subscriber::registry().with(filter).with(lines).try_init()?;
            return Ok(Self { spans: None, metrics: None });
        };
        let base = endpoint.trim_end_matches('/');
        let resource = Resource::builder().with_service_name("tracegate").build();
        let exporter =
            SpanExporter::builder().with_http().with_endpoint(format!("{base}/v1/traces")).build()?;
        let spans = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.clone())
            .build();
        let exporter =
            MetricExporter::builder().with_http().with_endpoint(format!("{base}/v1/metrics")).build()?;
        let interval = std::time::Duration::from_millis(config.metrics_interval_ms.max(100));
        let reader = PeriodicReader::builder(exporter).with_interval(interval).build();
        let meters = SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build();
        metrics.report_to(&opentelemetry::metrics::MeterProvider::meter(&meters, "tracegate"));
        let exported = tracing_opentelemetry::layer().with_tracer(spans.tracer("tracegate"));
        tracing_subscriber::registry().with(filter).with(lines).with(exported).try_init()?;
        Ok(Self { spans: Some(spans), metrics: Some(meters) })
    }

    /// Sends what is buffered. Blocks for at most the exporters' own time-outs.
    pub fn shutdown(self) {
        if let Some(spans) = self.spans
            && let Err(error) = spans.shutdown()
        {
            tracing::warn!(%error, "some of our own spans were not sent");
        }
        if let Some(metrics) = self.metrics
            && let Err(error) = metrics.shutdown()
        {
            tracing::warn!(%error, "some of our own metrics were not sent");
        }
    }
}

/// Makes the caller's trace the parent of our span.
pub fn take_parent(span: &tracing::Span, traceparent: Option<&str>) {
    if let Some(value) = traceparent {
        let carrier = HashMap::from([("traceparent".to_owned(), value.to_owned())]);
        let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
    }
}

/// The `traceparent` that a call made inside this span carries; nothing when spans are not exported.
pub fn outgoing_traceparent(span: &tracing::Span) -> Option<String> {
    let mut carrier: HashMap<String, String> = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove("traceparent")
}
