//! What arbitrary bytes are held to: one function for each reader of what callers send. Each says more than
//! that nothing panics: what is classified is what is forwarded, what is accepted has one meaning, nothing
//! that was not sealed or signed opens.
//!
//! `cargo test --lib fuzzing` runs them over `tests/fuzz/corpus` and a number of mutations of it; `make fuzz`
//! gives the same functions to libFuzzer (`tests/fuzz`). A reader that is private keeps its function beside
//! it, in a file called `fuzz.rs`.

mod lake;
mod store;
mod wire;

#[cfg(test)]
mod tests;

/// A function for bytes that anybody could have sent. It panics if they do what they must not.
pub struct Target {
    /// Names the folder of its corpus.
    pub name: &'static str,
    pub run: fn(&[u8]),
}

pub const TARGETS: &[Target] = &[
    Target { name: "path", run: wire::path },
    Target { name: "query", run: wire::query },
    Target { name: "headers", run: wire::headers },
    Target { name: "json", run: wire::json },
    Target { name: "request_head", run: crate::http::fuzz::request_head },
    Target { name: "forwarded", run: crate::http::fuzz::forwarded },
    Target { name: "authorization", run: crate::identity::fuzz::authorization },
    Target { name: "jwt", run: crate::identity::fuzz::jwt },
    Target { name: "jwt_signed", run: crate::identity::fuzz::jwt_signed },
    Target { name: "otlp_protobuf", run: store::otlp_protobuf },
    Target { name: "otlp_json", run: store::otlp_json },
    Target { name: "otlp_encoded", run: crate::classify::otlp::fuzz::encoded },
    Target { name: "otlp_columns", run: lake::otlp_columns },
    Target { name: "statement", run: lake::statement },
    Target { name: "graphql", run: wire::graphql },
    Target { name: "trace_filter", run: store::trace_filter },
    Target { name: "search", run: crate::backend::fuzz::search },
    Target { name: "scim_filter", run: crate::http::fuzz::scim_filter },
    Target { name: "sealed", run: crate::http::fuzz::sealed },
    Target { name: "page_token", run: crate::backend::fuzz::page_token },
    Target { name: "policy_yaml", run: crate::cli::fuzz::policy_yaml },
    Target { name: "audit_segment", run: crate::audit::fuzz::segment },
    Target { name: "audit_export", run: crate::audit::fuzz::export },
];
