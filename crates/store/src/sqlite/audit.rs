//! The audit log.

use async_trait::async_trait;
use restic_manager_core::id::AuditId;
use restic_manager_core::model::{AuditEntry, AuditRow};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::SqliteStore;
use super::fault::Doing;
use super::paging::{id_after, listed, rows_for};
use super::rows::{self, json};
use crate::{Audit, AuditFilter, Cursor, Listed, PageRequest, Result};

#[async_trait]
impl Audit for SqliteStore {
    async fn record(&self, entry: AuditEntry) -> Result<()> {
        let doing = "record an event";
        let mut tx = self.write(doing).await?;
        write(&mut tx, &entry).await?;
        tx.commit().await.doing(doing)
    }

    async fn audit(&self, filter: &AuditFilter, page: PageRequest) -> Result<Listed<AuditRow>> {
        let doing = "list the audit log";
        let mut query = listing(filter, &page)?;
        let found = query.build().fetch_all(&self.readers).await.doing(doing)?;
        let items = found.iter().map(rows::audit_row).collect::<Result<Vec<_>>>()?;
        listed(items, &page, |row| Ok(Cursor(row.id.to_string())))
    }
}

/// Writes a row of the audit log in the transaction of the change.
pub(super) async fn write(connection: &mut SqliteConnection, entry: &AuditEntry) -> Result<()> {
    write_all(connection, std::slice::from_ref(entry)).await
}

/// Writes several rows at once.
pub(super) async fn write_all(connection: &mut SqliteConnection, entries: &[AuditEntry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into audit (id, at, actor_kind, actor, action, subject_kind, subject_id, detail) \
         select value->>'id', value->>'at', value->>'$.actor.kind', value->>'$.actor.name', value->>'action', \
         value->>'subject_kind', value->>'subject_id', value->'detail' from json_each(?1)",
    )
    .bind(json("audit rows", entries)?)
    .execute(connection)
    .await
    .doing("write the audit log")?;
    Ok(())
}

/// The statement of a page. The narrowest condition leads the search by its index; the others only filter (`+` keeps them out of the
/// planner's choice), so that the rows always come in order and the search ends when the page is full.
pub(super) fn listing(filter: &AuditFilter, page: &PageRequest) -> Result<QueryBuilder<Sqlite>> {
    let mut query = QueryBuilder::new("select * from audit where true");
    let led = filter.subject_id.is_some();
    let equal = |query: &mut QueryBuilder<Sqlite>, leads: bool, column: &'static str, value: &str| {
        query
            .push(if leads { " and " } else { " and +" })
            .push(column)
            .push(" = ")
            .push_bind(value.to_owned());
    };
    if let Some(id) = &filter.subject_id {
        equal(&mut query, true, "subject_id", id);
    }
    if let Some(name) = &filter.actor {
        equal(&mut query, !led, "actor", name);
    }
    if let Some(action) = &filter.action {
        equal(&mut query, !led && filter.actor.is_none(), "action", action);
    }
    if let Some(kind) = filter.actor_kind {
        equal(&mut query, false, "actor_kind", kind.as_str());
    }
    if let Some(kind) = &filter.subject_kind {
        equal(&mut query, false, "subject_kind", kind);
    }
    if let Some(since) = filter.since {
        let at = since.as_millis();
        query.push(" and +at >= ").push_bind(at);
        // Ids sort by minting, not by `at`: the oldest id among the rows since then bounds the walk exactly.
        query.push(" and id >= (select min(a.id) from audit a where a.at >= ").push_bind(at).push(")");
    }
    if let Some(after) = id_after::<AuditId>(page)? {
        query.push(" and id < ").push_bind(after.to_string());
    }
    query.push(" order by id desc limit ").push_bind(rows_for(page));
    Ok(query)
}
