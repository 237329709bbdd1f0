//! What governed SQL costs beside plain DataFusion on the same files, and how many files an hour of exports leaves.
//!
//! ```sh
//! cargo bench -p tracegate-delta --bench tables -- [SPANS]
//! ```
//!
//! SPANS is how many spans the queries read, 10,000,000 if absent. Each query is run by both sides by turns, and each
//! answer is compared; medians and their ratio are printed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures_util::TryStreamExt as _;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use tracegate_delta::sql::{
    Defaults, Engine, Function, Governor, Query, QueryLimits, Refused, Relation, Rules, Statement, TableName,
};
use tracegate_delta::{Lake, LakeSettings, otlp, schemas};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Spans of a batch that fills the table.
const BATCH: u64 = 50_000;
/// Spans of a trace.
const TRACE: u64 = 8;
const ROUNDS: usize = 7;
/// When the first span began, in nanoseconds since 1970.
const BEGAN: u64 = 1_760_000_000_000_000_000;
/// From one span to the next, in nanoseconds.
const STEP: u64 = 360_000;

const QUERIES: [(&str, &str); 4] = [
    ("count", "SELECT count(*) FROM spans"),
    (
        "group by name",
        "SELECT name, count(*) AS n, max(end_time_unix_nano - start_time_unix_nano) AS longest FROM spans GROUP BY name ORDER BY name",
    ),
    ("one trace", "SELECT span_id FROM spans WHERE trace_id = '{trace}' ORDER BY span_id"),
    (
        "text in attributes",
        "SELECT count(*) FROM spans WHERE attributes LIKE '%order 77 %' AND start_time_unix_nano < {middle}",
    ),
];

/// Lets everybody read the one table.
struct Open(String);

#[async_trait]
impl Governor for Open {
    async fn relation(&self, _: &TableName, _: &[TableName]) -> Result<Relation, Refused> {
        Ok(Relation::Table { place: self.0.clone(), rules: Rules::default() })
    }

    async fn function(&self, name: &TableName) -> Result<Function, Refused> {
        Err(Refused::Missing(name.table.clone()))
    }

    fn current_user(&self) -> String {
        "ann".to_owned()
    }

    fn is_member(&self, _: &str) -> bool {
        false
    }
}

/// A number that looks random, the same in every run.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn trace_id(trace: u64) -> [u8; 16] {
    (u128::from(mixed(trace)) << 64 | u128::from(mixed(!trace))).to_be_bytes()
}

fn text(key: &str, value: String) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value)) }),
        ..Default::default()
    }
}

fn span(number: u64) -> Span {
    let start = BEGAN + number * STEP;
    let chance = mixed(number);
    Span {
        trace_id: trace_id(number / TRACE).to_vec(),
        span_id: mixed(number).to_be_bytes().to_vec(),
        name: ["answer", "retrieve", "rerank", "chat", "tool"][(number % 5) as usize].to_owned(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + chance % 900_000_000,
        attributes: vec![
            text("gen_ai.request.model", format!("model-{}", chance % 4)),
            text("gen_ai.prompt", format!("where is order {} of customer {chance}?", chance % 1000)),
            text("gen_ai.completion", format!("it left on day {} with {:x}", chance % 31, mixed(chance))),
        ],
        ..Default::default()
    }
}

fn export(first: u64, spans: u64) -> Result<RecordBatch, Failure> {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: (first..first + spans).map(span).collect(),
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    let now = i64::try_from(BEGAN)?;
    Ok(otlp::spans(&request.encode_to_vec(), otlp::Version::V2, now)?.rows)
}

async fn table(lake: &Lake, directory: &Path, name: &str) -> Result<String, Failure> {
    let place = format!("file://{}/{name}", directory.display());
    lake.create(&place, schemas::spans(), &BTreeMap::new()).await?;
    Ok(place)
}

/// Files of rows in a directory, and their bytes.
fn files(directory: &Path) -> Result<(usize, u64), Failure> {
    let (mut count, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|ending| ending == "parquet") {
            count += 1;
            bytes += entry.metadata()?.len();
        }
    }
    Ok((count, bytes))
}

/// Files that a reader of the latest version opens, and their bytes.
async fn live(place: &str) -> Result<(usize, u64), Failure> {
    let table = deltalake_core::open_table(url::Url::parse(&format!("{place}/"))?).await?;
    let (mut count, mut bytes) = (0, 0);
    for uri in table.get_file_uris()? {
        count += 1;
        bytes += std::fs::metadata(uri.trim_start_matches("file://"))?.len();
    }
    Ok((count, bytes))
}

/// An export of 50 spans each second for an hour, one after the other, merged as often as the gateway merges.
async fn an_hour(lake: &Lake, directory: &Path) -> Result<(), Failure> {
    const EACH: u64 = 50;
    let place = table(lake, directory, "hour").await?;
    let begun = Instant::now();
    let mut most = 0;
    for second in 0..3600 {
        lake.append(&place, export(second * EACH, EACH)?).await?;
        if second % 300 == 299 {
            most = most.max(live(&place).await?.0);
            lake.maintain(&place).await?;
        }
    }
    let (count, bytes) = live(&place).await?;
    let (on_disk, bytes_on_disk) = files(&directory.join("hour"))?;
    println!("\nan hour's load: 3,600 exports of {EACH} spans in {:.0} s", begun.elapsed().as_secs_f64());
    println!("  files to read      {most} before a merge at most, {count} at the end");
    println!("  bytes per span     {:.0}", bytes as f64 / (3600 * EACH) as f64);
    println!(
        "  files on the disk  {on_disk}, {bytes_on_disk} bytes (merged ones stay for readers that began before)"
    );
    Ok(())
}

async fn fill(lake: &Lake, place: &str, spans: u64) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut first = 0;
    while first < spans {
        let many = BATCH.min(spans - first);
        lake.append(place, export(first, many)?).await?;
        first += many;
        if first % (BATCH * 20) == 0 || first == spans {
            println!("  filled {first} of {spans} spans, {:.0} s", begun.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

async fn governed(engine: &Engine, place: &str, text: &str) -> Result<Vec<RecordBatch>, Failure> {
    let Statement::Query(query) = tracegate_delta::sql::parse(text)? else { return Err("no query".into()) };
    let query = Query { text: query.text };
    let defaults = Defaults { catalog: Some("main".to_owned()), schema: Some("t".to_owned()) };
    let limits = QueryLimits {
        memory_bytes: 4 << 30,
        time: Duration::from_secs(600),
        rows: None,
        bytes: None,
        held: None,
    };
    let rows = engine.run(&query, &[], &defaults, Arc::new(Open(place.to_owned())), &limits).await?;
    Ok(rows.batches.try_collect().await?)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

async fn queries(lake: &Lake, directory: &Path, spans: u64) -> Result<(), Failure> {
    println!("\n{spans} spans");
    let place = table(lake, directory, "spans").await?;
    fill(lake, &place, spans).await?;
    let (count, bytes) = live(&place).await?;
    println!("  {count} files, {:.0} bytes per span", bytes as f64 / spans as f64);

    let engine = Engine::new(lake.clone(), 8 << 30)?;
    let threads = std::thread::available_parallelism()?.get();
    let url = url::Url::parse(&format!("{place}/"))?;
    println!("\n{:20} {:>12} {:>12} {:>8}", "query (median)", "plain ms", "governed ms", "ratio");
    for (name, text) in QUERIES {
        let traced = otlp_hex(&trace_id(spans / TRACE / 2));
        let middle = BEGAN + spans / 2 * STEP;
        let text = text.replace("{trace}", &traced).replace("{middle}", &middle.to_string());
        let (mut plain, mut ours) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let begun = Instant::now();
            // A session and a table opened for each statement, as the gateway does.
            let session =
                SessionContext::new_with_config(SessionConfig::new().with_target_partitions(threads));
            let opened = deltalake_core::open_table(url.clone()).await?;
            session.register_table("spans", opened.table_provider().await?)?;
            let expected = session.sql(&text).await?.collect().await?;
            let of_plain = begun.elapsed();
            let begun = Instant::now();
            let answered = governed(&engine, &place, &text).await?;
            let of_ours = begun.elapsed();
            same(&expected, &answered)?;
            // The first round fills the cache of the file system.
            if round > 0 {
                plain.push(of_plain);
                ours.push(of_ours);
            }
        }
        let (plain, ours) = (median(plain), median(ours));
        println!("{name:20} {plain:12.1} {ours:12.1} {:8.2}", ours / plain);
    }
    Ok(())
}

fn otlp_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn same(one: &[RecordBatch], other: &[RecordBatch]) -> Result<(), Failure> {
    use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
    let rows = |batches: &[RecordBatch]| -> Result<Vec<String>, Failure> {
        let (mut rows, options) = (Vec::new(), FormatOptions::default());
        for batch in batches {
            let columns: Result<Vec<_>, _> =
                batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect();
            let columns = columns?;
            for row in 0..batch.num_rows() {
                rows.push(columns.iter().map(|column| format!("{}|", column.value(row))).collect());
            }
        }
        Ok(rows)
    };
    match rows(one)? == rows(other)? {
        true => Ok(()),
        false => Err("the two sides answered differently".into()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let spans = std::env::args().skip(1).find_map(|argument| argument.replace('_', "").parse().ok());
    let directory = tempfile::tempdir()?;
    let root = directory.path().canonicalize()?;
    let lake = Lake::new(LakeSettings { directories: vec![root.clone()], waiting_bytes: 1 << 30 })?;
    println!("{} cores; tables in {}", std::thread::available_parallelism()?, root.display());
    an_hour(&lake, &root).await?;
    queries(&lake, &root, spans.unwrap_or(10_000_000)).await
}
