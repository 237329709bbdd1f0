//! OTLP exports as protobuf, written by hand: what a client library would not send must be sendable.

use std::io::Write;

fn varint(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A length-delimited field.
pub fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    varint(bytes.len(), &mut out);
    out.extend_from_slice(bytes);
    out
}

/// A span of a trace (`tr-` and 32 hex digits); without a parent it is the root.
pub fn span(trace: &str, number: u8, name: &str) -> Vec<u8> {
    let trace = hex::decode(trace.strip_prefix("tr-").unwrap()).unwrap();
    let mut span = [field(1, &trace), field(2, &[number; 8])].concat();
    if number > 1 {
        span.extend(field(4, &[1; 8]));
    }
    span.extend(field(5, name.as_bytes()));
    span
}

/// An `ExportTraceServiceRequest` with these spans.
pub fn export(spans: &[Vec<u8>]) -> Vec<u8> {
    let spans: Vec<u8> = spans.iter().flat_map(|span| field(2, span)).collect();
    field(1, &field(2, &spans))
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
