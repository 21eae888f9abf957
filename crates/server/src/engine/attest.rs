//! Which jobs may end stale locks of their own host by themselves.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use restic_manager_core::id::{HostId, JobId, RepoId};
use restic_manager_core::model::{Host, JobKind};
use restic_manager_store::{DispatchRow, Store};

use super::maintenance::settings_of;
use super::{Engine, EngineError};

impl Engine {
    /// Which of these jobs may end stale locks of their own host's by themselves: the setting allows it, and nobody else on
    /// the repository goes by the host's operating system name.
    pub(super) async fn attested(&self, rows: &[DispatchRow]) -> Result<BTreeSet<JobId>, EngineError> {
        let locking: Vec<&DispatchRow> = rows.iter().filter(|row| meets_locks(row.job.kind)).collect();
        let unknown: BTreeSet<RepoId> =
            locking.iter().filter(|row| row.maintenance.is_none()).map(|row| row.repo.id).collect();
        let unknown: Vec<RepoId> = unknown.into_iter().collect();
        let read =
            if unknown.is_empty() { Vec::new() } else { self.store.maintenance_views(&unknown).await? };
        let mut names = OsNames::default();
        let mut attested = BTreeSet::new();
        for row in locking {
            let view =
                row.maintenance.as_deref().or_else(|| read.iter().find(|view| view.repo.id == row.repo.id));
            let Some(view) = view.filter(|view| settings_of(&view.row).auto_unlock) else { continue };
            let unique = match &view.runner {
                Some(runner) if runner.host.id == row.host.id => runner.os_hostname_unique,
                Some(_) | None => names.unique(&*self.store, &row.host, row.repo.id).await?,
            };
            if unique {
                attested.insert(row.job.id);
            }
        }
        Ok(attested)
    }
}

/// Whether a job of this kind can be refused by a lock that the agent may end.
const fn meets_locks(kind: JobKind) -> bool {
    match kind {
        JobKind::Backup
        | JobKind::Forget
        | JobKind::Prune
        | JobKind::Check
        | JobKind::Stats
        | JobKind::Restore
        | JobKind::Diff => true,
        JobKind::Init | JobKind::Unlock => false,
    }
}

/// The operating system names of the hosts of repositories that several hosts share, read once.
#[derive(Default)]
struct OsNames {
    repos: BTreeMap<RepoId, Vec<HostId>>,
    names: BTreeMap<HostId, Option<String>>,
}

impl OsNames {
    /// Whether the name of a host is known, and no other host of the repository goes by it.
    async fn unique(&mut self, store: &dyn Store, host: &Host, repo_id: RepoId) -> Result<bool, EngineError> {
        let Some(name) = &host.facts.os_hostname else { return Ok(false) };
        if let Entry::Vacant(place) = self.repos.entry(repo_id) {
            let rows = store.attachments_of_repos(&[repo_id]).await?;
            place.insert(rows.into_iter().map(|row| row.attachment.host_id).collect());
        }
        for other in self.repos.get(&repo_id).into_iter().flatten().filter(|other| **other != host.id) {
            let named = match self.names.entry(*other) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    place.insert(store.host(*other).await?.and_then(|other| other.facts.os_hostname))
                }
            };
            if named.as_ref() == Some(name) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
