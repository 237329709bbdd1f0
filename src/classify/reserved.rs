//! Tag and metadata keys that clients may not set through any door: tag routes, `StartTrace`, run and
//! experiment creation, and the OTLP attributes that MLflow turns into tags.
//!
//! MLflow's server takes most of them from anybody; only its Python client declines to send them. A
//! database may compare keys more loosely than MLflow does (case, accents, trailing spaces), and a write
//! of `MLFLOW.artifactlocation ` then lands on the reserved row, so keys are compared loosely here too.

/// Who made the thing; stamped from the caller where it may be set at all.
const USER: &str = "mlflow.user";

/// Where the server reads a trace's spans and attachments from.
const ARTIFACT_LOCATION: &str = "mlflow.artifactLocation";

const TRACE_TAGS: [&str; 5] = [
    USER,
    ARTIFACT_LOCATION,
    // Which store the server reads and deletes the spans in.
    "mlflow.trace.spansLocation",
    // Where the server reads archived spans from: any URI that it can open.
    "mlflow.trace.archiveLocation",
    // Takes a trace out of archival for good.
    "mlflow.trace.archivalFailure",
];

const TRACE_METADATA: [&str; 8] = [
    // MLflow 2 and file stores keep these beside the tags.
    ARTIFACT_LOCATION,
    "mlflow.trace.spansLocation",
    // Freezes times, state, token counts and cost against the spans that arrive later; the server sets
    // it itself when a trace is started.
    "mlflow.trace.infoFinalized",
    // Who called the AI gateway and through what: its usage reports are grouped by these.
    "mlflow.auth.userId",
    "mlflow.auth.username",
    "mlflow.gateway.caller",
    "mlflow.gateway.endpointId",
    "mlflow.gateway.requestType",
];

const EXPERIMENT_TAGS: [&str; 6] = [
    USER,
    ARTIFACT_LOCATION,
    // Shown as the owner by Databricks' pages and clients.
    "mlflow.ownerId",
    "mlflow.ownerEmail",
    // How far online scoring has come; turning it back scores, and pays for, everything again.
    "mlflow.latestOnlineScoring.trace.checkpoint",
    "mlflow.latestOnlineScoring.session.checkpoint",
];

/// Where an experiment's traces go on Databricks: clients read these tags and write spans there.
const DATABRICKS_DESTINATION_PREFIX: &str = "mlflow.experiment.databricks";

/// What archival and our own store read: how long traces stay, how many, and that they go now.
const ARCHIVAL_TAGS: [&str; 4] = [
    "mlflow.trace.archivalRetention",
    "mlflow.trace.archiveNow",
    "tracegate.retention.days",
    "tracegate.retention.traces",
];

const RUN_TAGS: [&str; 2] = [USER, ARTIFACT_LOCATION];

/// A key that is reserved on some kind of thing; for doors that do not tell the kind.
pub fn reserved_tag(key: &str) -> bool {
    reserved_trace_tag(key) || reserved_experiment_tag(key) || reserved_run_tag(key)
}

pub fn reserved_trace_tag(key: &str) -> bool {
    TRACE_TAGS.iter().any(|reserved| same_key(key, reserved, false))
}

/// `mlflow.user` in metadata is not among them: `StartTrace` carries it, and it is stamped there.
pub fn reserved_trace_metadata(key: &str) -> bool {
    TRACE_METADATA.iter().any(|reserved| same_key(key, reserved, false))
}

/// Archival tags are not among them: they need `experiment.manage`, see [`archival_experiment_tag`].
pub fn reserved_experiment_tag(key: &str) -> bool {
    EXPERIMENT_TAGS.iter().any(|reserved| same_key(key, reserved, false))
        || same_key(key, DATABRICKS_DESTINATION_PREFIX, true)
}

/// An experiment tag by which traces are archived or deleted: for those who manage the experiment.
pub fn archival_experiment_tag(key: &str) -> bool {
    ARCHIVAL_TAGS.iter().any(|tag| same_key(key, tag, false))
}

pub fn reserved_run_tag(key: &str) -> bool {
    RUN_TAGS.iter().any(|reserved| same_key(key, reserved, false))
}

/// Longest key, in characters, that MLflow stores on anything.
const MAX_KEY: usize = 500;

/// Whether some database could take `key` for `reserved` (or for something that begins with it): equal
/// but for case, outer white space, and characters outside ASCII, each of which may be an accented
/// letter, a ligature of up to three, or nothing at all.
fn same_key(key: &str, reserved: &str, prefix: bool) -> bool {
    let reserved: Vec<u8> = reserved.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    // Control characters are ignorable to Unicode collations, and white space pads.
    let key: Vec<char> = key
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .map(|c| c.to_ascii_lowercase())
        .take(MAX_KEY + 1)
        .collect();
    if key.len() > MAX_KEY {
        return false;
    }
    // reached[i]: the characters so far can be read as the first i bytes of `reserved`.
    let mut reached = vec![false; reserved.len() + 1];
    reached[0] = true;
    for character in key {
        if prefix && reached[reserved.len()] {
            return true;
        }
        let mut next = vec![false; reserved.len() + 1];
        for start in (0..reached.len()).filter(|start| reached[*start]) {
            if character.is_ascii() {
                if reserved.get(start).is_some_and(|byte| char::from(*byte) == character) {
                    next[start + 1] = true;
                }
            } else {
                let last = (start + 3).min(reserved.len());
                next[start..=last].iter_mut().for_each(|reads| *reads = true);
            }
        }
        reached = next;
    }
    reached[reserved.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_the_server_is_reserved() {
        for key in [
            "mlflow.artifactLocation",
            "mlflow.trace.spansLocation",
            "mlflow.trace.archiveLocation",
            "mlflow.user",
        ] {
            assert!(reserved_trace_tag(key) && reserved_tag(key), "{key}");
        }
        assert!(reserved_trace_metadata("mlflow.trace.infoFinalized"));
        assert!(reserved_experiment_tag("mlflow.experiment.databricksTraceDestinationPath"));
        assert!(reserved_experiment_tag("mlflow.experiment.DatabricksAnythingNew"));
        assert!(archival_experiment_tag("mlflow.trace.archiveNow"));
        assert!(reserved_run_tag("mlflow.user"));
    }

    #[test]
    fn what_clients_really_set_is_not() {
        for key in [
            "mlflow.traceName",
            "mlflow.linkedPrompts",
            "mlflow.trace.sourceScorer",
            "mlflow.eval.requestId",
            "user",
            "",
        ] {
            assert!(!reserved_trace_tag(key), "{key}");
        }
        for key in [
            "mlflow.user",
            "mlflow.trace.user",
            "mlflow.traceInputs",
            "mlflow.sourceRun",
            "mlflow.trace_schema.version",
        ] {
            assert!(!reserved_trace_metadata(key), "{key}");
        }
        for key in [
            "mlflow.experimentKind",
            "mlflow.note.content",
            "mlflow.experiment.sourceType",
            "mlflow.experiment.data",
        ] {
            assert!(!reserved_experiment_tag(key), "{key}");
        }
        for key in ["mlflow.runName", "mlflow.source.name", "mlflow.parentRunId"] {
            assert!(!reserved_run_tag(key), "{key}");
        }
    }

    #[test]
    fn spellings_that_a_loose_collation_takes_for_a_reserved_key_are_reserved() {
        for key in [
            "MLFLOW.ARTIFACTLOCATION",
            " mlflow.artifactLocation",
            "mlflow.artifactLocation  ",
            "mlflow.artifactLocation\u{a0}",
            "mlflow.artifactLocation\n",
            "mlflow.\u{e4}rtifactLocation",
            "ml\u{fb02}ow.artifactLocation",
            "mlflow\u{200b}.artifactLocation",
            "mlflow.artifact\u{ff2c}ocation",
            "mlflow.artifactLocatio\u{0}n",
        ] {
            assert!(reserved_trace_tag(key), "{key:?}");
        }
        assert!(!reserved_trace_tag("mlflow.artifactLocations"));
        assert!(!reserved_trace_tag("\u{fc}bersicht"));
        assert!(!reserved_trace_tag(&"\u{fc}".repeat(100_000)));
    }
}
