//! What is looked at when maintenance is decided: a fixed number of statements, however many repositories.

use std::collections::BTreeMap;

use restic_manager_core::id::{AttachmentId, HostId, RepoId};
use restic_manager_core::maintenance::{LastJob, MaintenanceKind};
use restic_manager_core::model::{CredentialKind, Host, Repo, Role};
use restic_manager_core::time::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fault::Doing;
use super::rows::{self, Fields, json};
use super::wake::RUNNER;
use super::{rows::name_of, stats};
use crate::aftermath::CheckHold;
use crate::{ForgetGroupRow, MaintenanceRow, MaintenanceView, Result, RunnerRow};

/// The condition of the partial index, word for word: the newest of these jobs anchors the cadence of its kind.
pub(super) const ANCHORS: &str = "kind in ('forget', 'prune', 'check') and state not in ('superseded', 'withdrawn') \
     and preview_group is null";

/// The settings of repositories with what else their row keeps; `?1` their ids.
pub(super) const ROWS: &str = "select m.*, r.wake_at from json_each(?1) v join maintenance m on m.repo_id = v.value \
     join repos r on r.id = m.repo_id";

/// The views of these repositories, in their order.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    asked: &[RepoId],
) -> Result<Vec<MaintenanceView>> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let ids = json("ids", asked)?;
    let repos =
        fetch(connection, "select r.* from json_each(?1) v join repos r on r.id = v.value", &ids, |row| {
            rows::repo(row).map(|repo| (repo.id, repo))
        });
    let repos: BTreeMap<RepoId, Repo> = repos.await?.into_iter().collect();
    let kept = fetch(connection, ROWS, &ids, kept).await?;
    let mut kept: BTreeMap<RepoId, _> = kept.into_iter().map(|kept| (kept.0.repo_id, kept)).collect();
    let mut stats = stats::known(connection, asked).await?;
    let last = fetch(connection, &last_sql()?, &ids, last_job).await?;
    let mut last: BTreeMap<(RepoId, String), LastJob> = last.into_iter().collect();
    let mut runners = runners(connection, &ids).await?;
    let mut forget: BTreeMap<RepoId, Vec<ForgetGroupRow>> = BTreeMap::new();
    for row in fetch(connection, &forget_sql()?, &ids, forget_row).await? {
        forget.entry(row.attachment.repo_id).or_default().push(row);
    }
    let mut view = |id: &RepoId| {
        let repo = repos.get(id)?.clone();
        let (row, hold) = kept.remove(id)?;
        Some(MaintenanceView {
            repo,
            row,
            last: MaintenanceKind::ALL.map(|kind| last.remove(&(*id, kind.as_str().to_owned()))),
            runner: runners.remove(id),
            forget: forget.remove(id).unwrap_or_default(),
            check_errors_since: hold.map(|hold| hold.since),
            stats: stats.remove(id).unwrap_or_default(),
        })
    };
    Ok(asked.iter().filter_map(&mut view).collect())
}

/// A row of [`ROWS`], with the hold of its prune.
pub(super) fn kept(row: &SqliteRow) -> Result<(MaintenanceRow, Option<CheckHold>)> {
    let fields = Fields::new(row, "maintenance of the repository", "repo_id");
    let kept = MaintenanceRow {
        repo_id: fields.parsed("repo_id")?,
        settings: fields.json_opt("settings")?,
        policy_since: [fields.at("forget_since")?, fields.at("prune_since")?, fields.at("check_since")?],
        wake_at: fields.at_opt("wake_at")?,
    };
    let since: Option<Timestamp> = fields.at_opt("check_held_since")?;
    let subset_pct = fields.number_opt("check_held_pct")?.unwrap_or(0);
    Ok((kept, since.map(|since| CheckHold { since, subset_pct })))
}

/// The newest job of each kind of each repository; `?1` the ids.
pub(super) fn last_sql() -> Result<String> {
    let kinds = json("kinds", &MaintenanceKind::ALL)?;
    Ok(format!(
        "select j.* from json_each(?1) v join json_each('{kinds}') k join jobs j on j.id = \
         (select n.id from jobs n indexed by jobs_anchors where n.repo_id = v.value and n.kind = k.value and {ANCHORS} \
         order by n.id desc limit 1)"
    ))
}

fn last_job(row: &SqliteRow) -> Result<((RepoId, String), LastJob)> {
    let job = rows::job(row)?;
    let last = LastJob {
        job_id: job.id,
        created_at: job.created_at,
        finished_at: job.finished_at,
        state: job.state,
        class: job.class,
        slot: job.slot,
        attempt: job.attempt,
    };
    Ok(((job.repo_id, job.kind.as_str().to_owned()), last))
}

/// What is said of a runner's host beside its row.
struct Tie {
    has_admin_creds: bool,
    os_hostname_unique: bool,
    only_host: bool,
}

/// The runners of repositories; `?1` their ids. Everything that is compared stands in an index, so that a repository with ten thousand
/// hosts is no slower than one with two.
pub(super) fn runners_sql() -> String {
    format!(
        "select a.*, exists (select 1 from credentials c where c.attachment_id = a.id and c.kind = '{admin}') as has_admin_creds, \
         h.os_hostname is not null and not exists (select 1 from hosts o indexed by hosts_by_os_hostname \
         join attachments t on t.host_id = o.id and t.repo_id = a.repo_id \
         where o.os_hostname = h.os_hostname and o.id <> h.id) as os_hostname_unique, \
         not exists (select 1 from attachments t indexed by attachments_by_age where t.repo_id = a.repo_id and t.id <> a.id) as only_host \
         from json_each(?1) v join repos r on r.id = v.value join attachments a on a.id = {RUNNER} join hosts h on h.id = a.host_id",
        admin = CredentialKind::Admin.as_str()
    )
}

async fn runners(connection: &mut SqliteConnection, ids: &str) -> Result<BTreeMap<RepoId, RunnerRow>> {
    let ties = fetch(connection, &runners_sql(), ids, |row| {
        let fields = Fields::new(row, "attachment", "id");
        let tie = Tie {
            has_admin_creds: fields.get("has_admin_creds")?,
            os_hostname_unique: fields.get("os_hostname_unique")?,
            only_host: fields.get("only_host")?,
        };
        Ok((rows::attachment(row)?, tie))
    })
    .await?;
    let wanted: Vec<HostId> = ties.iter().map(|(attachment, _)| attachment.host_id).collect();
    let hosts = "select * from hosts where id in (select value from json_each(?1))";
    let hosts = fetch(connection, hosts, &json("ids", &wanted)?, rows::host).await?;
    let hosts: BTreeMap<HostId, Host> = hosts.into_iter().map(|host| (host.id, host)).collect();
    let row = |(attachment, tie): (restic_manager_core::model::Attachment, Tie)| {
        let host = hosts.get(&attachment.host_id)?.clone();
        let Tie { has_admin_creds, os_hostname_unique, only_host } = tie;
        let repo_id = attachment.repo_id;
        Some((repo_id, RunnerRow { attachment, host, has_admin_creds, os_hostname_unique, only_host }))
    };
    Ok(ties.into_iter().filter_map(row).collect())
}

/// The groups with a policy of the hosts attached to repositories, by id; `?1` the ids of the repositories.
pub(super) fn forget_sql() -> Result<String> {
    let roles = [name_of(&Role::Primary)?, name_of(&Role::Copy)?];
    Ok(format!(
        "select g.*, a.id as attachment_id, a.repo_id, a.role, a.restic_host, a.append_only, a.created_at as attached_at, \
         (select n.time from newest_snapshots n where n.host_id = a.host_id and n.repo_id = a.repo_id and n.tag = g.tag) \
         as newest_snapshot_at \
         from json_each(?1) v join attachments a indexed by attachments_by_age on a.repo_id = v.value and a.role in ('{}', '{}') \
         join source_groups g on g.host_id = a.host_id where g.keep <> '{{}}' order by g.id",
        roles[0], roles[1]
    ))
}

fn forget_row(row: &SqliteRow) -> Result<ForgetGroupRow> {
    let fields = Fields::new(row, "source group", "id");
    let id: AttachmentId = fields.parsed("attachment_id")?;
    Ok(ForgetGroupRow {
        group: rows::group(row)?,
        attachment: restic_manager_core::model::Attachment {
            id,
            host_id: fields.parsed("host_id")?,
            repo_id: fields.parsed("repo_id")?,
            role: fields.named("role")?,
            restic_host: fields.parsed("restic_host")?,
            append_only: fields.named("append_only")?,
            created_at: fields.at("attached_at")?,
        },
        newest_snapshot_at: fields.at_opt("newest_snapshot_at")?,
    })
}

/// Reads what a statement with a list of ids finds.
pub(super) async fn fetch<T>(
    connection: &mut SqliteConnection,
    sql: &str,
    ids: &str,
    read: impl Fn(&SqliteRow) -> Result<T>,
) -> Result<Vec<T>> {
    let found = sqlx::query(AssertSqlSafe(sql.to_owned()))
        .bind(ids)
        .fetch_all(connection)
        .await
        .doing("read the maintenance of repositories")?;
    found.iter().map(read).collect()
}
