//! Hosts.

use std::sync::Arc;

use restic_manager_core::id::HostId;
use restic_manager_core::model::{CredentialKind, Host, HostFacts, JobKind, Role};
use restic_manager_core::text::Tag;

use super::fixture::{
    Agent, all_pages, at, at_once, attached, audit, credential, dispatched, enrolled, enrolled_as, hash,
    host, host_now, made_group, made_repo, made_schedule, mint, name, queued, state_of, tied,
};
use crate::{
    Deleted, HostChange, HostFilter, PageRequest, PutCredential, Renamed, RepoChange, Seen, SnapshotFilter,
    Store,
};

/// What was enrolled is read as it was given.
pub async fn a_host_is_read_as_it_was_enrolled(store: &Arc<dyn Store>) {
    let host = Host {
        tags: vec![Tag::new("eu").unwrap(), Tag::new("web").unwrap()],
        facts: HostFacts { os_hostname: Some("web-1".to_owned()), ..HostFacts::default() },
        limit_upload_kib: Some(512),
        last_seen_at: Some(at(3)),
        ..host("Zoë's \"web\" <script> 🦀")
    };
    let agent_token = enrolled_as(store, &host).await;
    assert_eq!(store.host(host.id).await.unwrap().as_ref(), Some(&host));
    assert_eq!(store.host_by_agent_token(&agent_token).await.unwrap(), Some(host));
    assert_eq!(store.host_by_agent_token(&hash()).await.unwrap(), None);
    assert_eq!(store.host(mint(HostId::mint)).await.unwrap(), None);
}

/// A host is found by its name, in whatever case, and by no part of it.
pub async fn a_host_is_found_by_its_name(store: &Arc<dyn Store>) {
    let host = enrolled(store, "Ärger").await;
    enrolled(store, "Ärger 2").await;
    for text in ["Ärger", "ÄRGER"] {
        assert_eq!(store.host_by_name(&name(text)).await.unwrap().as_ref(), Some(&host), "{text}");
    }
    for text in ["Ärge", "rger", "Arger"] {
        assert_eq!(store.host_by_name(&name(text)).await.unwrap(), None, "{text}");
    }
}

async fn names(store: &Arc<dyn Store>, filter: HostFilter) -> Vec<String> {
    let listed = all_pages(2, |page| store.hosts(&filter, page)).await;
    listed.into_iter().map(|host| host.name.to_string()).collect()
}

/// Hosts are sorted by name, in whatever case.
pub async fn hosts_are_sorted_by_name_without_regard_to_case(store: &Arc<dyn Store>) {
    for name in ["beta", "Alpha", "GAMMA", "delta", "äther", "Zeta"] {
        enrolled(store, name).await;
    }
    assert_eq!(
        names(store, HostFilter::default()).await,
        ["Alpha", "beta", "delta", "GAMMA", "Zeta", "äther"]
    );
}

/// A part of the name finds hosts in any case; no character has a meaning of its own.
pub async fn hosts_are_found_by_a_part_of_their_name(store: &Arc<dyn Store>) {
    for name in ["Web-1", "web_2", "db%1", "ÄRGER"] {
        enrolled(store, name).await;
    }
    let cases: [(&str, &[&str]); 7] = [
        ("WEB", &["Web-1", "web_2"]),
        ("%", &["db%1"]),
        ("_", &["web_2"]),
        ("ärg", &["ÄRGER"]),
        ("1", &["db%1", "Web-1"]),
        ("*", &[]),
        ("", &["db%1", "Web-1", "web_2", "ÄRGER"]),
    ];
    for (text, found) in cases {
        let filter = HostFilter { text: Some(text.to_owned()), ..HostFilter::default() };
        assert_eq!(names(store, filter).await, found, "{text}");
    }
}

/// Hosts are chosen by id, and told by whether there ever was a sign of life; pages hold for each, be the ids few or many.
pub async fn hosts_are_chosen_by_id_and_by_signs_of_life(store: &Arc<dyn Store>) {
    let mut ids = Vec::new();
    for (name, seen) in [("d", true), ("a", true), ("c", false), ("b", true), ("e", false)] {
        let host = Host { last_seen_at: seen.then(|| at(3)), ..host(name) };
        enrolled_as(store, &host).await;
        ids.push(host.id);
    }
    for strangers in [1, 5_000] {
        let mut among = vec![ids[0], ids[2], ids[3], ids[0]];
        among.extend((0..strangers).map(|_| mint(HostId::mint)));
        let filter = HostFilter { among: Some(among), ..HostFilter::default() };
        assert_eq!(names(store, filter.clone()).await, ["b", "c", "d"], "{strangers}");
        let part = HostFilter { text: Some("C".to_owned()), ..filter.clone() };
        assert_eq!(names(store, part).await, ["c"], "{strangers}");
        let never = HostFilter { seen: Some(Seen::Never), ..filter };
        assert_eq!(names(store, never).await, ["c"], "{strangers}");
    }
    assert_eq!(
        names(store, HostFilter { seen: Some(Seen::Once), ..HostFilter::default() }).await,
        ["a", "b", "d"]
    );
    let none = HostFilter { among: Some(Vec::new()), ..HostFilter::default() };
    assert!(names(store, none).await.is_empty());
}

/// A label finds the hosts that carry exactly it.
pub async fn hosts_are_found_by_their_label(store: &Arc<dyn Store>) {
    let tags = |tags: &[&str]| tags.iter().map(|tag| Tag::new(*tag).unwrap()).collect::<Vec<_>>();
    for (name, labels) in [("a", tags(&["eu", "web"])), ("b", tags(&["eu-2"])), ("ab", tags(&["web"]))] {
        enrolled_as(store, &Host { tags: labels, ..host(name) }).await;
    }
    let by = |text: Option<&str>, tag: &str| HostFilter {
        text: text.map(str::to_owned),
        tag: Some(Tag::new(tag).unwrap()),
        ..HostFilter::default()
    };
    assert_eq!(names(store, by(None, "eu")).await, ["a"]);
    assert_eq!(names(store, by(None, "web")).await, ["a", "ab"]);
    assert_eq!(names(store, by(Some("b"), "web")).await, ["ab"]);
    assert!(names(store, by(None, "w")).await.is_empty());
}

/// A name is taken whatever its case; a host's own name is free to it.
pub async fn a_host_name_is_unique_without_regard_to_case(store: &Arc<dyn Store>) {
    let (web, db) = (enrolled(store, "web").await, enrolled(store, "Dübel").await);
    let rename = |id, to: &str| {
        let change = HostChange { name: Some(name(to)), ..HostChange::default() };
        async move { store.change_host(id, change, audit("host.changed")).await.unwrap() }
    };
    assert_eq!(rename(web.id, "DÜBEL").await, Renamed::NameTaken);
    assert_eq!(host_now(store, &web).await, web);
    assert_eq!(rename(db.id, "dübel").await, Renamed::Done);
    assert_eq!(host_now(store, &db).await.name, name("dübel"));
    assert_eq!(rename(mint(HostId::mint), "new").await, Renamed::NotFound);
}

/// Of several hosts that want a name at once one gets it.
pub async fn a_host_name_is_given_once_however_many_try(store: &Arc<dyn Store>) {
    let mut hosts = Vec::new();
    for n in 0..6 {
        hosts.push(enrolled(store, &format!("host {n}")).await.id);
    }
    let try_one = |store: Arc<dyn Store>, n: usize| {
        let change = HostChange { name: Some(name("wanted")), ..HostChange::default() };
        let id = hosts[n];
        async move { store.change_host(id, change, audit("host.changed")).await.unwrap() }
    };
    let answers = at_once(6, try_one, store).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Renamed::Done).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == Renamed::NameTaken).count(), 5, "{answers:?}");
}

/// What a change leaves out stays as it was.
pub async fn what_a_change_of_a_host_leaves_out_stays(store: &Arc<dyn Store>) {
    let host = Host { limit_upload_kib: Some(100), ..host("web") };
    enrolled_as(store, &host).await;
    let tags = vec![Tag::new("eu").unwrap()];
    let label = HostChange { tags: Some(tags.clone()), ..HostChange::default() };
    assert_eq!(store.change_host(host.id, label, audit("host.changed")).await.unwrap(), Renamed::Done);
    assert_eq!(host_now(store, &host).await, Host { tags: tags.clone(), ..host.clone() });
    let limits = HostChange {
        limit_upload_kib: Some(None),
        limit_download_kib: Some(Some(64)),
        ..HostChange::default()
    };
    assert_eq!(store.change_host(host.id, limits, audit("host.changed")).await.unwrap(), Renamed::Done);
    let changed = host_now(store, &host).await;
    assert_eq!((changed.limit_upload_kib, changed.limit_download_kib, changed.tags), (None, Some(64), tags));
}

/// The agent must know a limit that becomes another, and nothing else of a change.
pub async fn only_a_limit_that_becomes_another_raises_the_plan_version(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    let upload = |limit| HostChange { limit_upload_kib: Some(limit), ..HostChange::default() };
    let cases = [
        (HostChange { name: Some(name("www")), tags: Some(Vec::new()), ..HostChange::default() }, 0),
        (upload(Some(5)), 1),
        (upload(Some(5)), 1),
        (upload(None), 2),
        (upload(None), 2),
        (HostChange { limit_download_kib: Some(Some(7)), ..HostChange::default() }, 3),
    ];
    for (change, raised) in cases {
        store.change_host(host.id, change.clone(), audit("host.changed")).await.unwrap();
        assert_eq!(
            host_now(store, &host).await.schedule_version,
            host.schedule_version + raised,
            "{change:?}"
        );
    }
}

/// A host with jobs that are not final stays, and the refusal names them.
pub async fn a_host_with_unfinished_jobs_is_not_deleted(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let (other, _) = tied(store, "db").await;
    let one = dispatched(store, JobKind::Backup, &host, &repo).await;
    let two = queued(store, JobKind::Check, &host, &repo).await;
    let deleted = store.delete_host(host.id, audit("host.deleted")).await.unwrap();
    assert_eq!(deleted, Deleted::HasJobs(vec![one, two]));
    assert!(store.host(host.id).await.unwrap().is_some());
    assert_eq!(store.delete_host(other.id, audit("host.deleted")).await.unwrap(), Deleted::Done);
    assert_eq!(store.delete_host(other.id, audit("host.deleted")).await.unwrap(), Deleted::NotFound);
}

/// A host that is a runner stays, and the refusal names the repositories.
pub async fn a_host_that_is_a_runner_is_not_deleted(store: &Arc<dyn Store>) {
    let runner = enrolled(store, "runner").await;
    let (one, two) = (made_repo(store, "one").await, made_repo(store, "two").await);
    for repo in [&one, &two] {
        let attachment = attached(store, &runner, repo, Role::Maintenance).await;
        let change = RepoChange { runner: Some(Some(attachment.id)), ..RepoChange::default() };
        assert_eq!(store.change_repo(repo.id, change, audit("repo.changed")).await.unwrap(), Renamed::Done);
    }
    let deleted = store.delete_host(runner.id, audit("host.deleted")).await.unwrap();
    assert_eq!(deleted, Deleted::IsRunner(vec![one.id, two.id]));
    assert!(store.host(runner.id).await.unwrap().is_some());
}

/// A host takes with it what is its own; nothing of others.
pub async fn deleting_a_host_takes_what_is_its_own(store: &Arc<dyn Store>) {
    let web = host("web");
    let agent_token = enrolled_as(store, &web).await;
    let repo = made_repo(store, "repo").await;
    let attachment = attached(store, &web, &repo, Role::Primary).await;
    let other = enrolled(store, "db").await;
    let others = attached(store, &other, &repo, Role::Primary).await;
    for id in [attachment.id, others.id] {
        let put =
            store.put_credential(id, credential(CredentialKind::Admin, 1), audit("credential.put")).await;
        assert_eq!(put.unwrap(), PutCredential::Done);
    }
    let group = made_group(store, &web, "home").await;
    let schedule = made_schedule(store, &web, "nightly", &[&group]).await;
    let kept = made_group(store, &other, "home").await;

    assert_eq!(store.delete_host(web.id, audit("host.deleted")).await.unwrap(), Deleted::Done);
    assert_eq!(store.host(web.id).await.unwrap(), None);
    assert_eq!(store.host_by_agent_token(&agent_token).await.unwrap(), None);
    assert_eq!(store.plan(web.id).await.unwrap(), None);
    assert_eq!(store.group(group.id).await.unwrap(), None);
    assert_eq!(store.schedule(schedule.id).await.unwrap(), None);
    assert_eq!(store.attachment(web.id, repo.id).await.unwrap(), None);
    assert_eq!(store.credential(attachment.id, CredentialKind::Admin).await.unwrap(), None);
    let snapshots = store.snapshots(web.id, &SnapshotFilter::default(), PageRequest::first(5)).await.unwrap();
    assert!(snapshots.items.is_empty());

    assert_eq!(store.group(kept.id).await.unwrap(), Some(kept));
    assert!(store.credential(others.id, CredentialKind::Admin).await.unwrap().is_some());
    assert_eq!(store.attachments_of_repos(&[repo.id]).await.unwrap().len(), 1);
    enrolled(store, "WEB").await;
}

/// A host that is gone says nothing more.
pub async fn a_deleted_host_reports_nothing(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let mut agent = Agent::of(store, &host);
    let job = dispatched(store, JobKind::Backup, &host, &repo).await;
    agent.finishes(job, restic_manager_core::model::FinalState::Succeeded).await;
    let state = state_of(store, job).await;
    assert_eq!(store.delete_host(host.id, audit("host.deleted")).await.unwrap(), Deleted::Done);
    let error = agent.sends(Vec::new()).await.unwrap_err();
    assert!(matches!(error, crate::StoreError::Missing { .. }), "{error:?}");
    assert_eq!(state_of(store, job).await, state);
}

/// Signs of life only go forward, and those of hosts that are gone are no fault.
pub async fn signs_of_life_never_go_back(store: &Arc<dyn Store>) {
    let (web, db) = (enrolled(store, "web").await, enrolled(store, "db").await);
    store.touch_hosts(&[(web.id, at(5)), (mint(HostId::mint), at(5)), (db.id, at(6))]).await.unwrap();
    store.touch_hosts(&[(web.id, at(3)), (db.id, at(9))]).await.unwrap();
    store.touch_hosts(&[]).await.unwrap();
    assert_eq!(host_now(store, &web).await.last_seen_at, Some(at(5)));
    assert_eq!(host_now(store, &db).await.last_seen_at, Some(at(9)));
}

/// Facts replace what was said before, as a whole.
pub async fn facts_replace_what_was_said_before(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    let first =
        HostFacts { os: Some("linux".to_owned()), arch: Some("x86_64".to_owned()), ..HostFacts::default() };
    store.record_facts(host.id, &first).await.unwrap();
    assert_eq!(host_now(store, &host).await.facts, first);
    let second = HostFacts { restic_problem: Some("there is no restic".to_owned()), ..HostFacts::default() };
    store.record_facts(host.id, &second).await.unwrap();
    assert_eq!(host_now(store, &host).await, Host { facts: second, ..host });
    store.record_facts(mint(HostId::mint), &first).await.unwrap();
}
