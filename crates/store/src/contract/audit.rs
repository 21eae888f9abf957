//! The audit log, and the facts of the installation.

use std::sync::Arc;

use restic_manager_core::id::{AttachmentId, GroupId, HostId, JobId, RepoId, SessionId, UserId};
use restic_manager_core::model::{
    Actor, ActorKind, AuditEntry, AuditRow, CredentialKind, JobEvent, JobKind, Role, SourceGroup,
};

use super::fixture::{
    actions, all_pages, at, at_once, attachment, audit, change, credential, enrolled, enrollment, first_user,
    group, hash, host, job, made_group, made_repo, made_schedule, mint, name, repo, schedule, tied, token,
    user,
};
use crate::{AuditFilter, HostChange, PageRequest, RepoChange, SessionRow, Store, TokenRow};

/// An entry stands in the log exactly as it was given, once.
pub(super) async fn is_written(store: &Arc<dyn Store>, entry: &AuditEntry) {
    let all = store.audit(&AuditFilter::default(), PageRequest::first(10_000)).await.unwrap().items;
    let found: Vec<&AuditRow> = all.iter().filter(|row| row.id == entry.id).collect();
    assert_eq!(found, [&row(entry)], "{}", entry.action);
}

fn row(entry: &AuditEntry) -> AuditRow {
    AuditRow {
        id: entry.id,
        at: entry.at,
        actor_kind: entry.actor.kind,
        actor: entry.actor.name.clone(),
        action: entry.action.clone(),
        subject_kind: entry.subject_kind.clone(),
        subject_id: entry.subject_id.clone(),
        detail: entry.detail.clone(),
    }
}

/// Runs a change with an audit entry of its own and sees that it is written as it was given.
macro_rules! writes {
    ($store:ident.$method:ident($($argument:expr),*)) => {{
        let entry = audit(stringify!($method));
        $store.$method($($argument,)* entry.clone()).await.unwrap();
        is_written($store, &entry).await;
    }};
}

/// Every change of people and tokens writes its row, as it was given.
pub async fn every_change_of_accounts_is_written(store: &Arc<dyn Store>) {
    let user = user("ada");
    writes!(store.create_first_user(user.clone()));
    let session = SessionRow {
        id: mint(SessionId::mint),
        hash: hash(),
        csrf_hash: hash(),
        user_id: user.id,
        created_at: at(0),
        expires_at: at(9),
    };
    writes!(store.create_session(session.clone(), at(0)));
    writes!(store.delete_session(&session.hash));
    let token = token(&user, "ci");
    writes!(store.create_token(token.clone()));
    writes!(store.revoke_token(user.id, token.id, at(5)));
    writes!(store.set_password(user.id, "$new$"));
    let enrollment = enrollment();
    writes!(store.create_enrollment(enrollment.clone()));
    writes!(store.enroll(&enrollment.hash, host("web"), hash(), at(1)));
}

/// Every change of the fleet writes its row, as it was given.
pub async fn every_change_of_the_fleet_is_written(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    writes!(store.change_host(host.id, HostChange { name: Some(name("www")), ..HostChange::default() }));
    let repo = repo("main");
    writes!(store.create_repo(repo.clone()));
    writes!(store.change_repo(repo.id, RepoChange { name: Some(name("other")), runner: None }));
    let attachment = attachment(&host, &repo, Role::Primary);
    writes!(store.put_attachment(change(attachment.clone())));
    writes!(store.put_attachment(change(attachment.clone())));
    writes!(store.put_credential(attachment.id, credential(CredentialKind::Repo, 1)));
    writes!(store.delete_credential(attachment.id, CredentialKind::Repo));
    writes!(store.delete_attachment(host.id, repo.id));
    writes!(store.delete_repo(repo.id));
    writes!(store.delete_host(host.id));
}

/// Every change of plans and jobs writes its row, as it was given.
pub async fn every_change_of_plans_and_jobs_is_written(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let group = group(&host, "home");
    writes!(store.create_group(group.clone()));
    writes!(store.replace_group(group.clone()));
    let schedule = schedule(&host, "nightly", &[&group]);
    writes!(store.create_schedule(schedule.clone()));
    writes!(store.replace_schedule(schedule.clone()));
    writes!(store.delete_schedule(host.id, schedule.id));
    writes!(store.delete_group(host.id, group.id));
    let (check, stats) = (job(JobKind::Check, &host, &repo), job(JobKind::Stats, &host, &repo));
    writes!(store.enqueue(check.clone()));
    writes!(store.request_cancel(check.id, at(20)));
    writes!(store.enqueue(stats.clone()));
    let entry = audit("move_job");
    let moved =
        store.move_job(stats.id, JobEvent::Withdraw, "why", at(20), Some(entry.clone())).await.unwrap();
    assert_eq!(moved, crate::JobMove::Moved(restic_manager_core::model::JobState::Withdrawn));
    is_written(store, &entry).await;
    writes!(store.record());
}

/// A change of accounts or of the fleet that is refused writes nothing.
pub async fn a_refused_change_of_the_fleet_writes_nothing(store: &Arc<dyn Store>) {
    let ada = first_user(store).await;
    store.create_token(token(&ada, "ci"), audit("token.created")).await.unwrap();
    let (web, main) = tied(store, "web").await;
    let (db, _) = tied(store, "db").await;
    let job = job(JobKind::Check, &web, &main);
    store.enqueue(job, audit("job.asked")).await.unwrap();
    let (nobody, nothing) = (mint(HostId::mint), mint(RepoId::mint));
    let own = store.attachment(web.id, main.id).await.unwrap().unwrap().attachment.id;
    let before = actions(store).await;
    let no = || audit("refused");
    store.create_first_user(user("eve"), no()).await.unwrap();
    store.set_password(mint(UserId::mint), "$new$", no()).await.unwrap();
    store.delete_session(&hash(), no()).await.unwrap();
    store.create_token(TokenRow { ..token(&ada, "ci") }, no()).await.unwrap();
    store.enroll(&hash(), host("new"), hash(), at(1), no()).await.unwrap();
    let taken = HostChange { name: Some(name("DB")), ..HostChange::default() };
    store.change_host(web.id, taken.clone(), no()).await.unwrap();
    store.change_host(nobody, taken, no()).await.unwrap();
    store.delete_host(web.id, no()).await.unwrap();
    store.delete_host(nobody, no()).await.unwrap();
    store.create_repo(repo(main.name.as_str()), no()).await.unwrap();
    store.change_repo(nothing, RepoChange::default(), no()).await.unwrap();
    store.delete_repo(main.id, no()).await.unwrap();
    store.put_attachment(change(attachment(&host("ghost"), &main, Role::Copy)), no()).await.unwrap();
    store.put_attachment(change(attachment(&db, &main, Role::Primary)), no()).await.unwrap();
    store.delete_attachment(web.id, main.id, no()).await.unwrap();
    store.put_credential(own, credential(CredentialKind::Repo, 7), no()).await.unwrap();
    store.put_credential(mint(AttachmentId::mint), credential(CredentialKind::Repo, 1), no()).await.unwrap();
    store.delete_credential(own, CredentialKind::Admin, no()).await.unwrap();
    assert_eq!(actions(store).await, before);
}

/// A change of plans or jobs that is refused writes nothing.
pub async fn a_refused_change_of_plans_and_jobs_writes_nothing(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let home = made_group(store, &host, "home").await;
    let nightly = made_schedule(store, &host, "nightly", &[&home]).await;
    let check = job(JobKind::Check, &host, &repo);
    store.enqueue(check.clone(), audit("job.asked")).await.unwrap();
    store.request_cancel(check.id, at(20), audit("job.cancelled")).await.unwrap();
    let before = actions(store).await;
    let no = || audit("refused");
    store.create_group(group(&host, "HOME"), no()).await.unwrap();
    store.replace_group(SourceGroup { id: mint(GroupId::mint), ..home.clone() }, no()).await.unwrap();
    store.delete_group(host.id, home.id, no()).await.unwrap();
    store.create_schedule(schedule(&host, "NIGHTLY", &[&home]), no()).await.unwrap();
    store.replace_schedule(schedule(&host, "new", &[&home]), no()).await.unwrap();
    store.delete_schedule(mint(HostId::mint), nightly.id, no()).await.unwrap();
    store.enqueue(job(JobKind::Check, &host, &super::fixture::repo("ghost")), no()).await.unwrap();
    store.request_cancel(check.id, at(21), no()).await.unwrap();
    store.request_cancel(mint(JobId::mint), at(21), no()).await.unwrap();
    store.move_job(check.id, JobEvent::Lose, "late", at(21), Some(no())).await.unwrap();
    assert_eq!(actions(store).await, before);
}

/// Rows come newest first, by id, page by page.
pub async fn rows_come_newest_first(store: &Arc<dyn Store>) {
    let entries: Vec<AuditEntry> = (0..7).map(|n| audit(&format!("thing.done_{n}"))).collect();
    for n in [3, 0, 6, 1, 5, 2, 4] {
        store.record(entries[n].clone()).await.unwrap();
    }
    let filter = AuditFilter::default();
    let listed = all_pages(3, |page| store.audit(&filter, page)).await;
    assert_eq!(listed, entries.iter().rev().map(row).collect::<Vec<_>>());
}

/// Each part of a filter narrows the log.
pub async fn rows_are_found_by_what_they_say(store: &Arc<dyn Store>) {
    let entry = |kind, actor: &str, action: &str, subject_kind: &str, subject_id: &str, seconds| AuditEntry {
        actor: Actor { kind, name: actor.to_owned() },
        action: action.to_owned(),
        subject_kind: subject_kind.to_owned(),
        subject_id: subject_id.to_owned(),
        at: at(seconds),
        ..audit("")
    };
    let entries = [
        entry(ActorKind::User, "ada", "host.enrolled", "host", "1", 10),
        entry(ActorKind::User, "eve", "host.deleted", "host", "1", 20),
        entry(ActorKind::System, "", "job.lost", "job", "2", 30),
        entry(ActorKind::Agent, "ada", "job.lost", "job", "3", 40),
    ];
    for entry in &entries {
        store.record(entry.clone()).await.unwrap();
    }
    let all = AuditFilter::default();
    let cases: [(AuditFilter, &[usize]); 9] = [
        (all.clone(), &[3, 2, 1, 0]),
        (AuditFilter { actor_kind: Some(ActorKind::User), ..all.clone() }, &[1, 0]),
        (AuditFilter { actor: Some("ada".to_owned()), ..all.clone() }, &[3, 0]),
        (AuditFilter { action: Some("job.lost".to_owned()), ..all.clone() }, &[3, 2]),
        (AuditFilter { action: Some("job".to_owned()), ..all.clone() }, &[]),
        (AuditFilter { subject_kind: Some("host".to_owned()), ..all.clone() }, &[1, 0]),
        (AuditFilter { subject_id: Some("3".to_owned()), ..all.clone() }, &[3]),
        (AuditFilter { since: Some(at(30)), ..all.clone() }, &[3, 2]),
        (AuditFilter { actor: Some("ada".to_owned()), since: Some(at(30)), ..all }, &[3]),
    ];
    for (filter, expected) in cases {
        let listed = all_pages(1, |page| store.audit(&filter, page)).await;
        let expected: Vec<AuditRow> = expected.iter().map(|n| row(&entries[*n])).collect();
        assert_eq!(listed, expected, "{filter:?}");
    }
}

/// A fact is stored once; whoever comes later is told the first.
pub async fn a_fact_keeps_its_first_value(store: &Arc<dyn Store>) {
    assert_eq!(store.fact("installation").await.unwrap(), None);
    assert_eq!(store.fact_or_insert("installation", "one").await.unwrap(), "one");
    assert_eq!(store.fact_or_insert("installation", "two").await.unwrap(), "one");
    assert_eq!(store.fact_or_insert("Installation", "other").await.unwrap(), "other");
    assert_eq!(store.fact("installation").await.unwrap().as_deref(), Some("one"));
}

/// Of several first values at once one stays, and all are told the same.
pub async fn a_fact_has_one_value_however_many_bring_one(store: &Arc<dyn Store>) {
    let try_one = |store: Arc<dyn Store>, n: usize| async move {
        store.fact_or_insert("canary", &n.to_string()).await.unwrap()
    };
    let mut told = at_once(8, try_one, store).await;
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(store.fact("canary").await.unwrap().as_ref(), Some(&told[0]));
}

/// A store that takes writes says so, changes nothing by it, and takes the next write.
pub async fn a_ping_changes_nothing(store: &Arc<dyn Store>) {
    store.fact_or_insert("canary", "first").await.unwrap();
    let try_one = |store: Arc<dyn Store>, _| async move { store.ping().await.unwrap() };
    at_once(4, try_one, store).await;
    assert_eq!(store.fact("canary").await.unwrap().as_deref(), Some("first"));
    assert!(actions(store).await.is_empty());
    assert_eq!(store.fact_or_insert("other", "second").await.unwrap(), "second");
}

/// Rows of changes made at once are all there.
pub async fn changes_made_at_once_are_all_written(store: &Arc<dyn Store>) {
    let try_one = |store: Arc<dyn Store>, n: usize| async move {
        made_repo(&store, &format!("repo {n}")).await;
    };
    at_once(8, try_one, store).await;
    assert_eq!(actions(store).await, ["repo.created"; 8]);
}
