//! Tag and metadata keys that clients may not set through any door.
