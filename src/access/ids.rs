//! Ids of things that a store holds, as newtypes that parse: an id that reached a decision is well formed.

use std::fmt;

/// Says which id was malformed and what one looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {expected}")]
pub struct MalformedId {
    pub value: String,
    pub expected: &'static str,
}

fn refuse(value: &str, expected: &'static str) -> MalformedId {
    MalformedId { value: value.chars().take(80).collect(), expected }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn parse(text: &str) -> Result<Self, MalformedId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.to_owned())) } else { Err(refuse(text, $expected)) }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

id! {
    /// An MLflow experiment: decimal, without leading zeros, as MLflow's SQL store numbers them.
    ExperimentId, "an experiment id (decimal digits)",
    |text| !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
}
id! {
    /// A trace: `tr-` and 32 lower-case hex digits, or the bare 32 that MLflow 2 servers mint.
    TraceId, "a trace id (`tr-` and 32 lower-case hex digits)",
    |text| { let hex = text.strip_prefix("tr-").unwrap_or(text); hex.len() == 32 && is_lower_hex(hex) }
}
id! {
    /// A run: 32 lower-case hex digits.
    RunId, "a run id (32 lower-case hex digits)",
    |text| text.len() == 32 && is_lower_hex(text)
}
id! {
    /// A logged model: `m-` and 32 lower-case hex digits.
    LoggedModelId, "a logged model id (`m-` and 32 lower-case hex digits)",
    |text| text.strip_prefix("m-").is_some_and(|hex| hex.len() == 32 && is_lower_hex(hex))
}
id! {
    /// An assessment: `a-` and 32 lower-case hex digits.
    AssessmentId, "an assessment id (`a-` and 32 lower-case hex digits)",
    |text| text.strip_prefix("a-").is_some_and(|hex| hex.len() == 32 && is_lower_hex(hex))
}

impl TraceId {
    /// The MLflow trace id of a 16-byte OpenTelemetry trace id; all zeros is no trace.
    pub fn from_otel(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != 16 || bytes.iter().all(|byte| *byte == 0) {
            return None;
        }
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self(format!("tr-{hex}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_ids_of_both_kinds_parse_and_nothing_else_does() {
        let hex = "a50f1d685f7cf6ff7e0dede8b2acad2c";
        for good in [format!("tr-{hex}"), hex.to_owned()] {
            assert_eq!(TraceId::parse(&good).unwrap().as_str(), good);
        }
        for bad in [
            "get",
            "a/b",
            "../../2/traces/x",
            "tr-",
            &format!("tr-{}", hex.to_uppercase()),
            &format!("tr-{hex}0"),
        ] {
            assert!(TraceId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn experiment_ids_have_one_spelling() {
        assert!(ExperimentId::parse("0").is_ok());
        for bad in ["", "01", "-1", "1 ", "１", "1e3", "123456789012345678901"] {
            assert!(ExperimentId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_otel_trace_id_has_exactly_sixteen_bytes() {
        assert!(TraceId::from_otel(&[0; 16]).is_none());
        assert!(TraceId::from_otel(&[1; 17]).is_none());
        assert_eq!(TraceId::from_otel(&[0xab; 16]).unwrap().as_str(), format!("tr-{}", "ab".repeat(16)));
    }
}
