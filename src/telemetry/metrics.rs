//! Counters and histograms: Prometheus text for `/metrics`, and the same numbers by OTLP if configured.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter as OtelCounter, Histogram as OtelHistogram, Meter};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::clock::UnixMillis;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    pub operation: String,
    pub decision: String,
    pub status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LimitLabels {
    pub limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatementLabels {
    pub state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ArchiveLabels {
    pub experiment: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct IssuerLabels {
    pub issuer: String,
}

/// Why a connection was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prometheus_client::encoding::EncodeLabelValue)]
pub enum Turned {
    /// There are too many, from everywhere.
    Connections,
    /// There are too many from its address.
    Address,
    /// TLS was not agreed on.
    Handshake,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TurnedLabels {
    reason: Turned,
}

/// An open connection, counted until it is dropped.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What is counted. Names are documented in `docs/OPERATING.md`.
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    call_seconds: Histogram,
    decision_seconds: Histogram,
    upstream_seconds: Histogram,
    unknown_routes: Counter,
    pub policy_version: Gauge,
    policy_age: Gauge<f64, AtomicU64>,
    pub audit_backlog: Gauge,
    pub decisions_compared: Gauge,
    pub decisions_mismatched: Gauge,
    pub audit_mirror_lag: Gauge,
    pub break_glass: Counter,
    issuer_keys_failed: Family<IssuerLabels, Counter>,
    limited: Family<LimitLabels, Counter>,
    statements: Family<StatementLabels, Counter>,
    archived: Counter,
    archive_lag: Family<ArchiveLabels, Gauge<f64, AtomicU64>>,
    archive_stopped: Family<ArchiveLabels, Gauge>,
    pub statements_running: Gauge,
    pub shadow_experiments: Gauge,
    pub shadowed: Counter,
    connections: Gauge,
    turned_away: Family<TurnedLabels, Counter>,
    tls_certificate_until: Gauge,
    pub tls_reload_failed: Counter,
    otlp: OnceLock<Otlp>,
}

struct Otlp {
    calls: OtelCounter<u64>,
    call_seconds: OtelHistogram<f64>,
    upstream_seconds: OtelHistogram<f64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let fast = || Histogram::new(exponential_buckets(0.000_001, 2.0, 16));
        let slow = || Histogram::new(exponential_buckets(0.000_05, 2.0, 20));
        let mut metrics = Self {
            registry: Registry::with_prefix("tracegate"),
            calls: Family::default(),
            call_seconds: slow(),
            decision_seconds: fast(),
            upstream_seconds: slow(),
            unknown_routes: Counter::default(),
            policy_version: Gauge::default(),
            policy_age: Gauge::default(),
            audit_backlog: Gauge::default(),
            decisions_compared: Gauge::default(),
            decisions_mismatched: Gauge::default(),
            audit_mirror_lag: Gauge::default(),
            break_glass: Counter::default(),
            issuer_keys_failed: Family::default(),
            limited: Family::default(),
            statements: Family::default(),
            archived: Counter::default(),
            archive_lag: Family::default(),
            archive_stopped: Family::default(),
            statements_running: Gauge::default(),
            shadow_experiments: Gauge::default(),
            shadowed: Counter::default(),
            connections: Gauge::default(),
            turned_away: Family::default(),
            tls_certificate_until: Gauge::default(),
            tls_reload_failed: Counter::default(),
            otlp: OnceLock::new(),
        };
        let registry = &mut metrics.registry;
        registry.register("calls", "Calls by operation, decision and status", metrics.calls.clone());
        registry.register_with_unit(
            "call",
            "From the request's head to the answer's head",
            Unit::Seconds,
            metrics.call_seconds.clone(),
        );
        registry.register_with_unit(
            "decision",
            "One decision on all securables of a call",
            Unit::Seconds,
            metrics.decision_seconds.clone(),
        );
        registry.register_with_unit(
            "upstream",
            "From forwarding to the upstream's head",
            Unit::Seconds,
            metrics.upstream_seconds.clone(),
        );
        registry.register(
            "unknown_routes",
            "Calls of a method and path that no operation has: denied",
            metrics.unknown_routes.clone(),
        );
        registry.register("policy_version", "The policy version in force", metrics.policy_version.clone());
        registry.register_with_unit(
            "policy_age",
            "Since the policy in force was last confirmed with the state database",
            Unit::Seconds,
            metrics.policy_age.clone(),
        );
        registry.register(
            "policy_decisions_compared",
            "Live decisions that casbin made again",
            metrics.decisions_compared.clone(),
        );
        registry.register(
            "policy_decisions_mismatched",
            "Live decisions that casbin made otherwise; casbin decides since",
            metrics.decisions_mismatched.clone(),
        );
        registry.register(
            "audit_backlog",
            "Audit records not yet in the index",
            metrics.audit_backlog.clone(),
        );
        registry.register(
            "audit_mirror_lag",
            "Signed lines not yet in the mirror of checkpoints",
            metrics.audit_mirror_lag.clone(),
        );
        registry.register(
            "break_glass",
            "Grants that people gave themselves in an emergency",
            metrics.break_glass.clone(),
        );
        registry.register(
            "issuer_keys_failed",
            "Attempts to fetch an issuer's keys that failed",
            metrics.issuer_keys_failed.clone(),
        );
        registry.register("limited", "Calls refused by a limit on use", metrics.limited.clone());
        registry.register("statements", "SQL statements that ended, by state", metrics.statements.clone());
        registry.register(
            "statements_running",
            "SQL statements that run now",
            metrics.statements_running.clone(),
        );
        for state in ["SUCCEEDED", "FAILED", "CANCELED"] {
            drop(metrics.statements.get_or_create(&StatementLabels { state }));
        }
        registry.register(
            "archived_traces",
            "Rows that this replica wrote into archives",
            metrics.archived.clone(),
        );
        registry.register_with_unit(
            "archive_lag",
            "For how long the first trace that ended waits for its archive",
            Unit::Seconds,
            metrics.archive_lag.clone(),
        );
        registry.register(
            "archive_stopped",
            "Whether something is in the way of an archive",
            metrics.archive_stopped.clone(),
        );
        registry.register(
            "shadow_experiments",
            "Experiments in shadow mode",
            metrics.shadow_experiments.clone(),
        );
        registry.register(
            "shadowed",
            "Calls whose caller lacks something that shadow mode let pass",
            metrics.shadowed.clone(),
        );
        registry.register("connections", "Connections that are open", metrics.connections.clone());
        registry.register(
            "connections_turned_away",
            "Connections that were closed at once, by reason",
            metrics.turned_away.clone(),
        );
        // There from the start, so that the first one is an increase.
        for reason in [Turned::Connections, Turned::Address, Turned::Handshake] {
            drop(metrics.turned_away.get_or_create(&TurnedLabels { reason }));
        }
        registry.register_with_unit(
            "tls_certificate_until",
            "When our certificate in use expires, since 1970; 0 without TLS",
            Unit::Seconds,
            metrics.tls_certificate_until.clone(),
        );
        registry.register(
            "tls_reload_failed",
            "New TLS files that were no good; what was in use stayed",
            metrics.tls_reload_failed.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// Also reports to an OTLP meter from now on.
    pub fn report_to(&self, meter: &Meter) {
        let _ = self.otlp.set(Otlp {
            calls: meter.u64_counter("tracegate.calls").build(),
            call_seconds: meter.f64_histogram("tracegate.call").with_unit("s").build(),
            upstream_seconds: meter.f64_histogram("tracegate.upstream").with_unit("s").build(),
        });
    }

    pub fn call(&self, labels: CallLabels, duration: Duration) {
        if let Some(otlp) = self.otlp.get() {
            let attributes = [
                KeyValue::new("operation", labels.operation.clone()),
                KeyValue::new("decision", labels.decision.clone()),
                KeyValue::new("status", i64::from(labels.status)),
            ];
            otlp.calls.add(1, &attributes);
            otlp.call_seconds.record(duration.as_secs_f64(), &attributes[..1]);
        }
        if labels.operation == "unknown" {
            self.unknown_routes.inc();
        }
        self.calls.get_or_create(&labels).inc();
        self.call_seconds.observe(duration.as_secs_f64());
    }

    /// A call was refused by the limit of this name.
    pub fn limited(&self, limit: &'static str) {
        self.limited.get_or_create(&LimitLabels { limit }).inc();
    }

    /// An SQL statement ended in this state.
    pub fn statement(&self, state: &'static str) {
        self.statements.get_or_create(&StatementLabels { state }).inc();
    }

    /// So many rows were written into archives.
    pub fn archived(&self, rows: u64) {
        self.archived.inc_by(rows);
    }

    /// Of each archive: its experiment, whether it is stopped, and how far behind it is.
    pub fn archives(&self, archives: impl Iterator<Item = (String, bool, Duration)>) {
        self.archive_lag.clear();
        self.archive_stopped.clear();
        for (experiment, stopped, lag) in archives {
            let labels = ArchiveLabels { experiment };
            self.archive_lag.get_or_create(&labels).set(lag.as_secs_f64());
            self.archive_stopped.get_or_create(&labels).set(i64::from(stopped));
        }
    }

    /// How long ago the policy in force was confirmed.
    pub fn policy_age(&self, age: Duration) {
        self.policy_age.set(age.as_secs_f64());
    }

    /// How often an issuer's keys could not be fetched since the start.
    pub fn issuer_keys_failed(&self, issuer: &str, times: u64) {
        let labels = IssuerLabels { issuer: issuer.to_owned() };
        self.issuer_keys_failed.get_or_create(&labels).inner().store(times, Ordering::Relaxed);
    }

    /// A connection that is open from now on, until what is returned is dropped.
    pub fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    pub fn turned_away(&self, reason: Turned) {
        self.turned_away.get_or_create(&TurnedLabels { reason }).inc();
    }

    pub fn tls_certificate_until(&self, until: UnixMillis) {
        self.tls_certificate_until.set(until.0 / 1000);
    }

    pub fn decision(&self, duration: Duration) {
        self.decision_seconds.observe(duration.as_secs_f64());
    }

    pub fn upstream(&self, duration: Duration) {
        if let Some(otlp) = self.otlp.get() {
            otlp.upstream_seconds.record(duration.as_secs_f64(), &[]);
        }
        self.upstream_seconds.observe(duration.as_secs_f64());
    }

    /// The Prometheus text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_operation_decision_and_status() {
        let metrics = Metrics::default();
        let labels = CallLabels { operation: "unknown".to_owned(), decision: "deny".to_owned(), status: 404 };
        metrics.call(labels.clone(), Duration::from_millis(1));
        metrics.call(labels, Duration::from_millis(1));
        let text = metrics.encode();
        assert!(
            text.contains("tracegate_calls_total{operation=\"unknown\",decision=\"deny\",status=\"404\"} 2"),
            "{text}"
        );
        assert!(text.contains("tracegate_unknown_routes_total 2"), "{text}");
    }
}
