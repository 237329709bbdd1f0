//! Reads GraphQL queries: every field that names a securable becomes a need, all else is refused.
