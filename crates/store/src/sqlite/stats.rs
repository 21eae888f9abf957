//! What is known of repositories, and how it was on each day.

use std::collections::BTreeMap;

use restic_manager_core::api::StatsDay;
use restic_manager_core::id::RepoId;
use restic_manager_core::model::{CheckStatus, RepoStats};
use restic_manager_core::time::Timestamp;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::fault::Doing;
use super::rows::{Fields, integer, json, name_of};
use crate::Result;
use crate::stats::{day_of, has_size, merge};

/// What is known of these repositories; one of which nothing is known is left out.
pub(super) async fn known(
    connection: &mut SqliteConnection,
    asked: &[RepoId],
) -> Result<BTreeMap<RepoId, RepoStats>> {
    let found = sqlx::query("select * from repo_stats where repo_id in (select value from json_each(?1))")
        .bind(json("ids", asked)?)
        .fetch_all(connection)
        .await
        .doing("read what is known of repositories")?;
    found.iter().map(repo_stats).collect()
}

/// Joins news of a repository to what is known, and writes the day.
pub(super) async fn learn(
    connection: &mut SqliteConnection,
    id: RepoId,
    news: &RepoStats,
    now: Timestamp,
) -> Result<()> {
    let mut stats = known(connection, &[id]).await?.remove(&id).unwrap_or_default();
    merge(&mut stats, news);
    put(connection, id, &stats).await?;
    if has_size(news) {
        put_day(connection, id, &stats, now).await?;
    }
    Ok(())
}

/// The days of a repository from that of `since` on.
pub(super) async fn history(store: &SqliteStore, id: RepoId, since: Timestamp) -> Result<Vec<StatsDay>> {
    let found = sqlx::query("select * from stats_days where repo_id = ?1 and day >= ?2 order by day")
        .bind(id.to_string())
        .bind(day_of(since).as_millis())
        .fetch_all(&store.readers)
        .await
        .doing("read how large a repository was")?;
    let day = |row| {
        let fields = Fields::new(row, "day of the repository", "repo_id");
        Ok(StatsDay {
            day: fields.at("day")?,
            total_size_bytes: fields.number_opt("total_size_bytes")?,
            snapshot_count: fields.number_opt("snapshot_count")?,
        })
    };
    found.iter().map(day).collect()
}

async fn put(connection: &mut SqliteConnection, id: RepoId, stats: &RepoStats) -> Result<()> {
    sqlx::query(
        "insert or replace into repo_stats (repo_id, total_size_bytes, size_kind, uncompressed_bytes, snapshot_count, \
         measured_at, last_check, last_check_at, last_check_subset_pct, last_prune_at, locks, locks_seen_at) \
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )
    .bind(id.to_string())
    .bind(stats.total_size_bytes.map(integer))
    .bind(stats.size_kind.as_ref().map(name_of).transpose()?)
    .bind(stats.uncompressed_bytes.map(integer))
    .bind(stats.snapshot_count.map(integer))
    .bind(stats.measured_at.map(Timestamp::as_millis))
    .bind(stats.last_check.map(CheckStatus::as_str))
    .bind(stats.last_check_at.map(Timestamp::as_millis))
    .bind(stats.last_check_subset_pct)
    .bind(stats.last_prune_at.map(Timestamp::as_millis))
    .bind(stats.locks.as_ref().map(|locks| json("locks", locks)).transpose()?)
    .bind(stats.locks_seen_at.map(Timestamp::as_millis))
    .execute(connection)
    .await
    .doing("store what is known of a repository")?;
    Ok(())
}

async fn put_day(
    connection: &mut SqliteConnection,
    id: RepoId,
    stats: &RepoStats,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "insert or replace into stats_days (repo_id, day, total_size_bytes, snapshot_count) values (?1, ?2, ?3, ?4)",
    )
    .bind(id.to_string())
    .bind(day_of(now).as_millis())
    .bind(stats.total_size_bytes.map(integer))
    .bind(stats.snapshot_count.map(integer))
    .execute(connection)
    .await
    .doing("store how large a repository is today")?;
    Ok(())
}

fn repo_stats(row: &SqliteRow) -> Result<(RepoId, RepoStats)> {
    let fields = Fields::new(row, "what is known of the repository", "repo_id");
    let stats = RepoStats {
        total_size_bytes: fields.number_opt("total_size_bytes")?,
        size_kind: fields.named_opt("size_kind")?,
        uncompressed_bytes: fields.number_opt("uncompressed_bytes")?,
        snapshot_count: fields.number_opt("snapshot_count")?,
        measured_at: fields.at_opt("measured_at")?,
        last_check: fields.named_opt("last_check")?,
        last_check_at: fields.at_opt("last_check_at")?,
        last_check_subset_pct: fields.number_opt("last_check_subset_pct")?,
        last_prune_at: fields.at_opt("last_prune_at")?,
        locks: fields.json_opt("locks")?,
        locks_seen_at: fields.at_opt("locks_seen_at")?,
    };
    Ok((fields.parsed("repo_id")?, stats))
}
