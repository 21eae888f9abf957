//! Attachments and credentials.

use std::sync::Arc;

use restic_manager_core::id::{AttachmentId, HostId, RepoId};
use restic_manager_core::model::{AppendOnly, Attachment, CredentialKind, JobKind, Role};

use super::fixture::{
    at, at_once, attached, attachment, audit, change, credential, enrolled, host_now, made_repo, mint,
    queued, restic_id, tied,
};
use crate::{AttachmentChange, Deleted, PutAttachment, PutCredential, Renamed, RepoChange, Store};

async fn put(store: &Arc<dyn Store>, attachment: &Attachment) -> PutAttachment {
    store.put_attachment(change(attachment.clone()), audit("attachment.put")).await.unwrap()
}

/// An attachment is read with the names, the id and the credentials around it.
pub async fn an_attachment_is_read_with_what_is_around_it(store: &Arc<dyn Store>) {
    let (host, repo) = (enrolled(store, "web").await, made_repo(store, "main").await);
    let wanted = Attachment { append_only: AppendOnly::Yes, ..attachment(&host, &repo, Role::Primary) };
    let everyday = credential(CredentialKind::Repo, 1);
    let put = AttachmentChange { credential: Some(everyday.clone()), ..change(wanted.clone()) };
    assert_eq!(store.put_attachment(put, audit("attachment.put")).await.unwrap(), PutAttachment::Done);
    let admin = credential(CredentialKind::Admin, 1);
    let stored = store.put_credential(wanted.id, admin.clone(), audit("credential.put")).await.unwrap();
    assert_eq!(stored, PutCredential::Done);
    store.learn_restic_id(repo.id, &restic_id('d')).await.unwrap();
    let row = store.attachment(host.id, repo.id).await.unwrap().unwrap();
    assert_eq!(row.attachment, wanted);
    assert_eq!((row.host_name, row.repo_name, row.restic_id), (host.name, repo.name, Some(restic_id('d'))));
    assert_eq!(row.credentials, [everyday.info.clone(), admin.info.clone()]);
    assert_eq!(store.credential(wanted.id, CredentialKind::Repo).await.unwrap(), Some(everyday));
    assert_eq!(store.credential(wanted.id, CredentialKind::Admin).await.unwrap(), Some(admin));
    assert_eq!(store.attachment(host.id, mint(RepoId::mint)).await.unwrap(), None);
}

/// An attachment needs its host and its repository.
pub async fn an_attachment_needs_both_its_ends(store: &Arc<dyn Store>) {
    let (host, repo) = (enrolled(store, "web").await, made_repo(store, "main").await);
    let whole = attachment(&host, &repo, Role::Copy);
    let without_host = Attachment { host_id: mint(HostId::mint), ..whole.clone() };
    let without_repo = Attachment { repo_id: mint(RepoId::mint), ..whole };
    assert_eq!(put(store, &without_host).await, PutAttachment::NotFound);
    assert_eq!(put(store, &without_repo).await, PutAttachment::NotFound);
    assert!(store.attachments_of_host(host.id).await.unwrap().is_empty());
}

/// A host has one primary repository, by a new attachment and by a changed one.
pub async fn a_host_has_one_primary_repo(store: &Arc<dyn Store>) {
    let (host, main) = tied(store, "web").await;
    let copy = made_repo(store, "copy").await;
    let mut second = attachment(&host, &copy, Role::Primary);
    assert_eq!(put(store, &second).await, PutAttachment::PrimaryTaken(main.id));
    assert_eq!(store.attachment(host.id, copy.id).await.unwrap(), None);
    second.role = Role::Copy;
    assert_eq!(put(store, &second).await, PutAttachment::Done);
    second.role = Role::Primary;
    assert_eq!(put(store, &second).await, PutAttachment::PrimaryTaken(main.id));
    let other = enrolled(store, "db").await;
    assert_eq!(put(store, &attachment(&other, &main, Role::Primary)).await, PutAttachment::Done);
}

/// Of several primary repositories for one host at once one is attached.
pub async fn a_primary_repo_is_given_once_however_many_try(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    let mut wanted = Vec::new();
    for n in 0..6 {
        wanted.push(attachment(&host, &made_repo(store, &format!("repo {n}")).await, Role::Primary));
    }
    let try_one = |store: Arc<dyn Store>, n: usize| {
        let wanted = change(wanted[n].clone());
        async move { store.put_attachment(wanted, audit("attachment.put")).await.unwrap() }
    };
    let answers = at_once(6, try_one, store).await;
    assert_eq!(answers.iter().filter(|answer| **answer == PutAttachment::Done).count(), 1, "{answers:?}");
    assert_eq!(store.attachments_of_host(host.id).await.unwrap().len(), 1);
}

/// Two hosts never carry one name in a repository; in another repository the name is free.
pub async fn a_restic_host_name_is_unique_in_a_repo(store: &Arc<dyn Store>) {
    let (web, main) = tied(store, "web").await;
    let db = enrolled(store, "db").await;
    let taken = store.attachment(web.id, main.id).await.unwrap().unwrap().attachment.restic_host;
    let namesake = Attachment { restic_host: taken.clone(), ..attachment(&db, &main, Role::Copy) };
    assert_eq!(put(store, &namesake).await, PutAttachment::ResticHostTaken(web.id));
    let elsewhere = made_repo(store, "elsewhere").await;
    let free = Attachment { restic_host: taken, ..attachment(&db, &elsewhere, Role::Copy) };
    assert_eq!(put(store, &free).await, PutAttachment::Done);
}

/// Of an existing attachment only the role and, when it is said, `append_only` change.
pub async fn an_existing_attachment_keeps_its_identity(store: &Arc<dyn Store>) {
    let (host, repo) = (enrolled(store, "web").await, made_repo(store, "main").await);
    let first = attached(store, &host, &repo, Role::Primary).await;
    let again = Attachment {
        append_only: AppendOnly::Yes,
        created_at: at(99),
        ..attachment(&host, &repo, Role::Copy)
    };
    let renamed = Attachment { restic_host: "renamed".parse().unwrap(), ..again };
    assert_eq!(put(store, &renamed).await, PutAttachment::Done);
    let stored = || async { store.attachment(host.id, repo.id).await.unwrap().unwrap().attachment };
    let as_copy = Attachment { role: Role::Copy, ..first };
    assert_eq!(stored().await, as_copy);
    let said = AttachmentChange { append_only: Some(AppendOnly::No), ..change(renamed) };
    assert_eq!(store.put_attachment(said, audit("attachment.put")).await.unwrap(), PutAttachment::Done);
    assert_eq!(stored().await, Attachment { append_only: AppendOnly::No, ..as_copy });
}

/// Every written attachment raises the plan version of its host, a refused one does not.
pub async fn an_attachment_raises_the_plan_version(store: &Arc<dyn Store>) {
    let (host, other) = (enrolled(store, "web").await, enrolled(store, "db").await);
    let (main, copy) = (made_repo(store, "main").await, made_repo(store, "copy").await);
    let version = || async { host_now(store, &host).await.schedule_version };
    let before = version().await;
    attached(store, &host, &main, Role::Primary).await;
    assert_eq!(version().await, before + 1);
    put(store, &attachment(&host, &copy, Role::Primary)).await;
    assert_eq!(version().await, before + 1);
    put(store, &attachment(&host, &main, Role::Copy)).await;
    assert_eq!(version().await, before + 2);
    store.delete_attachment(host.id, main.id, audit("attachment.deleted")).await.unwrap();
    assert_eq!(version().await, before + 3);
    assert_eq!(host_now(store, &other).await.schedule_version, other.schedule_version);
}

/// An attachment with a credential somebody else wrote meanwhile is not written either.
pub async fn a_stale_credential_leaves_the_attachment_unwritten(store: &Arc<dyn Store>) {
    let (host, repo) = (enrolled(store, "web").await, made_repo(store, "main").await);
    let with = |attachment: Attachment, revision| AttachmentChange {
        credential: Some(credential(CredentialKind::Repo, revision)),
        ..change(attachment)
    };
    let wanted = attachment(&host, &repo, Role::Primary);
    let put = |change| async { store.put_attachment(change, audit("attachment.put")).await.unwrap() };
    assert_eq!(put(with(wanted.clone(), 2)).await, PutAttachment::Stale);
    assert_eq!(store.attachment(host.id, repo.id).await.unwrap(), None);
    assert_eq!(host_now(store, &host).await.schedule_version, host.schedule_version);
    assert_eq!(put(with(wanted.clone(), 1)).await, PutAttachment::Done);
    assert_eq!(put(with(Attachment { role: Role::Copy, ..wanted.clone() }, 1)).await, PutAttachment::Stale);
    assert_eq!(store.attachment(host.id, repo.id).await.unwrap().unwrap().attachment.role, Role::Primary);
    assert_eq!(put(with(attachment(&host, &repo, Role::Copy), 2)).await, PutAttachment::Done);
    let stored = store.credential(wanted.id, CredentialKind::Repo).await.unwrap().unwrap();
    assert_eq!(stored.info.revision, 2, "it belongs to the attachment that was there");
}

/// A host's attachments come primary first, then by repository name.
pub async fn attachments_of_a_host_come_primary_first(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    for (text, role) in
        [("Beta", Role::Copy), ("alpha", Role::Maintenance), ("zeta", Role::Primary), ("Gamma", Role::Copy)]
    {
        attached(store, &host, &made_repo(store, text).await, role).await;
    }
    let rows = store.attachments_of_host(host.id).await.unwrap();
    let names: Vec<_> = rows.iter().map(|row| row.repo_name.as_str()).collect();
    assert_eq!(names, ["zeta", "alpha", "Beta", "Gamma"]);
    let plan = store.plan(host.id).await.unwrap().unwrap();
    assert_eq!(plan.attachments, rows.into_iter().map(|row| row.attachment).collect::<Vec<_>>());
}

/// The attachments of several repositories come by repository, then host name.
pub async fn attachments_of_repos_come_by_repo_and_host_name(store: &Arc<dyn Store>) {
    let (one, two, three) =
        (made_repo(store, "z").await, made_repo(store, "a").await, made_repo(store, "unasked").await);
    for text in ["Web", "db", "Mail"] {
        let host = enrolled(store, text).await;
        for (repo, role) in [(&two, Role::Copy), (&one, Role::Primary), (&three, Role::Copy)] {
            attached(store, &host, repo, role).await;
        }
    }
    let rows = store.attachments_of_repos(&[two.id, one.id, mint(RepoId::mint)]).await.unwrap();
    let found: Vec<_> = rows.iter().map(|row| (row.attachment.repo_id, row.host_name.as_str())).collect();
    let expected: Vec<_> =
        [one.id, two.id].into_iter().flat_map(|id| ["db", "Mail", "Web"].map(|name| (id, name))).collect();
    assert_eq!(found, expected);
    assert!(store.attachments_of_repos(&[]).await.unwrap().is_empty());
}

/// An attachment with unfinished jobs, or one that is the runner, stays; the refusal names why.
pub async fn an_attachment_in_use_is_not_deleted(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = store.attachment(host.id, repo.id).await.unwrap().unwrap().attachment.id;
    let job = queued(store, JobKind::Check, &host, &repo).await;
    let runner = RepoChange { runner: Some(Some(id)), ..RepoChange::default() };
    assert_eq!(store.change_repo(repo.id, runner, audit("repo.changed")).await.unwrap(), Renamed::Done);
    let delete = |host_id| async move {
        store.delete_attachment(host_id, repo.id, audit("attachment.deleted")).await.unwrap()
    };
    assert_eq!(delete(mint(HostId::mint)).await, Deleted::NotFound);
    assert_eq!(delete(host.id).await, Deleted::HasJobs(vec![job]));
    store.request_cancel(job, at(20), audit("job.cancelled")).await.unwrap();
    assert_eq!(delete(host.id).await, Deleted::IsRunner(vec![repo.id]));
    assert!(store.attachment(host.id, repo.id).await.unwrap().is_some());
    // The last one can go as well: nobody has to be the runner by name.
    let nobody = RepoChange { runner: Some(None), ..RepoChange::default() };
    assert_eq!(store.change_repo(repo.id, nobody, audit("repo.changed")).await.unwrap(), Renamed::Done);
    assert_eq!(delete(host.id).await, Deleted::Done);
}

/// Credentials go with their attachment, and a new attachment begins without any.
pub async fn credentials_go_with_their_attachment(store: &Arc<dyn Store>) {
    let (host, repo) = (enrolled(store, "web").await, made_repo(store, "main").await);
    let old = attached(store, &host, &repo, Role::Primary).await;
    store.put_credential(old.id, credential(CredentialKind::Repo, 1), audit("credential.put")).await.unwrap();
    let gone = store.delete_attachment(host.id, repo.id, audit("attachment.deleted")).await.unwrap();
    assert_eq!(gone, Deleted::Done);
    assert_eq!(store.credential(old.id, CredentialKind::Repo).await.unwrap(), None);
    attached(store, &host, &repo, Role::Primary).await;
    assert!(store.attachment(host.id, repo.id).await.unwrap().unwrap().credentials.is_empty());
}

/// A credential is written only on top of the revision that its writer saw; each kind counts for itself.
pub async fn a_credential_is_written_on_the_revision_that_was_seen(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = store.attachment(host.id, repo.id).await.unwrap().unwrap().attachment.id;
    let put = |id, kind, revision| async move {
        store.put_credential(id, credential(kind, revision), audit("credential.put")).await.unwrap()
    };
    let cases = [
        (CredentialKind::Repo, 0, PutCredential::Stale),
        (CredentialKind::Repo, 2, PutCredential::Stale),
        (CredentialKind::Repo, 1, PutCredential::Done),
        (CredentialKind::Repo, 1, PutCredential::Stale),
        (CredentialKind::Repo, 3, PutCredential::Stale),
        (CredentialKind::Repo, 2, PutCredential::Done),
        (CredentialKind::Admin, 2, PutCredential::Stale),
        (CredentialKind::Admin, 1, PutCredential::Done),
    ];
    for (kind, revision, answer) in cases {
        assert_eq!(put(id, kind, revision).await, answer, "{kind:?} {revision}");
    }
    assert_eq!(put(mint(AttachmentId::mint), CredentialKind::Repo, 1).await, PutCredential::NotFound);
    let stored = store.credential(id, CredentialKind::Repo).await.unwrap();
    assert_eq!(stored, Some(credential(CredentialKind::Repo, 2)));
}

/// Of several writers on one revision exactly one wins.
pub async fn one_writer_of_a_credential_wins(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = store.attachment(host.id, repo.id).await.unwrap().unwrap().attachment.id;
    let try_one = |store: Arc<dyn Store>, _| async move {
        store.put_credential(id, credential(CredentialKind::Admin, 1), audit("credential.put")).await.unwrap()
    };
    let answers = at_once(8, try_one, store).await;
    assert_eq!(answers.iter().filter(|answer| **answer == PutCredential::Done).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == PutCredential::Stale).count(), 7, "{answers:?}");
}

/// A deleted credential is gone, the other kind stays, and there is nothing to delete twice.
pub async fn a_credential_is_deleted_once(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = store.attachment(host.id, repo.id).await.unwrap().unwrap().attachment.id;
    for kind in [CredentialKind::Repo, CredentialKind::Admin] {
        store.put_credential(id, credential(kind, 1), audit("credential.put")).await.unwrap();
    }
    let delete = || async {
        store.delete_credential(id, CredentialKind::Admin, audit("credential.deleted")).await.unwrap()
    };
    assert!(delete().await);
    assert!(!delete().await);
    assert_eq!(store.credential(id, CredentialKind::Admin).await.unwrap(), None);
    assert!(store.credential(id, CredentialKind::Repo).await.unwrap().is_some());
    let again = store.put_credential(id, credential(CredentialKind::Admin, 1), audit("credential.put")).await;
    assert_eq!(again.unwrap(), PutCredential::Done, "a new one begins at 1");
}
