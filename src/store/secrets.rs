//! Keys that all replicas share: made by whoever first asks, the same for everyone after.

use sqlx::Row;

use super::Store;
use super::error::StoreError;

impl Store {
    /// The 32 random bytes of this name.
    pub async fn secret(&self, name: &str) -> Result<[u8; 32], StoreError> {
        let fresh: [u8; 32] = rand::random();
        sqlx::query("INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(fresh.to_vec())
            .execute(&self.database.writer)
            .await?;
        let row = sqlx::query("SELECT value FROM secrets WHERE name = $1")
            .bind(name)
            .fetch_one(&self.database.writer)
            .await?;
        let value: Vec<u8> = row.try_get(0)?;
        value.try_into().map_err(|_| StoreError::Corrupt(format!("secret `{name}` is not 32 bytes long")))
    }
}
