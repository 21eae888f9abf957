//! Snapshots, as hosts list them.

use std::sync::Arc;

use restic_manager_core::id::{GroupId, HostId, RepoId};
use restic_manager_core::model::{Host, Role, Snapshot};
use restic_manager_core::restic::SnapshotId;
use restic_manager_core::time::Timestamp;

use super::fixture::{
    Agent, all_pages, at, attached, audit, enrolled, hash, made_group, made_repo, mint, tied,
};
use crate::{Applied, Deleted, Effect, SnapshotFilter, SnapshotList, SnapshotRow, Store};

pub(super) fn snapshot(time: Timestamp, tags: &[&str]) -> Snapshot {
    let id: String = hash().0.iter().map(|byte| format!("{byte:02x}")).collect();
    Snapshot {
        id: SnapshotId::new(id).unwrap(),
        time,
        hostname: "web".to_owned(),
        username: Some("root".to_owned()),
        tags: tags.iter().map(ToString::to_string).collect(),
        paths: vec!["/srv".to_owned(), "/etc".to_owned()],
        size_bytes: Some(u64::MAX / 4),
        files: None,
        added_bytes: Some(7),
    }
}

pub(super) fn listing(repo_id: RepoId, listed_at: Timestamp, snapshots: &[&Snapshot]) -> Effect {
    let snapshots: Vec<Snapshot> = snapshots.iter().copied().cloned().collect();
    Effect::Snapshots { repo_id, listed_at, total: snapshots.len() as u64, snapshots }
}

async fn listed(store: &Arc<dyn Store>, host: &Host, filter: SnapshotFilter) -> Vec<SnapshotRow> {
    all_pages(2, |page| store.snapshots(host.id, &filter, page)).await
}

async fn ids(store: &Arc<dyn Store>, host: &Host, filter: SnapshotFilter) -> Vec<SnapshotId> {
    listed(store, host, filter).await.into_iter().map(|row| row.snapshot.id).collect()
}

/// Snapshots come back as they were listed, newest first over all repositories.
pub async fn snapshots_come_newest_first(store: &Arc<dyn Store>) {
    let (host, main) = tied(store, "web").await;
    let copy = made_repo(store, "copy").await;
    attached(store, &host, &copy, Role::Copy).await;
    let shots: Vec<Snapshot> = (0..5).map(|n| snapshot(at(n * 10), &[])).collect();
    let mut agent = Agent::of(store, &host);
    let in_main = listing(main.id, at(60), &[&shots[4], &shots[0], &shots[2]]);
    assert_eq!(agent.says(in_main).await, Applied::Done);
    assert_eq!(agent.says(listing(copy.id, at(50), &[&shots[3], &shots[1]])).await, Applied::Done);
    let rows = listed(store, &host, SnapshotFilter::default()).await;
    let expected: Vec<_> = shots.iter().rev().cloned().collect();
    assert_eq!(rows.iter().map(|row| row.snapshot.clone()).collect::<Vec<_>>(), expected);
    let repos: Vec<_> = rows.iter().map(|row| row.repo_id).collect();
    assert_eq!(repos, [main.id, copy.id, main.id, copy.id, main.id]);
    let in_copy = SnapshotFilter { repo_id: Some(copy.id), group_id: None };
    assert_eq!(ids(store, &host, in_copy).await, [shots[3].id.clone(), shots[1].id.clone()]);
    let mut lists = [
        SnapshotList { repo_id: main.id, listed_at: at(60), total: 3 },
        SnapshotList { repo_id: copy.id, listed_at: at(50), total: 2 },
    ];
    lists.sort_by_key(|list| list.repo_id);
    assert_eq!(store.snapshot_lists(host.id).await.unwrap(), lists);
    assert!(store.snapshot_lists(mint(HostId::mint)).await.unwrap().is_empty());
    let longer = Effect::Snapshots { repo_id: copy.id, listed_at: at(70), total: 9, snapshots: Vec::new() };
    assert_eq!(agent.says(longer).await, Applied::Done);
    let copied =
        store.snapshot_lists(host.id).await.unwrap().into_iter().find(|list| list.repo_id == copy.id);
    assert_eq!(copied, Some(SnapshotList { repo_id: copy.id, listed_at: at(70), total: 9 }));
}

/// Snapshots of one instant are all listed, on whatever pages.
pub async fn snapshots_of_one_instant_are_all_listed(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let shots: Vec<Snapshot> = (0..5).map(|_| snapshot(at(10), &[])).collect();
    let all: Vec<&Snapshot> = shots.iter().collect();
    assert_eq!(Agent::of(store, &host).says(listing(repo.id, at(60), &all)).await, Applied::Done);
    let mut found = ids(store, &host, SnapshotFilter::default()).await;
    found.sort();
    let mut expected: Vec<_> = shots.into_iter().map(|shot| shot.id).collect();
    expected.sort();
    assert_eq!(found, expected);
}

/// What a host lists replaces what it listed before, whole, whatever its clock said then and says now.
pub async fn the_list_said_last_replaces_what_was_listed(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let (a, b, c) = (snapshot(at(1), &[]), snapshot(at(2), &[]), snapshot(at(3), &[]));
    let mut agent = Agent::of(store, &host);
    let now = || ids(store, &host, SnapshotFilter::default());
    let seventy_years = 70 * 365 * 24 * 3600;
    assert_eq!(agent.says(listing(repo.id, at(seventy_years), &[&b, &a])).await, Applied::Done);
    assert_eq!(now().await, [b.id.clone(), a.id]);
    assert_eq!(agent.says(listing(repo.id, at(60), &[&c, &b])).await, Applied::Done);
    assert_eq!(now().await, [c.id.clone(), b.id]);
    assert_eq!(agent.says(listing(repo.id, at(60), &[])).await, Applied::Done);
    assert!(now().await.is_empty());
    let mut other_life = Agent::of(store, &host);
    assert_eq!(other_life.says(listing(repo.id, at(59), &[&c])).await, Applied::Done);
    assert_eq!(now().await, [c.id]);
}

/// A host lists its own snapshots; what others list in the same repository stays.
pub async fn a_list_replaces_only_its_own_hosts(store: &Arc<dyn Store>) {
    let (web, repo) = tied(store, "web").await;
    let db = enrolled(store, "db").await;
    attached(store, &db, &repo, Role::Copy).await;
    let (of_web, of_db) = (snapshot(at(1), &[]), snapshot(at(2), &[]));
    assert_eq!(Agent::of(store, &web).says(listing(repo.id, at(60), &[&of_web])).await, Applied::Done);
    assert_eq!(Agent::of(store, &db).says(listing(repo.id, at(50), &[&of_db])).await, Applied::Done);
    assert_eq!(ids(store, &web, SnapshotFilter::default()).await, [of_web.id]);
    assert_eq!(ids(store, &db, SnapshotFilter::default()).await, [of_db.id]);
    let nobody = Host { id: mint(HostId::mint), ..db };
    assert!(ids(store, &nobody, SnapshotFilter::default()).await.is_empty());
}

/// A snapshot belongs to the host's group whose tag it carries, as the groups are when it is read.
pub async fn a_snapshot_belongs_to_the_group_of_its_tag(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let (other, _) = tied(store, "db").await;
    let group = made_group(store, &host, "home").await;
    let foreign = made_group(store, &other, "home").await;
    let tagged = snapshot(at(3), &["extra", group.tag.as_str()]);
    let others = snapshot(at(2), &[foreign.tag.as_str()]);
    let plain = snapshot(at(1), &[]);
    let mut agent = Agent::of(store, &host);
    assert_eq!(agent.says(listing(repo.id, at(60), &[&tagged, &others, &plain])).await, Applied::Done);
    let groups = || async {
        let rows = listed(store, &host, SnapshotFilter::default()).await;
        rows.into_iter().map(|row| row.group_id).collect::<Vec<_>>()
    };
    assert_eq!(groups().await, [Some(group.id), None, None]);
    let of = |id| SnapshotFilter { repo_id: None, group_id: Some(id) };
    assert_eq!(ids(store, &host, of(group.id)).await, [tagged.id]);
    for id in [foreign.id, mint(GroupId::mint)] {
        assert!(ids(store, &host, of(id)).await.is_empty());
    }
    store.delete_group(host.id, group.id, audit("group.deleted")).await.unwrap();
    assert_eq!(groups().await, [None, None, None]);
}

/// The list goes with the attachment it was made through.
pub async fn a_list_goes_with_its_attachment(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let shot = snapshot(at(1), &[]);
    let mut agent = Agent::of(store, &host);
    assert_eq!(agent.says(listing(repo.id, at(60), &[&shot])).await, Applied::Done);
    let gone = store.delete_attachment(host.id, repo.id, audit("attachment.deleted")).await.unwrap();
    assert_eq!(gone, Deleted::Done);
    assert!(ids(store, &host, SnapshotFilter::default()).await.is_empty());
    assert!(matches!(agent.says(listing(repo.id, at(70), &[&shot])).await, Applied::Ignored(_)));
    attached(store, &host, &repo, Role::Primary).await;
    assert_eq!(agent.says(listing(repo.id, at(30), &[&shot])).await, Applied::Done, "it begins anew");
}

/// The list goes with its host, and other hosts keep theirs.
pub async fn a_list_goes_with_its_host(store: &Arc<dyn Store>) {
    let (web, repo) = tied(store, "web").await;
    let db = enrolled(store, "db").await;
    attached(store, &db, &repo, Role::Copy).await;
    let (of_web, of_db) = (snapshot(at(1), &[]), snapshot(at(2), &[]));
    assert_eq!(Agent::of(store, &web).says(listing(repo.id, at(60), &[&of_web])).await, Applied::Done);
    assert_eq!(Agent::of(store, &db).says(listing(repo.id, at(60), &[&of_db])).await, Applied::Done);
    assert_eq!(store.delete_host(web.id, audit("host.deleted")).await.unwrap(), Deleted::Done);
    assert!(ids(store, &web, SnapshotFilter::default()).await.is_empty());
    assert_eq!(ids(store, &db, SnapshotFilter::default()).await, [of_db.id]);
}
