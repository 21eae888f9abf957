//! Facts about the installation.

use async_trait::async_trait;

use super::SqliteStore;
use super::fault::Doing;
use crate::{Meta, Result};

#[async_trait]
impl Meta for SqliteStore {
    async fn fact(&self, key: &str) -> Result<Option<String>> {
        sqlx::query_scalar("select value from facts where key = ?1")
            .bind(key)
            .fetch_optional(&self.readers)
            .await
            .doing("read a fact")
    }

    async fn fact_or_insert(&self, key: &str, value: &str) -> Result<String> {
        let doing = "store a fact";
        let mut tx = self.write(doing).await?;
        sqlx::query("insert into facts (key, value) values (?1, ?2) on conflict do nothing")
            .bind(key)
            .bind(value)
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        let stored = sqlx::query_scalar("select value from facts where key = ?1")
            .bind(key)
            .fetch_one(&mut *tx)
            .await
            .doing(doing)?;
        tx.commit().await.doing(doing)?;
        Ok(stored)
    }

    async fn ping(&self) -> Result<()> {
        let doing = "see whether it takes writes";
        self.write(doing).await?.rollback().await.doing(doing)
    }
}
