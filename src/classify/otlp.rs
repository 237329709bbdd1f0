//! Reads OTLP trace exports (protobuf or JSON, plain, gzip or deflate) in bounded memory: which traces,
//! which reserved attributes; and rewrites an export without the traces that are refused.
