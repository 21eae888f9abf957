//! Which hosts could not reach which repositories.

use std::collections::{BTreeMap, BTreeSet};

use restic_manager_core::admission::{BREAKER_HOSTS, OpenBreakers};
use restic_manager_core::id::{HostId, RepoId};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::Timestamp;
use sqlx::SqliteConnection;

use super::fault::Doing;
use super::rows::{Fields, json};
use crate::Result;

/// What the reports of one commit say of it, gathered in order.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Repositories that answered somebody.
    answered: BTreeSet<RepoId>,
    /// Who got no answer since.
    unreachable: BTreeMap<RepoId, BTreeSet<HostId>>,
}

impl Reach {
    /// A job of a host on a repository ended in this class.
    pub(super) fn note(&mut self, repo_id: RepoId, host_id: HostId, class: OutcomeClass) {
        match class.storage_answered() {
            Some(true) => {
                self.answered.insert(repo_id);
                self.unreachable.remove(&repo_id);
            }
            Some(false) => {
                self.unreachable.entry(repo_id).or_default().insert(host_id);
            }
            None => {}
        }
    }

    /// Writes it, in two statements at most.
    pub(super) async fn write(self, connection: &mut SqliteConnection, now: Timestamp) -> Result<()> {
        let doing = "note which repositories are out of reach";
        if !self.answered.is_empty() {
            sqlx::query("delete from unreachable where repo_id in (select value from json_each(?1))")
                .bind(json("ids", &self.answered)?)
                .execute(&mut *connection)
                .await
                .doing(doing)?;
        }
        if !self.unreachable.is_empty() {
            sqlx::query(
                "insert into unreachable (repo_id, host_id, since) select r.key, h.value, ?2 from json_each(?1) r, json_each(r.value) h \
                 where r.key in (select id from repos) and h.value in (select id from hosts) on conflict do nothing",
            )
            .bind(json("ids", &self.unreachable)?)
            .bind(now.as_millis())
            .execute(connection)
            .await
            .doing(doing)?;
        }
        Ok(())
    }
}

/// What a host could not reach is no matter once it is detached.
pub(super) async fn forget(
    connection: &mut SqliteConnection,
    host_id: HostId,
    repo_id: RepoId,
) -> Result<()> {
    sqlx::query("delete from unreachable where repo_id = ?1 and host_id = ?2")
        .bind(repo_id.to_string())
        .bind(host_id.to_string())
        .execute(connection)
        .await
        .doing("forget what a host could not reach")?;
    Ok(())
}

/// The repositories that so many hosts could not reach that their breakers are open.
pub(super) async fn breakers(connection: &mut SqliteConnection) -> Result<OpenBreakers> {
    let found = sqlx::query("select repo_id from unreachable group by repo_id having count(*) >= ?1")
        .bind(i64::try_from(BREAKER_HOSTS).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
        .doing("read which repositories are out of reach")?;
    found.iter().map(|row| Fields::new(row, "repository", "repo_id").parsed("repo_id")).collect()
}
