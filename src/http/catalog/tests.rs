//! The catalog's rules as a table that a person can read.
