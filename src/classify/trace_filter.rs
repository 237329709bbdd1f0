//! Which keys a trace search looks at, for callers who may know that traces exist and no more.
//!
//! A filter is an oracle: `trace.text LIKE '%secret%'` answers what a trace says without showing it. MLflow
//! also renames keys whatever stands before them, so that `tags.text` searches all span content; the
//! keys here are those after its renaming, written `tag.KEY`, `attribute.KEY`, `span.KEY` and so on.
//!
//! The grammar read here is smaller than MLflow's, and what lies outside it is an error: a filter that two
//! tokenizers could cut differently decides nothing.

use super::reserved::reserved_trace_tag;
use crate::wire::Malformed;

const MAX_BYTES: usize = 64 * 1024;

/// The keys that a filter compares, in order, as MLflow resolves them. An empty filter has none.
///
/// ```
/// # use tracegate::classify::trace_filter::keys_of_filter;
/// let keys = keys_of_filter("status = 'OK' AND tags.text LIKE '%x%'").unwrap();
/// assert_eq!(keys, ["attribute.status", "span.content"]);
/// ```
pub fn keys_of_filter(filter: &str) -> Result<Vec<String>, Malformed> {
    Ok(clauses_of_filter(filter)?.into_iter().map(|clause| clause.key).collect())
}

/// How a clause compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
    ILike,
    RLike,
    In,
    NotIn,
    IsNull,
    IsNotNull,
}

/// One comparison of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// As MLflow resolves it.
    pub key: String,
    pub comparison: Comparison,
    /// The value, or those of a list: the inside of quotes, or a number as it was written.
    pub values: Vec<String>,
}

/// The comparisons of a filter, all of which must hold.
pub fn clauses_of_filter(filter: &str) -> Result<Vec<Clause>, Malformed> {
    let mut scanner = Scanner::new("filter", filter)?;
    let mut clauses = Vec::new();
    scanner.skip_space();
    if scanner.rest.is_empty() {
        return Ok(clauses);
    }
    loop {
        let key = scanner.identifier()?;
        let (comparison, values) = scanner.comparison()?;
        clauses.push(Clause { key, comparison, values });
        scanner.skip_space();
        if scanner.rest.is_empty() {
            return Ok(clauses);
        }
        scanner.keyword("AND")?;
    }
}

/// The keys that a list of `KEY [ASC|DESC]` sorts by.
pub fn keys_of_order_by(entries: &[String]) -> Result<Vec<String>, Malformed> {
    entries
        .iter()
        .map(|entry| {
            let mut scanner = Scanner::new("order_by", entry)?;
            let key = scanner.identifier()?;
            scanner.skip_space();
            if !scanner.rest.is_empty() {
                scanner.keyword("ASC").or_else(|_| scanner.keyword("DESC"))?;
                scanner.skip_space();
            }
            if scanner.rest.is_empty() { Ok(key) } else { Err(scanner.refuse()) }
        })
        .collect()
}

/// Whether a resolved key may be compared or sorted by on `CAN_LIST`: it shows nothing but what a listing
/// shows anyway. All span content, previews, metadata, assessments, issues, prompts and runs are out.
pub fn allowed_for_list(key: &str) -> bool {
    match key.split_once('.') {
        Some(("attribute", name)) => matches!(
            name,
            "request_id" | "experiment_id" | "timestamp_ms" | "execution_time_ms" | "end_time_ms" | "status"
        ),
        Some(("tag", name)) => !reserved_trace_tag(name) && name != LINKED_PROMPTS,
        _ => false,
    }
}

/// Answered from links to prompts, not from the tag of that name.
const LINKED_PROMPTS: &str = "mlflow.linkedPrompts";

/// What MLflow makes of an entity and a key.
fn resolve(entity: &str, key: &str) -> Option<String> {
    let entity = match entity {
        "tag" | "tags" => "tag",
        "attribute" | "attributes" | "trace" => "attribute",
        "request_metadata" | "metadata" => "request_metadata",
        "span" => return Some(format!("span.{key}")),
        "feedback" | "expectation" | "issue" => entity,
        _ => return None,
    };
    // It renames by the key alone, in any case and under any entity but `span`.
    Some(match key.to_lowercase().as_str() {
        "name" => "tag.mlflow.traceName".to_owned(),
        "prompt" => format!("tag.{LINKED_PROMPTS}"),
        "run_id" => "request_metadata.mlflow.sourceRun".to_owned(),
        "text" => "span.content".to_owned(),
        "timestamp" => format!("{entity}.timestamp_ms"),
        "execution_time" => format!("{entity}.execution_time_ms"),
        "end_time" => format!("{entity}.end_time_ms"),
        _ => format!("{entity}.{key}"),
    })
}

struct Scanner<'a> {
    field: &'static str,
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn new(field: &'static str, text: &'a str) -> Result<Self, Malformed> {
        if text.len() > MAX_BYTES {
            return Err(Malformed::new(field, format!("is longer than {MAX_BYTES} bytes")));
        }
        let mut scanner = Self { field, rest: text };
        scanner.skip_space();
        Ok(scanner)
    }

    fn refuse(&self) -> Malformed {
        let near: String = self.rest.chars().take(40).collect();
        Malformed::new(self.field, format!("cannot be read at `{near}`"))
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    /// A run of letters, digits and underscores that does not begin with a digit.
    fn word(&mut self) -> Result<&'a str, Malformed> {
        let length =
            self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        if length == 0 || self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.refuse());
        }
        Ok(self.take(length))
    }

    /// The inside of a quoted text. Escapes and doubled quotes are read by some and not by others, so
    /// neither may occur.
    fn quoted(&mut self, quotes: &[char]) -> Result<&'a str, Malformed> {
        let quote = self.rest.chars().next().filter(|c| quotes.contains(c)).ok_or_else(|| self.refuse())?;
        let inside = self.rest[1..].split(quote).next().unwrap_or_default();
        if self.rest.len() < inside.len() + 2 || inside.contains(['\\', '\0']) {
            return Err(self.refuse());
        }
        let after = self.rest[inside.len() + 2..].chars().next();
        if after.is_some_and(|c| c.is_alphanumeric() || matches!(c, '\'' | '"' | '`' | '_' | '.')) {
            return Err(self.refuse());
        }
        self.take(inside.len() + 2);
        Ok(inside)
    }

    /// `KEY`, `ENTITY.KEY.MORE`, or with a key, or a lone attribute, in quotes.
    fn identifier(&mut self) -> Result<String, Malformed> {
        self.skip_space();
        if self.rest.starts_with('`') {
            let key = self.plain(&['`'])?;
            // MLflow cuts at the first full stop before it looks at the quotes.
            return if key.contains('.') { Err(self.refuse()) } else { self.resolved("attribute", key) };
        }
        let start = self.rest;
        let first = self.word()?;
        if !self.rest.starts_with('.') {
            return self.resolved("attribute", first);
        }
        self.take(1);
        if self.rest.starts_with(['`', '"', '\'']) {
            let key = self.plain(&['`', '"', '\''])?;
            return self.resolved(first, key);
        }
        let key_at = start.len() - self.rest.len();
        self.word()?;
        while self.rest.starts_with('.') {
            self.take(1);
            self.word()?;
        }
        let key = &start[key_at..start.len() - self.rest.len()];
        self.resolved(first, key)
    }

    /// A quoted key that holds no quotes of another kind, which MLflow would strip as well.
    fn plain(&mut self, quotes: &[char]) -> Result<&'a str, Malformed> {
        let key = self.quoted(quotes)?;
        if key.is_empty() || key.contains(['`', '"', '\'']) {
            return Err(self.refuse());
        }
        Ok(key)
    }

    fn resolved(&self, entity: &str, key: &str) -> Result<String, Malformed> {
        resolve(entity, key).ok_or_else(|| self.refuse())
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), Malformed> {
        let before = self.rest;
        self.skip_space();
        if self.word().is_ok_and(|word| word.eq_ignore_ascii_case(keyword)) {
            return Ok(());
        }
        self.rest = before;
        Err(self.refuse())
    }

    /// The operator and value that follow an identifier.
    fn comparison(&mut self) -> Result<(Comparison, Vec<String>), Malformed> {
        use Comparison as Is;
        self.skip_space();
        let symbols = self.rest.len() - self.rest.trim_start_matches(['=', '!', '<', '>']).len();
        if symbols > 0 {
            let comparison = match self.take(symbols) {
                "=" => Is::Equal,
                "!=" => Is::NotEqual,
                "<" => Is::Less,
                "<=" => Is::LessOrEqual,
                ">" => Is::Greater,
                ">=" => Is::GreaterOrEqual,
                _ => return Err(self.refuse()),
            };
            return Ok((comparison, vec![self.value()?]));
        }
        match self.word()?.to_ascii_uppercase().as_str() {
            "LIKE" => Ok((Is::Like, vec![self.value()?])),
            "ILIKE" => Ok((Is::ILike, vec![self.value()?])),
            "RLIKE" => Ok((Is::RLike, vec![self.value()?])),
            "IN" => Ok((Is::In, self.list()?)),
            "NOT" => {
                self.keyword("IN")?;
                Ok((Is::NotIn, self.list()?))
            }
            "IS" => {
                let negated = self.keyword("NOT").is_ok();
                if negated || self.rest.starts_with([' ', '\t', '\r', '\n']) {
                    self.keyword("NULL")?;
                    return Ok((if negated { Is::IsNotNull } else { Is::IsNull }, Vec::new()));
                }
                Err(self.refuse())
            }
            _ => Err(self.refuse()),
        }
    }

    fn value(&mut self) -> Result<String, Malformed> {
        self.skip_space();
        if self.rest.starts_with(['\'', '"']) {
            return self.quoted(&['\'', '"']).map(str::to_owned);
        }
        let length =
            self.rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(self.rest.len());
        let ends = self.rest[length..].chars().next().is_none_or(char::is_whitespace);
        if !ends || self.rest[..length].parse::<f64>().is_err() {
            return Err(self.refuse());
        }
        Ok(self.take(length).to_owned())
    }

    fn list(&mut self) -> Result<Vec<String>, Malformed> {
        let mut values = Vec::new();
        self.skip_space();
        if !self.rest.starts_with('(') {
            return Err(self.refuse());
        }
        loop {
            self.take(1);
            self.skip_space();
            values.push(self.quoted(&['\'', '"'])?.to_owned());
            self.skip_space();
            if self.rest.starts_with(')') {
                self.take(1);
                return Ok(values);
            }
            if !self.rest.starts_with(',') {
                return Err(self.refuse());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_those_that_mlflow_resolves() {
        for (filter, keys) in [
            ("", &[][..]),
            (" \n", &[]),
            ("status = 'OK'", &["attribute.status"]),
            ("trace.status='OK' and timestamp_ms>5", &["attribute.status", "attribute.timestamp_ms"]),
            (
                "timestamp > 5 AND execution_time <= -5.5",
                &["attribute.timestamp_ms", "attribute.execution_time_ms"],
            ),
            ("`status` != \"it's\"", &["attribute.status"]),
            ("tags.`my key` LIKE '%x%'\nAND tag.a.b = 'y'", &["tag.my key", "tag.a.b"]),
            ("tags.'k' ilike 'x' AND tags.\"text.x\" = '-- /*'", &["tag.k", "tag.text.x"]),
            (
                "name IN ('a', \"b\") AND request_id NOT IN ('c')",
                &["tag.mlflow.traceName", "attribute.request_id"],
            ),
            ("tags.a IS NULL AND metadata.b is not null", &["tag.a", "request_metadata.b"]),
            ("span.attributes.x.y = 'z' AND feedback.a > 0.5", &["span.attributes.x.y", "feedback.a"]),
            (
                "run_id = 'x' AND prompt = 'a/1'",
                &["request_metadata.mlflow.sourceRun", "tag.mlflow.linkedPrompts"],
            ),
        ] {
            assert_eq!(keys_of_filter(filter).unwrap(), keys, "{filter}");
        }
    }

    #[test]
    fn every_spelling_of_a_search_through_content_is_one() {
        for key in [
            "text",
            "trace.text",
            "attributes.text",
            "tags.text",
            "tags.`TEXT`",
            "metadata.Text",
            "feedback.text",
            "`text`",
            "span.content",
            "tag.\"text\"",
        ] {
            let keys = keys_of_filter(&format!("{key} LIKE '%secret%'")).unwrap();
            assert_eq!(keys, ["span.content"], "{key}");
            assert!(!allowed_for_list(&keys[0]));
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for filter in [
            "status",
            "status =",
            "= 'OK'",
            "status = OK",
            "status = 'OK",
            "status = 'OK' OR name = 'x'",
            "(status = 'OK')",
            "status = 'OK';",
            "status = 'OK'; text = 'x'",
            "status = 'OK' -- x",
            "status = 'OK' # x",
            "status = 'OK' /* x */",
            "status = 'it''s'",
            "status = 'a\\' AND text LIKE '%x%'",
            "status = 'OK' AND",
            "AND status = 'OK'",
            "status == 'OK'",
            "tags . a = 'x'",
            "tags. a = 'x'",
            "`tags`.a = 'x'",
            "`tags.text` = 'x'",
            "`trace`.`text` = 'x'",
            "tags.`a`.b = 'x'",
            "tags.\"`text`\" = 'x'",
            "tags.`\"text\"` = 'x'",
            "tags.`` = 'x'",
            "tags.a-b = 'x'",
            "tags.1 = 'x'",
            "tags.\u{fc} = 'x'",
            "TAGS.a = 'x'",
            "params.a = 'x'",
            "status IN ()",
            "status IN ('a'",
            "status IN ('a',)",
            "status IN 'a'",
            "status NOT LIKE 'a'",
            "tags.a IS 'x'",
            "tags.a ISNULL",
            "status = 'a'AND name = 'x'",
            "status = 5x",
            "status = --5",
            "status\u{a0}= 'x'",
            "status = N'x'",
            "status = $$x$$",
            "'OK' = status",
        ] {
            assert!(keys_of_filter(filter).is_err(), "{filter} was read");
        }
        assert!(keys_of_filter(&"status = 'OK' AND ".repeat(10_000)).is_err());
    }

    #[test]
    fn sort_keys_are_read_as_filter_keys_are() {
        let entries = ["timestamp_ms DESC", "tags.text asc", "tag.`my key`", " name "].map(str::to_owned);
        assert_eq!(
            keys_of_order_by(&entries).unwrap(),
            ["attribute.timestamp_ms", "span.content", "tag.my key", "tag.mlflow.traceName"]
        );
        for entry in [
            "",
            "timestamp_ms down",
            "timestamp_ms desc desc",
            "timestamp_ms, text",
            "timestamp_ms desc; x",
            "a.b",
        ] {
            assert!(keys_of_order_by(&[entry.to_owned()]).is_err(), "{entry} was read");
        }
    }

    #[test]
    fn a_list_shows_ids_times_states_and_tags_only() {
        for key in [
            "attribute.request_id",
            "attribute.timestamp_ms",
            "attribute.status",
            "tag.team",
            "tag.mlflow.traceName",
        ] {
            assert!(allowed_for_list(key), "{key}");
        }
        for key in [
            "attribute.client_request_id",
            "attribute.request_preview",
            "attribute.x",
            "span.name",
            "span.attributes.a",
            "request_metadata.mlflow.traceInputs",
            "request_metadata.mlflow.sourceRun",
            "feedback.a",
            "expectation.a",
            "issue.id",
            "tag.mlflow.linkedPrompts",
            "tag.mlflow.artifactLocation",
            "status",
            "",
        ] {
            assert!(!allowed_for_list(key), "{key}");
        }
    }

    proptest! {
        #[test]
        fn any_filter_is_read_or_refused(filter in "([a-z`'\".=()<> ]|AND|text|tags|LIKE|\\PC){0,30}") {
            let _ = keys_of_filter(&filter);
            let _ = keys_of_order_by(&[filter]);
        }
    }
}
