//! Repositories.

use std::sync::Arc;

use restic_manager_core::id::{AttachmentId, RepoId};
use restic_manager_core::model::{JobKind, Repo, RepoStats, Role, StatsKind};

use super::fixture::{
    Agent, all_pages, at, at_once, attached, audit, enrolled, made_repo, mint, name, queued, repo, restic_id,
    tied,
};
use crate::{Applied, Deleted, Effect, Renamed, RepoChange, RepoFilter, ResticIdLearned, Store};

/// What was made is read as it was given.
pub async fn a_repo_is_read_as_it_was_made(store: &Arc<dyn Store>) {
    let repo = made_repo(store, "Zoë's \"repo\"").await;
    assert_eq!(store.repo(repo.id).await.unwrap(), Some(repo));
    assert_eq!(store.repo(mint(RepoId::mint)).await.unwrap(), None);
}

/// Repositories are found by a part of their name, in any case; no character has a meaning of its own.
pub async fn repos_are_found_by_a_part_of_their_name(store: &Arc<dyn Store>) {
    for name in ["web1", "Web2", "db 100%", "ÄRZTE"] {
        made_repo(store, name).await;
    }
    for (part, expected) in [
        ("WEB", &["web1", "Web2"][..]),
        ("0%", &["db 100%"]),
        ("ärzte", &["ÄRZTE"]),
        ("%", &["db 100%"]),
        ("x", &[]),
    ] {
        let filter = RepoFilter { text: Some(part.to_owned()) };
        let listed = all_pages(1, |page| store.repos(&filter, page)).await;
        assert_eq!(listed.iter().map(|repo| repo.name.as_str()).collect::<Vec<_>>(), expected, "{part}");
    }
}

/// Repositories are sorted by name, in whatever case.
pub async fn repos_are_sorted_by_name_without_regard_to_case(store: &Arc<dyn Store>) {
    for name in ["beta", "Alpha", "GAMMA", "delta", "Zeta"] {
        made_repo(store, name).await;
    }
    let everything = RepoFilter::default();
    let listed = all_pages(2, |page| store.repos(&everything, page)).await;
    let names: Vec<_> = listed.iter().map(|repo| repo.name.as_str()).collect();
    assert_eq!(names, ["Alpha", "beta", "delta", "GAMMA", "Zeta"]);
}

/// A name is taken whatever its case; a repository's own name is free to it.
pub async fn a_repo_name_is_unique_without_regard_to_case(store: &Arc<dyn Store>) {
    let main = made_repo(store, "Größe").await;
    let refused = repo("GRÖßE");
    assert_eq!(store.create_repo(refused.clone(), audit("repo.created")).await.unwrap(), Renamed::NameTaken);
    assert_eq!(store.repo(refused.id).await.unwrap(), None);
    let other = made_repo(store, "other").await;
    let rename = |id, to: &str| {
        let change = RepoChange { name: Some(name(to)), runner: None };
        async move { store.change_repo(id, change, audit("repo.changed")).await.unwrap() }
    };
    assert_eq!(rename(other.id, "größe").await, Renamed::NameTaken);
    assert_eq!(store.repo(other.id).await.unwrap(), Some(other));
    assert_eq!(rename(main.id, "größe").await, Renamed::Done);
    assert_eq!(store.repo(main.id).await.unwrap().unwrap().name, name("größe"));
    assert_eq!(rename(mint(RepoId::mint), "new").await, Renamed::NotFound);
}

/// A runner is one of the repository's own attachments; anything else is not found and changes nothing.
pub async fn a_runner_is_an_attachment_of_the_repo(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    let (one, two) = (made_repo(store, "one").await, made_repo(store, "two").await);
    let own = attached(store, &host, &one, Role::Primary).await;
    let foreign = attached(store, &host, &two, Role::Copy).await;
    let set = |runner| {
        let change = RepoChange { name: Some(name("uno")), runner: Some(Some(runner)) };
        async move { store.change_repo(one.id, change, audit("repo.changed")).await.unwrap() }
    };
    let one = store.repo(one.id).await.unwrap().unwrap();
    for runner in [foreign.id, mint(AttachmentId::mint)] {
        assert_eq!(set(runner).await, Renamed::NotFound);
        assert_eq!(store.repo(one.id).await.unwrap().as_ref(), Some(&one));
    }
    assert_eq!(set(own.id).await, Renamed::Done);
    let rename = RepoChange { name: Some(name("eins")), runner: None };
    assert_eq!(store.change_repo(one.id, rename, audit("repo.changed")).await.unwrap(), Renamed::Done);
    let changed = store.repo(one.id).await.unwrap().unwrap();
    let expected = Repo { name: name("eins"), runner: Some(own.id), revision: changed.revision, ..one };
    assert_eq!(changed, expected, "what a change leaves out stays");
}

/// A repository with jobs that are not final, or with attachments, stays; the refusal names them.
pub async fn a_repo_in_use_is_not_deleted(store: &Arc<dyn Store>) {
    let (web, repo) = tied(store, "web").await;
    let db = enrolled(store, "db").await;
    attached(store, &db, &repo, Role::Copy).await;
    let job = queued(store, JobKind::Check, &web, &repo).await;
    let delete = || async { store.delete_repo(repo.id, audit("repo.deleted")).await.unwrap() };
    assert_eq!(delete().await, Deleted::HasJobs(vec![job]));
    store.request_cancel(job, at(20), audit("job.cancelled")).await.unwrap();
    let Deleted::HasAttachments(mut hosts) = delete().await else { panic!("hosts are attached") };
    hosts.sort();
    assert_eq!(hosts, [web.id, db.id]);
    for host in [&web, &db] {
        let gone = store.delete_attachment(host.id, repo.id, audit("attachment.deleted")).await.unwrap();
        assert_eq!(gone, Deleted::Done);
    }
    assert_eq!(delete().await, Deleted::Done);
    assert_eq!(store.repo(repo.id).await.unwrap(), None);
    assert_eq!(delete().await, Deleted::NotFound);
    made_repo(store, repo.name.as_str()).await;
}

/// Restic's own id of a repository is stored once, and belongs to one row.
pub async fn restics_own_id_is_learned_once(store: &Arc<dyn Store>) {
    let (one, two) = (made_repo(store, "one").await, made_repo(store, "two").await);
    let (a, b) = (restic_id('a'), restic_id('b'));
    let learn = |id, restic_id| async move { store.learn_restic_id(id, restic_id).await.unwrap() };
    assert_eq!(learn(mint(RepoId::mint), &a).await, ResticIdLearned::NotFound);
    assert_eq!(learn(one.id, &a).await, ResticIdLearned::Learned);
    assert_eq!(learn(one.id, &a).await, ResticIdLearned::Same);
    assert_eq!(learn(one.id, &b).await, ResticIdLearned::Different(a.clone()));
    assert_eq!(learn(two.id, &a).await, ResticIdLearned::KnownAs(one.id));
    assert_eq!(store.repo(two.id).await.unwrap().unwrap().restic_id, None);
    assert_eq!(learn(two.id, &b).await, ResticIdLearned::Learned);
    assert_eq!(learn(two.id, &a).await, ResticIdLearned::Different(b), "the row itself is looked at first");
    assert_eq!(store.repo(one.id).await.unwrap().unwrap().restic_id, Some(a));
}

/// Of several rows that learn one id at once exactly one keeps it.
pub async fn one_row_keeps_an_id_however_many_learn_it(store: &Arc<dyn Store>) {
    let mut repos = Vec::new();
    for n in 0..6 {
        repos.push(made_repo(store, &format!("repo {n}")).await.id);
    }
    let try_one = |store: Arc<dyn Store>, n: usize| {
        let id = repos[n];
        async move { (id, store.learn_restic_id(id, &restic_id('c')).await.unwrap()) }
    };
    let answers = at_once(6, try_one, store).await;
    let winner = answers.iter().find(|(_, learned)| *learned == ResticIdLearned::Learned).unwrap().0;
    for (id, learned) in answers {
        if id != winner {
            assert_eq!(learned, ResticIdLearned::KnownAs(winner));
        }
    }
}

/// Sizes are answered in the order in which they were asked for; nothing is known of what is gone.
pub async fn sizes_are_answered_in_the_order_asked(store: &Arc<dyn Store>) {
    let (host, one) = tied(store, "web").await;
    let two = made_repo(store, "two").await;
    attached(store, &host, &two, Role::Copy).await;
    let size = |bytes| RepoStats {
        total_size_bytes: Some(bytes),
        size_kind: Some(StatsKind::ReferencedData),
        ..RepoStats::default()
    };
    let mut agent = Agent::of(store, &host);
    for (repo, bytes) in [(&one, 1), (&two, 2)] {
        let stats = Effect::Stats { repo_id: repo.id, restic_id: None, stats: size(bytes) };
        assert_eq!(agent.says(stats).await, Applied::Done);
    }
    let asked = [two.id, mint(RepoId::mint), one.id, two.id];
    let known = store.repo_stats(&asked).await.unwrap();
    assert_eq!(known, [size(2), RepoStats::default(), size(1), size(2)]);
    assert!(store.repo_stats(&[]).await.unwrap().is_empty());
}
