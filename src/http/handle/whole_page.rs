//! A page of traces of which nothing is masked: read as far as the record needs it, and passed on as it
//! stands. Building every value of a page only to write it again was most of what a search cost here.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::access::TraceId;

/// Texts by key.
type Texts<'p> = HashMap<Cow<'p, str>, Cow<'p, str>>;

pub(super) struct WholePage<'p> {
    pub traces: Vec<WholeTrace<'p>>,
    pub next_page_token: Option<Cow<'p, str>>,
}

pub(super) struct WholeTrace<'p> {
    pub id: TraceId,
    texts: [Texts<'p>; 2],
    json: &'p RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page<'p> {
    #[serde(borrow, default)]
    traces: Vec<&'p RawValue>,
    #[serde(borrow, default)]
    next_page_token: Option<Cow<'p, str>>,
}

/// What of a trace the record needs. In MLflow 2's form tags are a list: not read here.
#[derive(Deserialize)]
struct Trace<'p> {
    #[serde(borrow)]
    trace_id: Cow<'p, str>,
    #[serde(borrow, default)]
    tags: Texts<'p>,
    #[serde(borrow, default)]
    trace_metadata: Texts<'p>,
    request_metadata: Option<serde::de::IgnoredAny>,
}

/// Nothing if the page is not of exactly this form: then it is read value by value.
pub(super) fn read(bytes: &[u8]) -> Option<WholePage<'_>> {
    let Page { traces, next_page_token } = object(bytes)?;
    let traces = traces.into_iter().map(whole).collect::<Option<_>>()?;
    Some(WholePage { traces, next_page_token: next_page_token.filter(|token| !token.is_empty()) })
}

/// Serde would take a list of the fields' values as well.
fn object<'p, T: Deserialize<'p>>(bytes: &'p [u8]) -> Option<T> {
    if bytes.first() == Some(&b'{') { serde_json::from_slice(bytes).ok() } else { None }
}

fn whole(json: &RawValue) -> Option<WholeTrace<'_>> {
    let trace: Trace<'_> = object(json.get().as_bytes())?;
    if trace.request_metadata.is_some() {
        return None;
    }
    Some(WholeTrace {
        id: TraceId::parse(&trace.trace_id).ok()?,
        texts: [trace.tags, trace.trace_metadata],
        json,
    })
}

impl WholeTrace<'_> {
    /// Its tags and metadata.
    pub fn marks(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().flatten().map(|(key, value)| (key.as_ref(), value.as_ref()))
    }
}

impl WholePage<'_> {
    /// The page with another token.
    pub fn written(&self, token: Option<&str>) -> String {
        let length: usize = self.traces.iter().map(|trace| trace.json.get().len() + 1).sum();
        let mut page = String::with_capacity(length + 200);
        page.push('{');
        if !self.traces.is_empty() {
            page.push_str("\"traces\":[");
            for (index, trace) in self.traces.iter().enumerate() {
                if index > 0 {
                    page.push(',');
                }
                page.push_str(trace.json.get());
            }
            page.push(']');
        }
        if let Some(token) = token {
            if !self.traces.is_empty() {
                page.push(',');
            }
            page.push_str("\"next_page_token\":");
            page.push_str(&serde_json::Value::from(token).to_string());
        }
        page.push('}');
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "tr-a50f1d685f7cf6ff7e0dede8b2acad2c";

    #[test]
    fn what_is_passed_on_is_what_came_but_for_the_token() {
        let trace = format!(
            r#"{{"trace_id":"{ID}","tags":{{"a":"b\n"}},"trace_metadata":{{"u":"v"}},"x":[1,2.50]}}"#
        );
        let text = format!(r#"{{"traces":[{trace},{trace}],"next_page_token":"theirs"}}"#);
        let page = read(text.as_bytes()).unwrap();
        assert_eq!(page.traces.len(), 2);
        let mut marks: Vec<_> = page.traces[0].marks().collect();
        marks.sort_unstable();
        assert_eq!(marks, [("a", "b\n"), ("u", "v")]);
        assert_eq!(page.next_page_token.as_deref(), Some("theirs"));
        assert_eq!(page.written(Some("o\"urs")), text.replace("theirs", r#"o\"urs"#));
        assert_eq!(page.written(None), format!(r#"{{"traces":[{trace},{trace}]}}"#));
        assert_eq!(read(b"{}").unwrap().written(None), "{}");
        assert_eq!(read(b"{}").unwrap().written(Some("t")), r#"{"next_page_token":"t"}"#);
    }

    #[test]
    fn anything_else_is_left_to_the_slow_way() {
        for other in [
            "[]".to_owned(),
            format!(r#"{{"traces":[["{ID}",{{}},{{}},null]]}}"#),
            r#"{"traces":[{"trace_id":"x"}]}"#.to_owned(),
            r#"{"traces":[{"request_id":"r"}]}"#.to_owned(),
            r#"{"traces":[],"more":1}"#.to_owned(),
            r#"{"traces":[],"traces":[]}"#.to_owned(),
            format!(r#"{{"traces":[{{"trace_id":"{ID}","trace_id":"{ID}"}}]}}"#),
            format!(r#"{{"traces":[{{"trace_id":"{ID}","tags":[{{"key":"k","value":"v"}}]}}]}}"#),
            format!(r#"{{"traces":[{{"trace_id":"{ID}","request_metadata":[]}}]}}"#),
            format!(r#"{{"traces":[{{"trace_id":"{ID}"}}"#),
        ] {
            assert!(read(other.as_bytes()).is_none(), "{other}");
        }
    }
}
