//! Hosts.

use std::collections::BTreeSet;

use restic_manager_core::id::{HostId, JobId, RepoId};
use restic_manager_core::model::{AuditEntry, Host, HostFacts};
use restic_manager_core::text::{DisplayName, Tag};
use restic_manager_core::time::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fault::Doing;
use super::moves::OPEN;
use super::paging::{cursor_of_keys, keys_after, listed, rows_for};
use super::rows::{self, Fields, ids, json};
use super::{SqliteStore, audit, wake};
use crate::names::{folded, name_key};
use crate::{Deleted, HostChange, HostFilter, Listed, PageRequest, Renamed, Result, Seen, TokenHash};

/// Writes a new host; false when another one has its name.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    host: &Host,
    agent_token: &TokenHash,
) -> Result<bool> {
    let doing = "make a host";
    if name_taken(connection, &host.id, &host.name).await? {
        return Ok(false);
    }
    sqlx::query(
        "insert into hosts (id, name, name_key, tags, facts, limit_upload_kib, limit_download_kib, created_at, \
         last_seen_at, schedule_version, schedule_version_acked, revision, agent_token) \
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )
    .bind(host.id.to_string())
    .bind(host.name.as_str())
    .bind(name_key(&host.name))
    .bind(json("labels", &host.tags)?)
    .bind(json("facts", &host.facts)?)
    .bind(host.limit_upload_kib)
    .bind(host.limit_download_kib)
    .bind(host.created_at.as_millis())
    .bind(host.last_seen_at.map(Timestamp::as_millis))
    .bind(host.schedule_version)
    .bind(host.schedule_version_acked)
    .bind(host.revision)
    .bind(&agent_token.0[..])
    .execute(connection)
    .await
    .doing(doing)?;
    Ok(true)
}

pub(super) async fn by_id(connection: &mut SqliteConnection, id: HostId) -> Result<Option<Host>> {
    let found = sqlx::query("select * from hosts where id = ?1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .doing("read a host")?;
    found.as_ref().map(rows::host).transpose()
}

pub(super) async fn by_name(store: &SqliteStore, name: &DisplayName) -> Result<Option<Host>> {
    let found = sqlx::query("select * from hosts where name_key = ?1")
        .bind(name_key(name))
        .fetch_optional(&store.readers)
        .await
        .doing("read the host of a name")?;
    found.as_ref().map(rows::host).transpose()
}

pub(super) async fn by_agent_token(store: &SqliteStore, hash: &TokenHash) -> Result<Option<Host>> {
    let found = sqlx::query("select * from hosts where agent_token = ?1")
        .bind(&hash.0[..])
        .fetch_optional(&store.readers)
        .await
        .doing("read the host of a token")?;
    found.as_ref().map(rows::host).transpose()
}

/// Columns of a host, for `select ... from hosts h`.
const HOST: &str = "h.id, h.name, h.name_key, h.tags, h.facts, h.limit_upload_kib, h.limit_download_kib, h.created_at, h.last_seen_at, \
     h.schedule_version, h.schedule_version_acked, h.revision";
/// So many ids are looked up one by one; of more it is cheaper to go through the hosts by name and leave out the others.
const FEW: usize = 1_000;
/// How many rows that walk reads at a time, at most.
const AT_A_TIME: i64 = 1_000;

/// A page of hosts in the order of their names; `?1` a part of the name, `?2` a label, `?3` and `?4` the place behind which it begins, `?5`
/// how many, `?6` whether there ever was a sign of life. Those of a few ids, `?7`, are looked up; all of them are walked.
pub(super) fn page_sql(of_few: bool) -> String {
    let from = if of_few { "json_each(?7) v cross join hosts h on h.id = v.value" } else { "hosts h" };
    format!(
        "select {HOST} from {from} where (?1 is null or instr(h.name_key, ?1) > 0) \
         and (?2 is null or exists (select 1 from json_each(h.tags) where value = ?2)) \
         and (?6 is null or (h.last_seen_at is not null) = ?6) and (h.name_key, h.id) > (?3, ?4) order by h.name_key, h.id limit ?5"
    )
}

pub(super) async fn page(
    store: &SqliteStore,
    filter: &HostFilter,
    page: &PageRequest,
) -> Result<Listed<Host>> {
    let wanted = rows_for(page);
    let among: Option<BTreeSet<&HostId>> = filter.among.as_ref().map(|ids| ids.iter().collect());
    let few = among.as_ref().filter(|ids| ids.len() <= FEW);
    let many = among.as_ref().filter(|ids| ids.len() > FEW);
    let sql = page_sql(few.is_some());
    let mut after = keys_after::<(String, HostId)>(page)?
        .map_or_else(Default::default, |(name, id)| (name, id.to_string()));
    let mut items = Vec::new();
    let mut rows = wanted;
    loop {
        let mut query = sqlx::query(AssertSqlSafe(sql.as_str()))
            .bind(filter.text.as_deref().map(folded))
            .bind(filter.tag.as_ref().map(Tag::as_str))
            .bind(&after.0)
            .bind(&after.1)
            .bind(rows)
            .bind(filter.seen.map(|seen| seen == Seen::Once));
        if let Some(ids) = few {
            query = query.bind(json("ids", ids)?);
        }
        let found = query.fetch_all(&store.readers).await.doing("list hosts")?;
        for row in &found {
            let id: HostId = Fields::new(row, "host", "id").parsed("id")?;
            if many.is_none_or(|many| many.contains(&id)) {
                items.push(rows::host(row)?);
            }
        }
        let more = usize::try_from(rows).is_ok_and(|rows| found.len() >= rows);
        let full = usize::try_from(wanted).is_ok_and(|wanted| items.len() >= wanted);
        let Some(last) = found.last().filter(|_| more && !full) else { break };
        let fields = Fields::new(last, "host", "id");
        after = (fields.get("name_key")?, fields.get("id")?);
        rows = (rows * 2).min(AT_A_TIME.max(wanted));
    }
    listed(items, page, |host| cursor_of_keys(&(name_key(&host.name), host.id)))
}

pub(super) async fn change(
    store: &SqliteStore,
    id: HostId,
    change: HostChange,
    audit: AuditEntry,
) -> Result<Renamed> {
    let doing = "change a host";
    let mut tx = store.write(doing).await?;
    let Some(mut host) = by_id(&mut tx, id).await? else {
        return Ok(Renamed::NotFound);
    };
    let limits = (host.limit_upload_kib, host.limit_download_kib);
    host.name = change.name.unwrap_or(host.name);
    host.tags = change.tags.unwrap_or(host.tags);
    host.limit_upload_kib = change.limit_upload_kib.unwrap_or(host.limit_upload_kib);
    host.limit_download_kib = change.limit_download_kib.unwrap_or(host.limit_download_kib);
    if name_taken(&mut tx, &id, &host.name).await? {
        return Ok(Renamed::NameTaken);
    }
    let raised = i64::from(limits != (host.limit_upload_kib, host.limit_download_kib));
    sqlx::query(
        "update hosts set name = ?2, name_key = ?3, tags = ?4, limit_upload_kib = ?5, limit_download_kib = ?6, \
         schedule_version = schedule_version + ?7 where id = ?1",
    )
    .bind(id.to_string())
    .bind(host.name.as_str())
    .bind(name_key(&host.name))
    .bind(json("labels", &host.tags)?)
    .bind(host.limit_upload_kib)
    .bind(host.limit_download_kib)
    .bind(raised)
    .execute(&mut *tx)
    .await
    .doing(doing)?;
    audit::write(&mut tx, &audit).await?;
    tx.commit().await.doing(doing)?;
    Ok(Renamed::Done)
}

pub(super) async fn delete(store: &SqliteStore, id: HostId, audit: AuditEntry) -> Result<Deleted> {
    let doing = "delete a host";
    let mut tx = store.write(doing).await?;
    if by_id(&mut tx, id).await?.is_none() {
        return Ok(Deleted::NotFound);
    }
    let jobs = open_jobs(&mut tx, id).await?;
    if !jobs.is_empty() {
        return Ok(Deleted::HasJobs(jobs));
    }
    let repos = run_by(&mut tx, id).await?;
    if !repos.is_empty() {
        return Ok(Deleted::IsRunner(repos));
    }
    sqlx::query(
        "insert into departed_names (id, name) select id, name from hosts where id = ?1 \
         union all select id, name from source_groups where host_id = ?1",
    )
    .bind(id.to_string())
    .execute(&mut *tx)
    .await
    .doing(doing)?;
    wake::of_host(&mut tx, id, audit.at).await?;
    sqlx::query("delete from hosts where id = ?1")
        .bind(id.to_string())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    audit::write(&mut tx, &audit).await?;
    tx.commit().await.doing(doing)?;
    Ok(Deleted::Done)
}

pub(super) async fn touch(store: &SqliteStore, seen: &[(HostId, Timestamp)]) -> Result<()> {
    if seen.is_empty() {
        return Ok(());
    }
    let doing = "note signs of life";
    let mut tx = store.write(doing).await?;
    sqlx::query(
        "update hosts set last_seen_at = max(coalesce(last_seen_at, seen.at), seen.at) from \
         (select value->>0 as id, max(value->>1) as at from json_each(?1) group by 1) as seen where hosts.id = seen.id",
    )
    .bind(json("signs of life", seen)?)
    .execute(&mut *tx)
    .await
    .doing(doing)?;
    tx.commit().await.doing(doing)
}

pub(super) async fn record_facts(store: &SqliteStore, id: HostId, facts: &HostFacts) -> Result<()> {
    let doing = "store what an agent says of its machine";
    let mut tx = store.write(doing).await?;
    sqlx::query("update hosts set facts = ?2 where id = ?1")
        .bind(id.to_string())
        .bind(json("facts", facts)?)
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    tx.commit().await.doing(doing)
}

/// Raises the plan version of a host; answers the new one.
pub(super) async fn raise_plan_version(connection: &mut SqliteConnection, id: HostId) -> Result<i64> {
    sqlx::query_scalar(
        "update hosts set schedule_version = schedule_version + 1 where id = ?1 returning schedule_version",
    )
    .bind(id.to_string())
    .fetch_one(connection)
    .await
    .doing("raise the plan version of a host")
}

async fn name_taken(connection: &mut SqliteConnection, id: &HostId, name: &DisplayName) -> Result<bool> {
    sqlx::query_scalar("select exists (select 1 from hosts where name_key = ?2 and id <> ?1)")
        .bind(id.to_string())
        .bind(name_key(name))
        .fetch_one(connection)
        .await
        .doing("look for a host of that name")
}

async fn open_jobs(connection: &mut SqliteConnection, id: HostId) -> Result<Vec<JobId>> {
    let found =
        sqlx::query(AssertSqlSafe(format!("select id from jobs where host_id = ?1 and {OPEN} order by id")))
            .bind(id.to_string())
            .fetch_all(connection)
            .await
            .doing("look for jobs of a host")?;
    ids(&found, "job")
}

async fn run_by(connection: &mut SqliteConnection, id: HostId) -> Result<Vec<RepoId>> {
    let found = sqlx::query(
        "select r.id from attachments a join repos r on r.runner = a.id where a.host_id = ?1 order by r.id",
    )
    .bind(id.to_string())
    .fetch_all(connection)
    .await
    .doing("look for repositories that a host runs")?;
    ids(&found, "repository")
}
