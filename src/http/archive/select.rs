//! Which traces an archive takes: a share of them, and those that fit its filter.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::classify::trace_filter::{Clause, clauses_of_filter};
use crate::http::tracing::matches;
use crate::store::Archive;
use crate::wire::Malformed;

/// All of them.
pub(super) const WHOLE_PPM: u32 = 1_000_000;

/// A filter that can be decided on the head of a trace.
pub(super) fn parsed(filter: &str) -> Result<Vec<Clause>, Malformed> {
    let clauses = clauses_of_filter(filter)?;
    matches::check(&clauses)?;
    if let Some(clause) = clauses.iter().find(|clause| clause.key.starts_with("span.")) {
        let problem =
            format!("has `{}`: an archive is filtered by what the head of a trace says", clause.key);
        return Err(Malformed::new("filter", problem));
    }
    Ok(clauses)
}

/// Whether a trace is among those that are taken at all. The same for all that ever becomes of it.
pub(super) fn is_sampled(archive: &Archive, trace: &str) -> bool {
    let hash = Sha256::digest(trace);
    let number = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    number % u64::from(WHOLE_PPM) < u64::from(archive.sampled_ppm)
}

pub(super) fn fits(clauses: &[Clause], info: &Map<String, Value>) -> bool {
    matches::all(clauses, info)
}

/// A share from 0 to 1 as parts of a million; a share above nothing takes something.
pub(super) fn ppm(rate: f64, field: &str) -> Result<u32, Malformed> {
    if !(0.0..=1.0).contains(&rate) {
        return Err(Malformed::new(field, "must be from 0 to 1"));
    }
    let parts = (rate * f64::from(WHOLE_PPM)).round();
    Ok(if rate > 0.0 { (parts as u32).max(1) } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{ExperimentId, Principal, Securable, SecurableKind};
    use crate::clock::UnixMillis;

    fn archive(sampled_ppm: u32) -> Archive {
        Archive {
            id: "a".to_owned(),
            experiment: ExperimentId::parse("1").unwrap(),
            table: Securable::new(SecurableKind::Table, "m.s.t").unwrap(),
            table_id: "t".to_owned(),
            owner: Principal::user("ann").unwrap(),
            sampled_ppm,
            filter: None,
            frequency_minutes: 15,
            created_at: UnixMillis(0),
        }
    }

    #[test]
    fn a_share_of_traces_is_taken_and_always_the_same() {
        let taken = |ppm: u32| {
            (0..2_000).filter(|number| is_sampled(&archive(ppm), &format!("tr-{number:032x}"))).count()
        };
        assert_eq!((taken(0), taken(WHOLE_PPM)), (0, 2_000));
        assert!((300..700).contains(&taken(250_000)), "{}", taken(250_000));
        // Whoever is in a smaller share is in a larger one too.
        let ids = (0..500).map(|number| format!("tr-{number:032x}"));
        assert!(
            ids.into_iter().all(|id| !is_sampled(&archive(1_000), &id) || is_sampled(&archive(9_000), &id))
        );
        assert_eq!(ppm(0.000_000_1, "sample_rate").unwrap(), 1);
        assert!(ppm(1.5, "sample_rate").is_err() && ppm(f64::NAN, "sample_rate").is_err());
    }

    #[test]
    fn a_filter_is_on_the_head() {
        assert!(parsed("trace.status = 'ERROR' AND tag.team = 'a'").is_ok());
        assert!(parsed("span.name = 'f'").is_err());
        assert!(parsed("nonsense").is_err());
    }
}
