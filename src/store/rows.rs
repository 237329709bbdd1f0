//! Reading stored text back into the types that it was written from. What does not parse is corrupt: a
//! store that somebody edited by hand must not become a decision.

use std::str::FromStr;

use sqlx::Row;
use sqlx::any::AnyRow;
use subtle::ConstantTimeEq;

use super::error::StoreError;
use super::keys::KeyedHash;
use crate::access::ExperimentId;
use crate::clock::UnixMillis;

pub(super) fn text(row: &AnyRow, column: &str) -> Result<String, StoreError> {
    Ok(row.try_get(column)?)
}

pub(super) fn number(row: &AnyRow, column: &str) -> Result<i64, StoreError> {
    Ok(row.try_get(column)?)
}

pub(super) fn time(row: &AnyRow, column: &str) -> Result<UnixMillis, StoreError> {
    number(row, column).map(UnixMillis)
}

pub(super) fn optional_time(row: &AnyRow, column: &str) -> Result<Option<UnixMillis>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(UnixMillis))
}

pub(super) fn parsed<T>(row: &AnyRow, column: &str) -> Result<T, StoreError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text(row, column)?.parse().map_err(|error: T::Err| StoreError::Corrupt(error.to_string()))
}

pub(super) fn optional_parsed<T>(row: &AnyRow, column: &str) -> Result<Option<T>, StoreError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    match row.try_get::<Option<String>, _>(column)? {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|error: T::Err| StoreError::Corrupt(error.to_string())),
    }
}

pub(super) fn experiment(row: &AnyRow, column: &str) -> Result<ExperimentId, StoreError> {
    ExperimentId::parse(&text(row, column)?).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Hashes that one query asks for. It always asks for so many, so that it is one query whatever the keys are.
const ASKED: usize = 8;

/// The hashes to ask for, one after another, the last one again and again.
pub(super) fn asked(hashes: &[KeyedHash]) -> Result<[Vec<u8>; ASKED], StoreError> {
    let Some(last) = hashes.last().filter(|_| hashes.len() <= ASKED) else {
        return Err(StoreError::Refused(format!("{} hashes cannot be asked for at once", hashes.len())));
    };
    Ok(std::array::from_fn(|index| hashes.get(index).unwrap_or(last).hash.to_vec()))
}

/// The row, with that of the hashes which is its own. The index compared with an early exit; this comparison is the
/// one that counts, and goes through all.
pub(super) fn of_hash<'r, 'h>(
    row: Option<&'r AnyRow>,
    hashes: &'h [KeyedHash],
) -> Result<Option<(&'r AnyRow, &'h KeyedHash)>, StoreError> {
    let Some(row) = row else { return Ok(None) };
    let stored: Vec<u8> = row.try_get("hash")?;
    let own = hashes
        .iter()
        .fold(None, |own, one| if bool::from(stored.as_slice().ct_eq(&one.hash)) { Some(one) } else { own });
    Ok(own.map(|hash| (row, hash)))
}
