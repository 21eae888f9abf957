//! What the ends of jobs say of their repository.

use std::sync::Arc;

use restic_manager_core::api::StatsDay;
use restic_manager_core::model::Job;
use restic_manager_core::model::{
    AppendOnly, CheckStatus, Host, JobIntent, JobKind, JobSummary, PruneResult, Repo, RepoStats, Role,
    SeenLock, StatsKind,
};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::{DAY, Timestamp};

use super::fixture::{
    Agent, actions, admin_of, asked, at, attached, audit, dispatch, enrolled, job, kept_group, lock, ran,
    tied, view,
};
use crate::{Effect, NumberedEffect, Store};

async fn checked(
    store: &Arc<dyn Store>,
    (host, repo): (&Host, &Repo),
    seconds: i64,
    status: CheckStatus,
    subset_pct: u8,
) -> Option<Timestamp> {
    let class = if status == CheckStatus::Ok { OutcomeClass::Ok } else { OutcomeClass::Unknown };
    let check_subset_pct = Some(subset_pct);
    let summary = JobSummary { check: Some(status), check_subset_pct, ..JobSummary::default() };
    ran(store, host, job(JobKind::Check, host, repo), class, at(seconds), summary).await;
    view(store, repo).await.check_errors_since
}

async fn known(store: &Arc<dyn Store>, repo: &Repo) -> RepoStats {
    store.repo_stats(&[repo.id]).await.unwrap().remove(0)
}

/// A check that found errors holds the prune, since the first that did; one that could not look changes nothing.
pub async fn errors_of_a_check_hold_the_prune(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let tie = (&host, &repo);
    assert_eq!(checked(store, tie, 10, CheckStatus::Ok, 0).await, None);
    assert_eq!(checked(store, tie, 20, CheckStatus::Locked, 0).await, None);
    assert_eq!(checked(store, tie, 30, CheckStatus::ErrorsFound, 0).await, Some(at(30)));
    for (seconds, status) in
        [(40, CheckStatus::Locked), (50, CheckStatus::Failed), (60, CheckStatus::ErrorsFound)]
    {
        assert_eq!(checked(store, tie, seconds, status, 100).await, Some(at(30)), "{status:?}");
    }
}

/// A check that passed lifts the hold when it surely covered what any of them found: the structure, or all of the data.
pub async fn a_check_lifts_the_hold_when_it_covered_as_much(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let tie = (&host, &repo);
    checked(store, tie, 10, CheckStatus::ErrorsFound, 0).await;
    assert_eq!(checked(store, tie, 11, CheckStatus::Ok, 0).await, None, "structure for structure");
    checked(store, tie, 20, CheckStatus::ErrorsFound, 40).await;
    for subset_pct in [0, 40, 99] {
        let hold = checked(store, tie, 21, CheckStatus::Ok, subset_pct).await;
        assert_eq!(hold, Some(at(20)), "another sample may miss the damage");
    }
    checked(store, tie, 22, CheckStatus::ErrorsFound, 0).await;
    assert_eq!(checked(store, tie, 23, CheckStatus::Ok, 0).await, Some(at(20)), "the larger counts");
    assert_eq!(checked(store, tie, 24, CheckStatus::Ok, 100).await, None);
}

/// An operator lifts the hold, which is written down; where there is none, nothing is.
pub async fn an_operator_lifts_the_hold(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    checked(store, (&host, &repo), 10, CheckStatus::ErrorsFound, 0).await;
    assert!(store.lift_check_hold(repo.id, at(20), audit("hold.lifted")).await.unwrap());
    assert_eq!(view(store, &repo).await.check_errors_since, None);
    assert!(!store.lift_check_hold(repo.id, at(21), audit("hold.lifted.twice")).await.unwrap());
    let actions = actions(store).await;
    assert_eq!(actions.last().map(String::as_str), Some("hold.lifted"));
}

/// What a check found is known of its repository, with when and in how much.
pub async fn what_a_check_found_is_known(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    for (seconds, status) in
        [(10, CheckStatus::ErrorsFound), (20, CheckStatus::Locked), (30, CheckStatus::Ok)]
    {
        checked(store, (&host, &repo), seconds, status, 7).await;
        let known = known(store, &repo).await;
        assert_eq!((known.last_check, known.last_check_at), (Some(status), Some(at(seconds))));
        assert_eq!(known.last_check_subset_pct, Some(7));
        assert_eq!(view(store, &repo).await.stats, known);
    }
}

/// A prune that succeeded says when, and what it left; one that failed says nothing.
pub async fn a_prune_says_what_it_left(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let tie = store.attachment(host.id, repo.id).await.unwrap().unwrap().attachment;
    admin_of(store, &tie).await;
    let left = |remaining| JobSummary {
        prune: Some(PruneResult { removed_bytes: Some(1), remaining_bytes: remaining }),
        ..JobSummary::default()
    };
    let prune = || job(JobKind::Prune, &host, &repo);
    ran(store, &host, prune(), OutcomeClass::Unreachable, at(10), left(Some(9))).await;
    assert_eq!(known(store, &repo).await, RepoStats::default());
    ran(store, &host, prune(), OutcomeClass::Ok, at(20), left(Some(500))).await;
    let first = known(store, &repo).await;
    assert_eq!((first.total_size_bytes, first.size_kind), (Some(500), Some(StatsKind::AfterPrune)));
    assert_eq!((first.measured_at, first.last_prune_at), (Some(at(20)), Some(at(20))));
    ran(store, &host, prune(), OutcomeClass::Ok, at(30), left(None)).await;
    let second = known(store, &repo).await;
    assert_eq!((second.total_size_bytes, second.measured_at), (Some(500), Some(at(20))));
    assert_eq!(second.last_prune_at, Some(at(30)));
}

fn with_locks(locks: &[SeenLock], removed: Option<u64>) -> JobSummary {
    JobSummary { locks: locks.to_vec(), locks_removed: removed, ..JobSummary::default() }
}

/// The locks in a job's way are known; after a job that ran alone, or that removed them, there are none.
pub async fn locks_in_the_way_are_known(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let (one, two) = (lock("one"), lock("two"));
    let seen = || async {
        let known = known(store, &repo).await;
        (known.locks.map(|locks| locks.len()), known.locks_seen_at)
    };
    let met = [one.clone(), two];
    let run = |kind, class, seconds, summary| {
        ran(store, &host, job(kind, &host, &repo), class, at(seconds), summary)
    };
    run(JobKind::Check, OutcomeClass::Locked, 10, with_locks(&met, None)).await;
    assert_eq!(seen().await, (Some(2), Some(at(10))));
    assert_eq!(known(store, &repo).await.locks.unwrap(), met);
    run(JobKind::Backup, OutcomeClass::Ok, 20, with_locks(&[], None)).await;
    assert_eq!(seen().await, (Some(2), Some(at(10))), "a job that shares says nothing of other locks");
    run(JobKind::Check, OutcomeClass::Ok, 30, with_locks(&[], None)).await;
    assert_eq!(seen().await, (Some(0), Some(at(30))));
    run(JobKind::Unlock, OutcomeClass::Ok, 40, with_locks(std::slice::from_ref(&one), Some(0))).await;
    assert_eq!(seen().await, (Some(1), Some(at(40))));
    run(JobKind::Unlock, OutcomeClass::Ok, 50, with_locks(&met, Some(1))).await;
    assert_eq!(seen().await, (Some(1), Some(at(40))), "which of them is left, nobody said");
    run(JobKind::Unlock, OutcomeClass::Ok, 60, with_locks(&met, Some(2))).await;
    assert_eq!(seen().await, (Some(0), Some(at(60))));
}

/// A preview holds no lock, and says nothing of those that are there.
pub async fn a_preview_says_nothing_of_locks(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let group = kept_group(store, &host, "home").await;
    let check = job(JobKind::Check, &host, &repo);
    ran(store, &host, check, OutcomeClass::Locked, at(10), with_locks(&[lock("one")], None)).await;
    let intent = JobIntent { preview_group: Some(group.id), ..JobIntent::default() };
    let preview = Job { intent, ..job(JobKind::Forget, &host, &repo) };
    ran(store, &host, preview, OutcomeClass::Ok, at(20), JobSummary::default()).await;
    assert_eq!(known(store, &repo).await.locks, Some(vec![lock("one")]));
}

/// A repository that refused to delete is append-only for the host that tried, and for no other.
pub async fn a_refused_delete_is_noted(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let other = enrolled(store, "db").await;
    attached(store, &other, &repo, Role::Copy).await;
    kept_group(store, &host, "home").await;
    let forget = job(JobKind::Forget, &host, &repo);
    ran(store, &host, forget, OutcomeClass::AppendOnly, at(10), JobSummary::default()).await;
    let noted = |host: &Host| {
        let id = host.id;
        async move { store.attachment(id, repo.id).await.unwrap().unwrap().attachment.append_only }
    };
    assert_eq!((noted(&host).await, noted(&other).await), (AppendOnly::Yes, AppendOnly::Unknown));
}

/// The end of a job that is told twice says what it says once.
pub async fn a_repeated_end_says_nothing_new(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = asked(store, job(JobKind::Check, &host, &repo)).await;
    dispatch(store, id).await;
    let mut agent = Agent::of(store, &host);
    let damaged = |seconds| Effect::Finished {
        adopt: None,
        job_id: id,
        at: at(seconds),
        state: restic_manager_core::model::FinalState::Failed,
        class: OutcomeClass::Unknown,
        exit_code: Some(1),
        message: "damage".to_owned(),
        hint: None,
        summary: Box::new(JobSummary { check: Some(CheckStatus::ErrorsFound), ..JobSummary::default() }),
    };
    agent.says(damaged(10)).await;
    store.lift_check_hold(repo.id, at(20), audit("hold.lifted")).await.unwrap();
    assert!(matches!(agent.says(damaged(30)).await, crate::Applied::Ignored(_)));
    assert_eq!(view(store, &repo).await.check_errors_since, None);
    assert_eq!(known(store, &repo).await.last_check_at, Some(at(10)));
}

/// Each day keeps what was known at its end, by the server's clock; news without a size or a count write no day.
pub async fn each_day_keeps_what_was_known_at_its_end(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let agent = Agent::of(store, &host);
    let mut seq = 0;
    let mut says = async |now: Timestamp, stats: RepoStats| {
        seq += 1;
        let effect = Effect::Stats { repo_id: repo.id, restic_id: None, stats };
        let effects = vec![NumberedEffect { seq, effect }];
        store.apply(host.id, agent.spool_id, effects, now).await.unwrap();
    };
    let size = |bytes| RepoStats { total_size_bytes: Some(bytes), ..RepoStats::default() };
    let midnight = Timestamp::from_millis(at(0).as_millis() / DAY * DAY);
    says(midnight, size(1)).await;
    says(midnight + (DAY - 1), size(2)).await;
    says(midnight + 2 * DAY, RepoStats { snapshot_count: Some(7), ..RepoStats::default() }).await;
    says(midnight + 3 * DAY, RepoStats { last_prune_at: Some(at(5)), ..RepoStats::default() }).await;
    let day = |days, snapshot_count| StatsDay {
        day: midnight + days * DAY,
        total_size_bytes: Some(2),
        snapshot_count,
    };
    let history = |since| store.stats_history(repo.id, since);
    assert_eq!(history(midnight).await.unwrap(), [day(0, None), day(2, Some(7))]);
    assert_eq!(history(midnight + (DAY - 1)).await.unwrap().len(), 2, "the day of the instant counts");
    assert_eq!(history(midnight + DAY).await.unwrap(), [day(2, Some(7))]);
}
