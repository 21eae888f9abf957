//! What agents report of jobs and repositories.

use std::sync::Arc;

use restic_manager_core::id::{JobId, RepoId};
use restic_manager_core::model::{
    CheckStatus, FinalState, Job, JobEvent, JobKind, JobState, RepoStats, StatsKind, transition,
};
use restic_manager_core::restic::OutcomeClass;

use super::fixture::{
    Agent, actions, at, at_once, audit, dispatched, enrolled, finished, hello, host, host_now, job_in_state,
    job_now, line, lock, made_repo, mint, restic_id, revisions, session, state_of, summary, tied,
};
use crate::{Applied, Effect, NumberedEffect, Store, StoreError};

fn numbered(seq: u64, effect: Effect) -> NumberedEffect {
    NumberedEffect { seq, effect }
}

fn ignored_by_name(applied: &Applied, id: JobId) {
    assert!(matches!(applied, Applied::Ignored(why) if why.contains(&id.to_string())), "{applied:?}");
}

/// A batch is applied in its order, each effect on what the one before left.
pub async fn a_batch_is_applied_in_order(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = dispatched(store, JobKind::Check, &host, &repo).await;
    let agent = Agent::of(store, &host);
    let batch = vec![
        numbered(1, Effect::Started { job_id: id, at: at(30), adopt: None }),
        numbered(2, Effect::Log { job_id: id, lines: vec![line(0, "hello")] }),
        numbered(3, finished(id, FinalState::Succeeded)),
        numbered(4, Effect::Started { job_id: id, at: at(50), adopt: None }),
    ];
    let applied = agent.sends(batch).await.unwrap();
    assert_eq!(applied[..3], [Applied::Done, Applied::Done, Applied::Done]);
    ignored_by_name(&applied[3], id);
    let over = job_now(store, id).await;
    assert_eq!(
        (over.state, over.started_at, over.finished_at),
        (JobState::Succeeded, Some(at(30)), Some(at(40)))
    );
}

/// A number that was applied before changes nothing, also beside new ones in one batch and twice within one.
pub async fn repeats_are_harmless_also_beside_new_ones(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = dispatched(store, JobKind::Check, &host, &repo).await;
    let agent = Agent::of(store, &host);
    let set_aside = || Effect::SetAside { audit: audit("message.set_aside") };
    let start = || Effect::Started { job_id: id, at: at(30), adopt: None };
    let first = agent.sends(vec![numbered(1, set_aside()), numbered(2, start())]).await.unwrap();
    assert_eq!(first, [Applied::Done, Applied::Done]);
    let batch = vec![
        numbered(1, set_aside()),
        numbered(2, start()),
        numbered(3, set_aside()),
        numbered(3, set_aside()),
        numbered(4, finished(id, FinalState::Failed)),
    ];
    let second = agent.sends(batch.clone()).await.unwrap();
    assert_eq!(second, [Applied::Repeat, Applied::Repeat, Applied::Done, Applied::Repeat, Applied::Done]);
    assert_eq!(agent.sends(batch).await.unwrap(), [const { Applied::Repeat }; 5]);
    assert_eq!(actions(store).await.iter().filter(|action| *action == "message.set_aside").count(), 2);
    assert_eq!(state_of(store, id).await, JobState::Failed);
}

/// An effect that is ignored uses its number up.
pub async fn an_ignored_effect_uses_its_number_up(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = dispatched(store, JobKind::Check, &host, &repo).await;
    let mut agent = Agent::of(store, &host);
    let unknown = mint(JobId::mint);
    ignored_by_name(&agent.says(Effect::Started { job_id: unknown, at: at(30), adopt: None }).await, unknown);
    let same_number = vec![numbered(agent.seq, Effect::Started { job_id: id, at: at(30), adopt: None })];
    assert_eq!(agent.sends(same_number).await.unwrap(), [Applied::Repeat]);
    assert_eq!(state_of(store, id).await, JobState::Dispatched);
    assert_eq!(session(store, hello(&host, agent.spool_id, &[id])).await.committed_seq, agent.seq);
}

/// Numbers count for one spool of one host; another life of the spool begins anew.
pub async fn numbers_count_for_one_spool_of_one_host(store: &Arc<dyn Store>) {
    let (web, db) = (enrolled(store, "web").await, enrolled(store, "db").await);
    let mut first = Agent::of(store, &web);
    let mut second_life = Agent::of(store, &web);
    let mut other_host = Agent::of(store, &db);
    other_host.spool_id = first.spool_id;
    for agent in [&mut first, &mut second_life, &mut other_host] {
        assert_eq!(agent.says(Effect::SetAside { audit: audit("message.set_aside") }).await, Applied::Done);
    }
    assert_eq!(actions(store).await.iter().filter(|action| *action == "message.set_aside").count(), 3);
}

/// One number is applied once, however many connections bring it at once.
pub async fn a_number_is_applied_once_however_many_bring_it(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    let spool_id = Agent::of(store, &host).spool_id;
    let try_one = |store: Arc<dyn Store>, _| {
        let mut agent = Agent::of(&store, &host);
        agent.spool_id = spool_id;
        async move { agent.says(Effect::SetAside { audit: audit("message.set_aside") }).await }
    };
    let answers = at_once(8, try_one, store).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Applied::Done).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == Applied::Repeat).count(), 7, "{answers:?}");
    assert_eq!(actions(store).await.iter().filter(|action| *action == "message.set_aside").count(), 1);
}

/// A host that is not there reports nothing.
pub async fn a_report_needs_its_host(store: &Arc<dyn Store>) {
    let nobody = Agent::of(store, &host("never enrolled"));
    let effect = Effect::SetAside { audit: audit("message.set_aside") };
    let error = nobody.sends(vec![numbered(1, effect)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error:?}");
    assert!(actions(store).await.is_empty());
}

/// Nothing a host says changes another host's job; the answer names the job.
pub async fn a_host_reports_of_its_own_jobs_only(store: &Arc<dyn Store>) {
    let (web, repo) = tied(store, "web").await;
    let (db, _) = tied(store, "db").await;
    let id = dispatched(store, JobKind::Check, &web, &repo).await;
    let before = job_now(store, id).await;
    let mut intruder = Agent::of(store, &db);
    let refused = Effect::Refused {
        job_id: id,
        event: JobEvent::Requeue,
        class: None,
        message: "busy".to_owned(),
        hint: None,
        at: at(30),
    };
    let effects = [
        Effect::Started { job_id: id, at: at(30), adopt: None },
        refused,
        Effect::Log { job_id: id, lines: vec![line(0, "planted")] },
        Effect::LogGap { job_id: id, from: 0, to: 9 },
        finished(id, FinalState::Succeeded),
    ];
    for effect in effects {
        ignored_by_name(&intruder.says(effect).await, id);
    }
    assert_eq!(job_now(store, id).await, before);
    let mut owner = Agent::of(store, &web);
    assert_eq!(owner.says(Effect::Log { job_id: id, lines: vec![line(0, "own")] }).await, Applied::Done);
    assert_eq!(store.log(id, 0, 10).await.unwrap().lines, [line(0, "own")]);
}

/// The end of a job is stored whole.
pub async fn the_end_of_a_job_is_stored_whole(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = dispatched(store, JobKind::Check, &host, &repo).await;
    let mut agent = Agent::of(store, &host);
    agent.starts(id).await;
    let running = job_now(store, id).await;
    assert_eq!((running.state, running.started_at), (JobState::Running, Some(at(30))));
    let before = revisions(store, &host, &repo).await;
    agent.finishes(id, FinalState::Warning).await;
    let expected = Job {
        state: JobState::Warning,
        finished_at: Some(at(40)),
        class: Some(OutcomeClass::Partial),
        exit_code: Some(0),
        message: Some("the backup is done".to_owned()),
        hint: Some("nothing to do".to_owned()),
        summary: Some(summary()),
        ..running
    };
    assert_eq!(job_now(store, id).await, expected);
    let after = revisions(store, &host, &repo).await;
    assert!(after.0 > before.0 && after.1 > before.1, "what waited for it is looked at again");
}

/// A job may end that was never reported to have started.
pub async fn a_job_may_end_without_having_started(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = dispatched(store, JobKind::Check, &host, &repo).await;
    Agent::of(store, &host).finishes(id, FinalState::Failed).await;
    let over = job_now(store, id).await;
    assert_eq!((over.state, over.started_at, over.finished_at), (JobState::Failed, None, Some(at(40))));
}

/// What an agent says moves a job as the table allows; what comes too late is ignored, by name, and changes nothing.
pub async fn reports_follow_the_table(store: &Arc<dyn Store>) {
    let events = [
        JobEvent::Start,
        JobEvent::Finish(FinalState::Succeeded),
        JobEvent::Finish(FinalState::Cancelled),
        JobEvent::Requeue,
        JobEvent::Supersede,
        JobEvent::Withdraw,
    ];
    for event in events {
        for state in JobState::ALL {
            let (host, repo) = tied(store, &format!("{event:?} {state:?}")).await;
            let id = job_in_state(store, &host, &repo, state).await;
            let (before, revisions_before) = (job_now(store, id).await, revisions(store, &host, &repo).await);
            let applied = Agent::of(store, &host).says(effect_of(event, id)).await;
            let after = job_now(store, id).await;
            match transition(state, event) {
                Ok(to) => {
                    assert_eq!(applied, Applied::Done, "{event:?} from {state:?}");
                    assert_eq!(after.state, to);
                }
                Err(_) => {
                    ignored_by_name(&applied, id);
                    assert_eq!(after, before, "{event:?} from {state:?}");
                    assert_eq!(revisions(store, &host, &repo).await, revisions_before);
                }
            }
        }
    }
}

fn effect_of(event: JobEvent, job_id: JobId) -> Effect {
    match event {
        JobEvent::Start => Effect::Started { job_id, at: at(30), adopt: None },
        JobEvent::Finish(state) => finished(job_id, state),
        JobEvent::Dispatch
        | JobEvent::Requeue
        | JobEvent::Supersede
        | JobEvent::Withdraw
        | JobEvent::CancelQueued
        | JobEvent::Lose => Effect::Refused {
            job_id,
            event,
            class: None,
            message: "the agent says so".to_owned(),
            hint: None,
            at: at(35),
        },
    }
}

/// A refusal tells its class, its reason and its remedy; one that lets the job wait again leaves no trace on it.
pub async fn a_refusal_says_why(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = dispatched(store, JobKind::Check, &host, &repo).await;
    let mut agent = Agent::of(store, &host);
    let refused = |event, class| Effect::Refused {
        job_id: id,
        event,
        class,
        message: "there is no credential".to_owned(),
        hint: Some("set it".to_owned()),
        at: at(35),
    };
    assert_eq!(agent.says(refused(JobEvent::Requeue, None)).await, Applied::Done);
    let waiting = job_now(store, id).await;
    assert_eq!((waiting.state, waiting.dispatched_at), (JobState::Queued, None));
    assert_eq!((waiting.finished_at, waiting.message, waiting.hint, waiting.class), (None, None, None, None));
    super::fixture::dispatch(store, id).await;
    let failed = refused(JobEvent::Finish(FinalState::Failed), Some(OutcomeClass::WrongPassword));
    assert_eq!(agent.says(failed).await, Applied::Done);
    let over = job_now(store, id).await;
    assert_eq!((over.state, over.finished_at), (JobState::Failed, Some(at(35))));
    assert_eq!(over.class, Some(OutcomeClass::WrongPassword));
    assert_eq!(over.message.as_deref(), Some("there is no credential"));
    assert_eq!((over.hint.as_deref(), over.exit_code, over.summary), (Some("set it"), None, None));
}

/// A message that was set aside is written down as it is given.
pub async fn a_message_set_aside_is_written_down(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    let entry = audit("message.set_aside");
    let applied = Agent::of(store, &host).says(Effect::SetAside { audit: entry.clone() }).await;
    assert_eq!(applied, Applied::Done);
    super::audit::is_written(store, &entry).await;
}

/// The plan an agent works by is known, and an older acknowledgement never hides a newer one.
pub async fn an_acknowledged_plan_only_goes_forward(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    let mut agent = Agent::of(store, &host);
    for (said, known) in [(2, 2), (5, 5), (3, 5)] {
        agent.says(Effect::PlanAcked { schedule_version: said }).await;
        assert_eq!(host_now(store, &host).await.schedule_version_acked, known);
    }
}

fn stats(repo_id: RepoId, stats: RepoStats) -> Effect {
    Effect::Stats { repo_id, restic_id: None, stats }
}

/// A partial picture never blanks what is known; only what the size of before would have been uncompressed goes with that size.
pub async fn a_partial_picture_never_blanks_what_is_known(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let mut agent = Agent::of(store, &host);
    let whole = RepoStats {
        total_size_bytes: Some(100),
        size_kind: Some(StatsKind::ReferencedData),
        uncompressed_bytes: Some(300),
        snapshot_count: Some(4),
        measured_at: Some(at(30)),
        last_check: Some(CheckStatus::Ok),
        last_check_at: Some(at(20)),
        last_check_subset_pct: Some(5),
        last_prune_at: Some(at(10)),
        locks: Some(vec![lock("one")]),
        locks_seen_at: Some(at(25)),
    };
    let known = || async { store.repo_stats(&[repo.id]).await.unwrap().remove(0) };
    assert_eq!(agent.says(stats(repo.id, whole.clone())).await, Applied::Done);
    assert_eq!(known().await, whole);
    assert_eq!(agent.says(stats(repo.id, RepoStats::default())).await, Applied::Done);
    assert_eq!(known().await, whole);
    let part = RepoStats {
        total_size_bytes: Some(80),
        size_kind: Some(StatsKind::AfterPrune),
        measured_at: Some(at(60)),
        ..RepoStats::default()
    };
    agent.says(stats(repo.id, part.clone())).await;
    let merged = RepoStats {
        total_size_bytes: part.total_size_bytes,
        size_kind: part.size_kind,
        measured_at: part.measured_at,
        uncompressed_bytes: None,
        ..whole
    };
    assert_eq!(known().await, merged);
    agent.says(stats(repo.id, RepoStats { snapshot_count: Some(0), ..RepoStats::default() })).await;
    assert_eq!(known().await, RepoStats { snapshot_count: Some(0), ..merged });
}

/// A check, a prune or a sighting of locks that is older than the known one changes nothing.
pub async fn an_older_finding_never_hides_a_newer_one(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let mut agent = Agent::of(store, &host);
    let found = |seconds, status, locks| RepoStats {
        last_check: Some(status),
        last_check_at: Some(at(seconds)),
        last_check_subset_pct: Some(100),
        last_prune_at: Some(at(seconds)),
        locks: Some(locks),
        locks_seen_at: Some(at(seconds)),
        ..RepoStats::default()
    };
    let known = || async { store.repo_stats(&[repo.id]).await.unwrap().remove(0) };
    let newer = found(50, CheckStatus::ErrorsFound, vec![lock("one"), lock("two")]);
    agent.says(stats(repo.id, newer.clone())).await;
    assert_eq!(agent.says(stats(repo.id, found(49, CheckStatus::Ok, Vec::new()))).await, Applied::Done);
    assert_eq!(known().await, newer);
    let newest = found(51, CheckStatus::Ok, Vec::new());
    agent.says(stats(repo.id, newest.clone())).await;
    assert_eq!(known().await, newest);
}

/// A host says nothing of a repository it is not attached to.
pub async fn a_host_reports_of_its_own_repos_only(store: &Arc<dyn Store>) {
    let (host, _) = tied(store, "web").await;
    let foreign = made_repo(store, "foreign").await;
    let mut agent = Agent::of(store, &host);
    for repo_id in [foreign.id, mint(RepoId::mint)] {
        let planted = Effect::Stats {
            repo_id,
            restic_id: Some(restic_id('e')),
            stats: RepoStats { total_size_bytes: Some(1), ..RepoStats::default() },
        };
        assert!(matches!(agent.says(planted).await, Applied::Ignored(_)));
        let listed = Effect::Snapshots { repo_id, listed_at: at(30), total: 0, snapshots: Vec::new() };
        assert!(matches!(agent.says(listed).await, Applied::Ignored(_)));
    }
    assert_eq!(store.repo_stats(&[foreign.id]).await.unwrap(), [RepoStats::default()]);
    assert_eq!(store.repo(foreign.id).await.unwrap().unwrap().restic_id, None);
}

/// The first contact teaches restic's own id; one that does not fit is left alone, and the sizes are taken all the same.
pub async fn an_id_that_does_not_fit_is_left_alone(store: &Arc<dyn Store>) {
    let (host, one) = tied(store, "web").await;
    let (other, two) = tied(store, "db").await;
    let said = |repo_id, digit, bytes| Effect::Stats {
        repo_id,
        restic_id: Some(restic_id(digit)),
        stats: RepoStats { total_size_bytes: Some(bytes), ..RepoStats::default() },
    };
    let (mut web, mut db) = (Agent::of(store, &host), Agent::of(store, &other));
    assert_eq!(web.says(said(one.id, 'a', 1)).await, Applied::Done);
    assert_eq!(web.says(said(one.id, 'b', 2)).await, Applied::Done);
    assert_eq!(db.says(said(two.id, 'a', 3)).await, Applied::Done);
    assert_eq!(store.repo(one.id).await.unwrap().unwrap().restic_id, Some(restic_id('a')));
    assert_eq!(store.repo(two.id).await.unwrap().unwrap().restic_id, None);
    let sizes = store.repo_stats(&[one.id, two.id]).await.unwrap();
    assert_eq!(sizes.iter().map(|size| size.total_size_bytes).collect::<Vec<_>>(), [Some(2), Some(3)]);
}

/// Many hosts report at once, each its own, and nothing is lost between them.
pub async fn many_hosts_report_at_once(store: &Arc<dyn Store>) {
    let mut hosts = Vec::new();
    for n in 0..8 {
        let (host, repo) = tied(store, &format!("host {n}")).await;
        hosts.push((host.clone(), dispatched(store, JobKind::Check, &host, &repo).await));
    }
    let report = |store: Arc<dyn Store>, n: usize| {
        let (host, id) = hosts[n].clone();
        async move {
            let mut agent = Agent::of(&store, &host);
            agent.starts(id).await;
            for n in 0..20 {
                agent.says(Effect::Log { job_id: id, lines: vec![line(n, "line")] }).await;
            }
            agent.finishes(id, FinalState::Succeeded).await;
        }
    };
    at_once(8, report, store).await;
    for (_, id) in &hosts {
        assert_eq!(state_of(store, *id).await, JobState::Succeeded);
        assert_eq!(store.log(*id, 0, 100).await.unwrap().lines.len(), 20);
    }
}
