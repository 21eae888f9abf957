//! What hosts list of their snapshots.

use std::cmp::Reverse;

use restic_manager_core::id::{GroupId, HostId};
use restic_manager_core::model::{Snapshot, SourceGroup};
use restic_manager_core::time::Timestamp;

use super::{State, pages};
use crate::{Listed, PageRequest, Result, SnapshotFilter, SnapshotList, SnapshotRow};

/// What a host listed in a repository.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) listed_at: Timestamp,
    pub(super) total: u64,
    pub(super) snapshots: Vec<Snapshot>,
}

impl State {
    pub(super) fn snapshot_lists(&self, host_id: HostId) -> Vec<SnapshotList> {
        let of_host = self.snapshots.iter().filter(|((host, _), _)| *host == host_id);
        of_host
            .map(|((_, repo_id), listing)| SnapshotList {
                repo_id: *repo_id,
                listed_at: listing.listed_at,
                total: listing.total,
            })
            .collect()
    }

    pub(super) fn snapshots_page(
        &self,
        host_id: HostId,
        filter: &SnapshotFilter,
        page: &PageRequest,
    ) -> Result<Listed<SnapshotRow>> {
        let groups: Vec<&SourceGroup> =
            self.groups.values().filter(|group| group.host_id == host_id).collect();
        let listings = self.snapshots.iter().filter(|((host, repo), _)| {
            *host == host_id && filter.repo_id.is_none_or(|wanted| wanted == *repo)
        });
        let mut rows = Vec::new();
        for ((_, repo_id), listing) in listings {
            for snapshot in &listing.snapshots {
                let group_id = group_of(snapshot, &groups);
                if filter.group_id.is_none() || filter.group_id == group_id {
                    let key = (Reverse(snapshot.time), *repo_id, snapshot.id.clone());
                    rows.push((key, SnapshotRow { repo_id: *repo_id, group_id, snapshot: snapshot.clone() }));
                }
            }
        }
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        pages::page(rows, page)
    }
}

/// The group of the first tag that is one of a group.
fn group_of(snapshot: &Snapshot, groups: &[&SourceGroup]) -> Option<GroupId> {
    let with_tag = |tag: &String| groups.iter().find(|group| group.tag.as_str() == tag).map(|group| group.id);
    snapshot.tags.iter().find_map(with_tag)
}
