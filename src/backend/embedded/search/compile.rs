//! Conditions on traces as SQL on the table `traces t`, with what one must know to ask for them fast.
//!
//! The text of each condition is made once and may stand in the statement several times; its values are bound
//! once.

use sqlx::Row as _;

use super::super::EmbeddedShared;
use super::super::filter::{Comparator, Number, Query, Value};
use super::super::many;
use super::super::problem::Problem;
use super::super::python_json;
use super::meaning::{Attribute, Condition, SESSION, SOURCE_RUN, as_number, pattern_of};
use super::spans::SpanFilter;
use crate::database::Dialect;

/// `trace_marks` keeps this many characters of a value.
const MARK: usize = 256;

/// A filter for a set of experiments.
pub struct Compiled {
    /// Has the values, and no text yet.
    pub query: Query,
    /// The placeholders of the experiments.
    pub experiments: Vec<String>,
    /// Conditions on `t`.
    pub plain: Vec<String>,
    /// Conditions whose traces can be found without looking at all.
    pub sets: Vec<Set>,
    /// What one span must satisfy, if spans are asked for.
    pub spans: Option<SpanFilter>,
    /// Texts of traces that no database compares for us.
    pub expressions: Vec<(TraceText, regex::Regex)>,
}

/// A condition with the statement that yields the numbers of the traces, and perhaps a few more.
pub struct Set {
    pub condition: String,
    pub members: String,
    /// Equality of a mark: these conditions on `trace_marks m` find the traces in the order of time.
    pub marks: Option<String>,
    /// A statement that yields a row if there are other members than those of the marks.
    pub others: Option<String>,
}

/// A text of a trace.
#[derive(Debug, Clone)]
pub enum TraceText {
    Column(&'static str),
    Mark { metadata: bool, key: String },
}

impl TraceText {
    /// As an expression on `t`.
    pub fn expression(&self, query: &mut Query) -> String {
        match self {
            Self::Column(name) => (*name).to_owned(),
            Self::Mark { metadata, key } => {
                let key = query.place(key.as_str());
                of_mark(query.dialect, *metadata, &key)
            }
        }
    }
}

/// The whole value of a tag or a metadata entry, NULL if there is none. `key` is a placeholder.
pub fn of_mark(dialect: Dialect, metadata: bool, key: &str) -> String {
    let column = if metadata { "t.metadata" } else { "t.tags" };
    match dialect {
        Dialect::Sqlite => format!("(SELECT j.value FROM json_each({column}) j WHERE j.key = {key})"),
        Dialect::Postgres => format!("(CAST({column} AS json) ->> CAST({key} AS TEXT))"),
    }
}

impl Compiled {
    pub async fn new(
        store: &EmbeddedShared,
        experiments: &[i64],
        conditions: Vec<Condition>,
    ) -> Result<Self, Problem> {
        let mut query = Query::new(store.database.dialect, "");
        let experiments = experiments.iter().map(|experiment| query.place(*experiment)).collect();
        let mut compiled = Self {
            query,
            experiments,
            plain: Vec::new(),
            sets: Vec::new(),
            spans: None,
            expressions: Vec::new(),
        };
        let mut not_before: Option<f64> = None;
        for condition in conditions {
            if let Condition::Attribute(
                Attribute::RequestTime,
                Comparator::Greater | Comparator::GreaterOrEqual,
                value,
            ) = &condition
                && let Some(number) = as_number(value)
            {
                not_before = Some(not_before.map_or(number.float(), |known| known.max(number.float())));
            }
            compiled.push(store, condition).await?;
        }
        if let (Some(spans), Some(time)) = (&mut compiled.spans, not_before) {
            spans.not_before(time);
        }
        compiled.push_spans()?;
        Ok(compiled)
    }

    /// `($1, $2)`.
    pub fn scope(&self) -> String {
        format!("({})", self.experiments.join(", "))
    }

    async fn push(&mut self, store: &EmbeddedShared, condition: Condition) -> Result<(), Problem> {
        match condition {
            Condition::Attribute(attribute, comparator, value) => {
                self.attribute(attribute, comparator, &value)
            }
            Condition::Mark { metadata, key, comparator, value } => {
                self.mark(metadata, key, comparator, value)
            }
            Condition::Run(run) => self.run(&run),
            Condition::Prompt(prompt) => {
                let target = self.query.place(prompt);
                self.link(&format!("l.kind = 'prompt' AND l.target = {target}"));
                Ok(())
            }
            Condition::Issue(issue) => {
                let name = self.query.place(issue);
                let base = format!("a.kind = 'issue' AND a.name = {name}");
                self.sets.push(Set::of_rows("assessments a", "a.trace_no", &base));
                Ok(())
            }
            Condition::Span(column, comparator, value) => {
                self.spans.get_or_insert_default().push(column, comparator, value);
                Ok(())
            }
            Condition::Assessment { kind, name, comparator, value } => {
                self.assessment(store, kind, &name, comparator, value).await
            }
        }
    }

    fn attribute(
        &mut self,
        attribute: Attribute,
        comparator: Comparator,
        value: &Value,
    ) -> Result<(), Problem> {
        let text = match attribute {
            Attribute::State => "t.state",
            Attribute::TraceId => "t.trace_id",
            Attribute::ClientRequestId => "t.client_request_id",
            Attribute::RequestTime => return self.number("t.request_time", comparator, value),
            Attribute::Duration => return self.number("t.duration", comparator, value),
            Attribute::EndTime => {
                return self.number("(t.request_time + COALESCE(t.duration, 0))", comparator, value);
            }
            Attribute::Experiment => return self.number("t.experiment_id", comparator, value),
        };
        if let (Comparator::RLike, Dialect::Sqlite, Value::Text(pattern)) =
            (comparator, self.query.dialect, value)
        {
            let expression = pattern_of(pattern).map_err(Problem::invalid)?;
            self.expressions.push((TraceText::Column(text), expression));
            return Ok(());
        }
        let condition = self.query.aside(|query| query.compare(text, comparator, value))?;
        let unique = attribute != Attribute::State;
        if unique && matches!(comparator, Comparator::Equal | Comparator::In) {
            self.sets.push(Set {
                members: format!("SELECT t.trace_no FROM traces t WHERE {condition}"),
                condition,
                marks: None,
                others: None,
            });
        } else {
            self.plain.push(condition);
        }
        Ok(())
    }

    fn number(&mut self, column: &str, comparator: Comparator, value: &Value) -> Result<(), Problem> {
        let condition = match as_number(value) {
            Some(number) => {
                self.query.aside(|query| query.compare(column, comparator, &Value::Number(number)))?
            }
            // To a database every text is more than any number.
            None => match comparator {
                Comparator::Less | Comparator::LessOrEqual | Comparator::NotEqual => {
                    format!("{column} IS NOT NULL")
                }
                _ => "1 = 0".to_owned(),
            },
        };
        self.plain.push(condition);
        Ok(())
    }

    /// A tag or a metadata entry. Marks know values up to a length; the truth is in the trace.
    fn mark(
        &mut self,
        metadata: bool,
        key: String,
        comparator: Comparator,
        value: Option<Value>,
    ) -> Result<(), Problem> {
        if let (Comparator::RLike, Dialect::Sqlite, Some(Value::Text(pattern))) =
            (comparator, self.query.dialect, &value)
        {
            let expression = pattern_of(pattern).map_err(Problem::invalid)?;
            self.expressions.push((TraceText::Mark { metadata, key }, expression));
            return Ok(());
        }
        let key = self.query.place(key);
        let marked = format!("m.kind = {} AND m.key = {key}", i64::from(metadata));
        let of_trace = |more: &str| {
            format!("(SELECT 1 FROM trace_marks m WHERE m.trace_no = t.trace_no AND {marked}{more})")
        };
        let Some(value) = value else {
            let not = if comparator == Comparator::IsNull { "NOT " } else { "" };
            self.plain.push(format!("{not}EXISTS {}", of_trace("")));
            return Ok(());
        };
        let long = matches!(&value, Value::Text(text) if text.chars().count() >= MARK);
        if matches!(comparator, Comparator::Equal | Comparator::NotEqual) && !long {
            let compared = self.query.aside(|query| query.compare("m.value", comparator, &value))?;
            let condition = format!("EXISTS {}", of_trace(&format!(" AND {compared}")));
            if comparator == Comparator::NotEqual {
                self.plain.push(condition);
                return Ok(());
            }
            let marks = format!("{marked} AND {compared}");
            let members = format!(
                "SELECT m.trace_no FROM trace_marks m WHERE m.experiment_id IN {} AND {marks}",
                self.scope()
            );
            self.sets.push(Set { condition, members, marks: Some(marks), others: None });
            return Ok(());
        }
        let truth = of_mark(self.query.dialect, metadata, &key);
        if long {
            let condition = self.query.aside(|query| query.compare(&truth, comparator, &value))?;
            self.plain.push(condition);
            return Ok(());
        }
        // A mark that is shorter than what it keeps is the truth itself, and an index has it.
        let short = self.query.aside(|query| query.compare("m.value", comparator, &value))?;
        let whole = self.query.aside(|query| query.compare(&truth, comparator, &value))?;
        let is_short = format!("length(m.value) < {MARK}");
        self.plain.push(format!(
            "EXISTS {}",
            of_trace(&format!(" AND CASE WHEN {is_short} THEN {short} ELSE {whole} END"))
        ));
        Ok(())
    }

    /// Of a run: by the metadata, or by a link.
    fn run(&mut self, run: &str) -> Result<(), Problem> {
        self.mark(true, SOURCE_RUN.to_owned(), Comparator::Equal, Some(Value::Text(run.to_owned())))?;
        let target = self.query.place(run);
        let links = format!("l.kind = 'run' AND l.target = {target}");
        let of_trace =
            format!("EXISTS (SELECT 1 FROM trace_links l WHERE l.trace_no = t.trace_no AND {links})");
        let linked = format!("SELECT l.trace_no FROM trace_links l WHERE {links}");
        if let Some(set) = self.sets.last_mut().filter(|set| set.marks.is_some()) {
            set.condition = format!("({} OR {of_trace})", set.condition);
            set.members = format!("{} UNION ALL {linked}", set.members);
            set.others = Some(format!("{linked} LIMIT 1"));
        } else if let Some(condition) = self.plain.last_mut() {
            // An id too long for marks.
            *condition = format!("({condition} OR {of_trace})");
        }
        Ok(())
    }

    fn link(&mut self, base: &str) {
        self.sets.push(Set::of_rows("trace_links l", "l.trace_no", base));
    }

    /// An assessment of the trace itself, or of its session: one that says which session it is of counts for
    /// all traces of that session.
    async fn assessment(
        &mut self,
        store: &EmbeddedShared,
        kind: &str,
        name: &str,
        comparator: Comparator,
        value: Option<Value>,
    ) -> Result<(), Problem> {
        let name = self.query.place(name);
        let mut base = format!("a.kind = '{kind}' AND a.name = {name} AND a.valid = 1");
        if let Some(value) = value {
            let compared = self.assessment_value(store, &base, comparator, value).await?;
            base = format!("{base} AND {compared}");
        }
        let dialect = self.query.dialect;
        let of_session = match dialect {
            Dialect::Sqlite => "instr(a.metadata, '\"mlflow.trace.session\":') > 0",
            Dialect::Postgres => "strpos(a.metadata, '\"mlflow.trace.session\":') > 0",
        };
        let scope = self.scope();
        let session = |alias: &str| {
            format!("{alias}.experiment_id IN {scope} AND {alias}.kind = 1 AND {alias}.key = '{SESSION}'")
        };
        let siblings = format!(
            "SELECT m.trace_no FROM trace_marks m WHERE {} AND m.value IN (SELECT o.value FROM assessments a \
             JOIN trace_marks o ON o.trace_no = a.trace_no WHERE {} AND {base} AND {of_session})",
            session("m"),
            session("o"),
        );
        let own = format!("EXISTS (SELECT 1 FROM assessments a WHERE a.trace_no = t.trace_no AND {base})");
        if comparator == Comparator::IsNull {
            self.plain.push(format!("NOT {own} AND t.trace_no NOT IN ({siblings})"));
            return Ok(());
        }
        self.sets.push(Set {
            condition: format!("({own} OR t.trace_no IN ({siblings}))"),
            members: format!("SELECT a.trace_no FROM assessments a WHERE {base} UNION ALL {siblings}"),
            marks: None,
            others: None,
        });
        Ok(())
    }

    /// Values are JSON: a text stands in it with its quotes, and is found with or without them.
    async fn assessment_value(
        &mut self,
        store: &EmbeddedShared,
        base: &str,
        comparator: Comparator,
        value: Value,
    ) -> Result<String, Problem> {
        match (comparator, &value) {
            (Comparator::Equal | Comparator::NotEqual, Value::Text(text)) => {
                let raw = self.query.place(text.as_str());
                let quoted = python_json::dumps(&serde_json::Value::String(text.clone()));
                let json = self.query.place(python_json::ascii(&quoted));
                let not = if comparator == Comparator::NotEqual { "NOT " } else { "" };
                Ok(format!("{not}(a.value = {raw} OR a.value = {json})"))
            }
            (_, Value::Number(number)) => {
                let number = Value::Number(Number::Float(number.float()));
                let compared =
                    self.query.aside(|query| query.compare("a.aggregate_value", comparator, &number))?;
                Ok(format!("a.is_numeric_value = 1 AND {compared}"))
            }
            (Comparator::RLike, Value::Text(pattern)) if self.query.dialect == Dialect::Sqlite => {
                let expression = pattern_of(pattern).map_err(Problem::invalid)?;
                let mut query = self.query.clone();
                query.push("SELECT DISTINCT a.value FROM assessments a WHERE ").push(base);
                let mut matching: Vec<String> = Vec::new();
                for row in query.fetch_all(&store.database.reader).await? {
                    let value: String = row.try_get(0)?;
                    if expression.is_match(&value) {
                        matching.push(value);
                    }
                }
                let list = self.query.place(many::list(&matching));
                Ok(format!("a.value IN (SELECT value FROM json_each({list}))"))
            }
            _ => self.query.aside(|query| query.compare("a.value", comparator, &value)),
        }
    }

    /// Spans, as far as the database can tell; the rest is looked at trace by trace.
    fn push_spans(&mut self) -> Result<(), Problem> {
        let Some(spans) = self.spans.clone() else { return Ok(()) };
        if spans.never {
            self.plain.push("1 = 0".to_owned());
            self.spans = None;
            return Ok(());
        }
        let dialect = self.query.dialect;
        let check = spans.needs_check(dialect);
        // SQLite would read all content of all traces for each page; there it is looked at by and by.
        if check && dialect == Dialect::Sqlite {
            return Ok(());
        }
        let conditions = self.query.aside(|query| spans.push_conditions(query, true))?;
        let condition = format!("EXISTS (SELECT 1 FROM spans s WHERE s.trace_no = t.trace_no{conditions})");
        if spans.names_a_span() {
            let members = format!("SELECT s.trace_no FROM spans s WHERE 1 = 1{conditions}");
            self.sets.push(Set { condition, members, marks: None, others: None });
        } else {
            self.plain.push(condition);
        }
        if !check {
            self.spans = None;
        }
        Ok(())
    }
}

impl Set {
    /// Traces that have such rows in another table.
    fn of_rows(table: &str, trace_no: &str, base: &str) -> Self {
        Self {
            condition: format!("EXISTS (SELECT 1 FROM {table} WHERE {trace_no} = t.trace_no AND {base})"),
            members: format!("SELECT {trace_no} FROM {table} WHERE {base}"),
            marks: None,
            others: None,
        }
    }
}
