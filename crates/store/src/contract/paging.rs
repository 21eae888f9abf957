//! Keyset pages.

use std::sync::Arc;

use restic_manager_core::id::{HostId, UserId};
use restic_manager_core::model::JobKind;

use super::fixture::{all_pages, audit, enrolled, made_repo, mint, queued};
use crate::{
    AuditFilter, Cursor, Deleted, HostFilter, JobFilter, Listed, PageRequest, RepoFilter, SnapshotFilter,
    Store, StoreError,
};

/// While rows come and go between two pages, no row is listed twice and none that stays is left out.
pub async fn pages_are_stable_while_rows_come_and_go(store: &Arc<dyn Store>) {
    let mut hosts = Vec::new();
    for letter in ["b", "d", "f", "h", "j", "l"] {
        hosts.push(enrolled(store, letter).await);
    }
    let first = store.hosts(&HostFilter::default(), PageRequest::first(2)).await.unwrap();
    let mut names: Vec<String> = first.items.iter().map(|host| host.name.to_string()).collect();
    assert_eq!(names, ["b", "d"]);
    // One before the cursor, one behind it; the row of the cursor itself and one ahead go.
    enrolled(store, "a").await;
    enrolled(store, "g").await;
    for gone in [&hosts[1], &hosts[3]] {
        assert_eq!(store.delete_host(gone.id, audit("host.deleted")).await.unwrap(), Deleted::Done);
    }
    let mut next = first.next;
    while let Some(cursor) = next {
        let page = PageRequest { after: Some(cursor), limit: 2 };
        let listed = store.hosts(&HostFilter::default(), page).await.unwrap();
        assert!(names.len() < 100, "the list has no end");
        names.extend(listed.items.iter().map(|host| host.name.to_string()));
        next = listed.next;
    }
    assert_eq!(names, ["b", "d", "f", "g", "j", "l"]);
}

/// A list by id goes on at the same place while newer rows come.
pub async fn newer_rows_do_not_move_a_list_that_is_being_read(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    let mut jobs = Vec::new();
    for n in 0..4 {
        let repo = made_repo(store, &format!("repo {n}")).await;
        jobs.push(queued(store, JobKind::Check, &host, &repo).await);
    }
    let first = store.jobs(&JobFilter::default(), PageRequest::first(2)).await.unwrap();
    let repo = made_repo(store, "repo of the newest").await;
    queued(store, JobKind::Check, &host, &repo).await;
    let second =
        store.jobs(&JobFilter::default(), PageRequest { after: first.next, limit: 2 }).await.unwrap();
    let ids: Vec<_> = first.items.iter().chain(&second.items).map(|row| row.job.id).collect();
    jobs.reverse();
    assert_eq!(ids, jobs);
    assert_eq!(second.next, None);
}

/// The page that holds the last row says so, also when it is full.
pub async fn a_full_last_page_has_no_next(store: &Arc<dyn Store>) {
    for name in ["a", "b", "c", "d"] {
        enrolled(store, name).await;
    }
    let first = store.hosts(&HostFilter::default(), PageRequest::first(2)).await.unwrap();
    assert!(first.next.is_some());
    let last =
        store.hosts(&HostFilter::default(), PageRequest { after: first.next, limit: 2 }).await.unwrap();
    assert_eq!((last.items.len(), last.next), (2, None));
    let all = store.hosts(&HostFilter::default(), PageRequest::first(u32::MAX)).await.unwrap();
    assert_eq!((all.items.len(), all.next), (4, None));
}

/// A page of nothing would never end: 0 counts as 1.
pub async fn a_limit_of_zero_counts_as_one(store: &Arc<dyn Store>) {
    enrolled(store, "a").await;
    enrolled(store, "b").await;
    let listed = store.hosts(&HostFilter::default(), PageRequest::first(0)).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    assert!(listed.next.is_some());
}

/// Pages of one row each list every row once.
pub async fn pages_of_one_row_list_every_row(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let repo = made_repo(store, &format!("repo {n}")).await;
        ids.push(queued(store, JobKind::Check, &host, &repo).await);
    }
    ids.reverse();
    let filter = JobFilter { host_id: Some(host.id), ..JobFilter::default() };
    let listed = all_pages(1, |page| store.jobs(&filter, page)).await;
    assert_eq!(listed.iter().map(|row| row.job.id).collect::<Vec<_>>(), ids);
}

/// A text that is no cursor is refused by every list, as what it is, and is named.
pub async fn a_text_that_is_no_cursor_is_refused(store: &Arc<dyn Store>) {
    fn is_refused<T: std::fmt::Debug>(listed: crate::Result<Listed<T>>) {
        let error = listed.unwrap_err();
        assert!(matches!(&error, StoreError::BadCursor { why, .. } if !why.is_empty()), "{error:?}");
        assert!(error.to_string().ends_with("begin again without it"), "{error}");
    }
    for text in ["", "x", "{}", "0", "' or 1=1 --"] {
        let page = PageRequest { after: Some(Cursor(text.to_owned())), limit: 5 };
        is_refused(store.hosts(&HostFilter::default(), page.clone()).await);
        is_refused(store.repos(&RepoFilter::default(), page.clone()).await);
        is_refused(store.jobs(&JobFilter::default(), page.clone()).await);
        is_refused(store.audit(&AuditFilter::default(), page.clone()).await);
        let host_id = mint(HostId::mint);
        is_refused(store.snapshots(host_id, &SnapshotFilter::default(), page.clone()).await);
        is_refused(store.tokens(mint(UserId::mint), page).await);
    }
}
