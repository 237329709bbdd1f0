//! Finds the operation of a method and path.
