//! What hosts list of their snapshots.

use std::collections::BTreeMap;

use restic_manager_core::id::{HostId, RepoId};
use restic_manager_core::model::Snapshot;
use restic_manager_core::time::Timestamp;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::fault::Doing;
use super::paging::{cursor_of_keys, keys_after, listed, rows_for};
use super::rows::{self, Fields, integer, json};
use crate::{Listed, PageRequest, Result, SnapshotFilter, SnapshotList, SnapshotRow};

/// A page of a host's snapshots, newest first: `?1` the host, `?2` a repository, `?3` a group, `?4` to `?6` the place behind which it
/// begins. The group of a snapshot is that of its first tag that is a group's.
pub(super) const PAGE: &str = "select s.*, (select g.id from json_each(s.tags) t \
     join source_groups g on g.host_id = s.host_id and g.tag = t.value order by t.key limit 1) as group_id \
     from snapshots s indexed by snapshots_by_age where s.host_id = ?1 and (?2 is null or s.repo_id = ?2) \
     and (?3 is null or ?3 = (select g.id from json_each(s.tags) t \
     join source_groups g on g.host_id = s.host_id and g.tag = t.value order by t.key limit 1)) \
     and (?4 is null or (s.time <= ?4 and (s.time < ?4 or (s.repo_id, s.id) > (?5, ?6)))) \
     order by s.time desc, s.repo_id, s.id limit ?7";

pub(super) async fn page(
    store: &SqliteStore,
    host_id: HostId,
    filter: &SnapshotFilter,
    page: &PageRequest,
) -> Result<Listed<SnapshotRow>> {
    let after = keys_after::<(i64, RepoId, String)>(page)?;
    let found = sqlx::query(PAGE)
        .bind(host_id.to_string())
        .bind(filter.repo_id.map(|id| id.to_string()))
        .bind(filter.group_id.map(|id| id.to_string()))
        .bind(after.as_ref().map(|(time, _, _)| *time))
        .bind(after.as_ref().map(|(_, repo_id, _)| repo_id.to_string()))
        .bind(after.as_ref().map(|(_, _, id)| id.as_str()))
        .bind(rows_for(page))
        .fetch_all(&store.readers)
        .await
        .doing("list snapshots")?;
    let items = found.iter().map(|row| {
        let fields = Fields::new(row, "snapshot", "id");
        Ok(SnapshotRow {
            repo_id: fields.parsed("repo_id")?,
            group_id: fields.parsed_opt("group_id")?,
            snapshot: rows::snapshot(row)?,
        })
    });
    listed(items.collect::<Result<Vec<_>>>()?, page, |row| {
        cursor_of_keys(&(row.snapshot.time.as_millis(), row.repo_id, row.snapshot.id.as_str()))
    })
}

/// When a host listed what, by repository.
pub(super) async fn lists(store: &SqliteStore, host_id: HostId) -> Result<Vec<SnapshotList>> {
    let found = sqlx::query(
        "select repo_id, listed_at, total from snapshot_lists where host_id = ?1 order by repo_id",
    )
    .bind(host_id.to_string())
    .fetch_all(&store.readers)
    .await
    .doing("read when snapshots were listed")?;
    let list = |row| {
        let fields = Fields::new(row, "list of snapshots of the repository", "repo_id");
        Ok(SnapshotList {
            repo_id: fields.parsed("repo_id")?,
            listed_at: fields.at("listed_at")?,
            total: fields.number("total")?,
        })
    };
    found.iter().map(list).collect()
}

/// Replaces what a host listed in a repository.
pub(super) async fn replace(
    connection: &mut SqliteConnection,
    host_id: HostId,
    repo_id: RepoId,
    listed_at: Timestamp,
    total: u64,
    snapshots: &[Snapshot],
) -> Result<()> {
    let doing = "store a list of snapshots";
    let (host, repo) = (host_id.to_string(), repo_id.to_string());
    sqlx::query(
        "insert into snapshot_lists (host_id, repo_id, listed_at, total) values (?1, ?2, ?3, ?4) \
         on conflict do update set listed_at = excluded.listed_at, total = excluded.total",
    )
    .bind(&host)
    .bind(&repo)
    .bind(listed_at.as_millis())
    .bind(integer(total))
    .execute(&mut *connection)
    .await
    .doing(doing)?;
    sqlx::query("delete from snapshots where host_id = ?1 and repo_id = ?2")
        .bind(&host)
        .bind(&repo)
        .execute(&mut *connection)
        .await
        .doing(doing)?;
    sqlx::query(
        "insert into snapshots (host_id, repo_id, id, time, hostname, username, tags, paths, size_bytes, files, added_bytes) \
         select ?1, ?2, value->>'id', value->>'time', value->>'hostname', value->>'username', value->'tags', value->'paths', \
         value->>'size_bytes', value->>'files', value->>'added_bytes' from json_each(?3) where true on conflict do nothing",
    )
    .bind(&host)
    .bind(&repo)
    .bind(json("snapshots", snapshots)?)
    .execute(&mut *connection)
    .await
    .doing(doing)?;
    put_newest(connection, &host, &repo, snapshots).await
}

/// Keeps the time of the newest snapshot with each tag.
async fn put_newest(
    connection: &mut SqliteConnection,
    host: &str,
    repo: &str,
    snapshots: &[Snapshot],
) -> Result<()> {
    let doing = "store how old the snapshots of a tag are";
    let mut newest: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for snapshot in snapshots {
        for tag in &snapshot.tags {
            let time = newest.entry(tag).or_insert(snapshot.time);
            *time = snapshot.time.max(*time);
        }
    }
    sqlx::query("delete from newest_snapshots where host_id = ?1 and repo_id = ?2")
        .bind(host)
        .bind(repo)
        .execute(&mut *connection)
        .await
        .doing(doing)?;
    sqlx::query(
        "insert into newest_snapshots (host_id, repo_id, tag, time) select ?1, ?2, key, value from json_each(?3)",
    )
    .bind(host)
    .bind(repo)
    .bind(json("times", &newest)?)
    .execute(connection)
    .await
    .doing(doing)?;
    Ok(())
}
