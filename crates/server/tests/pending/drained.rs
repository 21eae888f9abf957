//! When the attempts of pending runs are made, and when there are no more.

use std::sync::Arc;

use restic_manager_core::api::ScheduleWrite;
use restic_manager_core::model::*;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::{MINUTE, SECOND};
use restic_manager_core::wire::*;

use crate::world::{World, hourly, schedule};

#[tokio::test]
async fn a_send_that_fails_leaves_exactly_one_row_whose_backoff_doubles_until_it_is_abandoned() {
    let mut world = World::new().await;
    world.breaks(true);
    world.fires(world.slot()).await;
    world.house.engine.tick().await.unwrap();
    for (attempt, least) in [(1, MINUTE), (2, 2 * MINUTE)] {
        let [row] = &world.pending().await[..] else { panic!("one row") };
        assert_eq!((row.run.attempt, row.owed.cause), (attempt, PendingCause::DispatchFailed));
        let planned = world.house.engine.drain().await.unwrap();
        assert_eq!((planned.planned, planned.attempted), (1, 0));
        let [row] = &world.pending().await[..] else { panic!("the same row") };
        let wait = row.owed.next_attempt_at.millis_since(row.owed.since);
        assert!((least..=least + least / 4).contains(&wait), "attempt {attempt}: {wait}");
        world.house.clock.advance(wait - 1);
        assert_eq!(world.house.engine.drain().await.unwrap().attempted, 0, "not before its time");
        world.house.clock.advance(1);
        assert_eq!(world.house.engine.drain().await.unwrap().attempted, 1);
        assert!(world.pending().await.is_empty(), "an attempt is under way");
        world.house.engine.tick().await.unwrap();
    }
    let [row] = &world.pending().await[..] else { panic!("one row") };
    assert_eq!(row.run.attempt, 3);
    assert_eq!(world.house.engine.drain().await.unwrap().abandoned, 1);
    let run = world.run(row.run.id).await;
    assert_eq!((run.state, run.why.as_deref()), (RunState::Abandoned, Some("its attempts are used up")));
    assert_eq!(world.house.audited("pending_run.abandoned").await, 1);
    assert!(world.house.store.admission_view().await.unwrap().queued.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_drains_at_once_of_five_rows_make_five_jobs() {
    let mut world = World::new().await;
    let mut groups = vec![world.group];
    for name in ["a", "b", "c", "d"] {
        groups.push(world.house.group(&world.host, name).await);
    }
    world.schedule = schedule(&world.house, &world.host, "all", groups).await;
    world.fires(world.slot()).await;
    world.breaks(true);
    // One at a time goes out, and comes back.
    for _ in 0..5 {
        world.house.engine.tick().await.unwrap();
    }
    assert_eq!(world.pending().await.len(), 5);
    world.breaks(false);
    let (engine, host_id) = (Arc::clone(&world.house.engine), world.host.id);
    let drains = (0..10).map(|_| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move { engine.drain_hosts(&[host_id]).await.unwrap().attempted })
    });
    let mut made = 0;
    for drain in drains.collect::<Vec<_>>() {
        made += drain.await.unwrap();
    }
    assert_eq!(made, 5);
    let queued = world.house.store.admission_view().await.unwrap().queued;
    assert_eq!(queued.len(), 5);
    assert!(queued.iter().all(|queued| queued.job.attempt == 2));
    assert!(world.pending().await.is_empty());
}

#[tokio::test]
async fn what_may_mend_itself_is_tried_again_and_the_rest_is_not() {
    let mut world = World::new().await;
    for class in [OutcomeClass::Locked, OutcomeClass::Unreachable, OutcomeClass::Killed] {
        let job = world.fires_and_starts(world.slot()).await;
        world.fails(job, class).await;
        let [row] = &world.pending().await[..] else { panic!("{class:?}") };
        assert_eq!(row.owed.cause, PendingCause::Retryable);
        assert_eq!(row.last_message.as_deref(), Some("said so"));
        world.house.engine.drain().await.unwrap();
        world.house.clock.advance(75 * SECOND);
        assert_eq!(world.house.engine.drain().await.unwrap().attempted, 1);
        let again = world.starts_next().await;
        world.succeeds(again).await;
        let run = world.run_of(job).await;
        assert_eq!((run.state, run.attempt, run.pending), (RunState::Succeeded, 2, None));
        world.house.clock.advance(60 * MINUTE);
    }
    for class in [OutcomeClass::WrongPassword, OutcomeClass::SourceMissing, OutcomeClass::NoRepository] {
        let job = world.fires_and_starts(world.slot()).await;
        world.fails(job, class).await;
        assert!(world.pending().await.is_empty(), "{class:?}");
        assert_eq!(world.run_of(job).await.state, RunState::Failed, "{class:?}");
        world.house.clock.advance(60 * MINUTE);
    }
}

#[tokio::test]
async fn a_return_releases_what_was_lost_and_keeps_the_time_of_what_failed() {
    let mut world = World::new().await;
    let lost = world.fires_and_starts(world.slot()).await;
    world.returns(|_| {}).await;
    assert_eq!(world.house.state(lost).await, JobState::Lost);
    assert_eq!(world.house.engine.drain_hosts(&[world.host.id]).await.unwrap().attempted, 1, "at once");
    let again = world.starts_next().await;
    world.fails(again, OutcomeClass::Unreachable).await;
    world.returns(|_| {}).await;
    let report = world.house.engine.drain_hosts(&[world.host.id]).await.unwrap();
    assert_eq!((report.attempted, report.planned), (0, 1));
    assert_eq!(world.house.engine.drain_hosts(&[world.host.id]).await.unwrap().attempted, 0);
}

#[tokio::test]
async fn an_absent_host_keeps_its_rows_until_it_is_back() {
    let mut world = World::new().await;
    let job = world.fires_and_starts(world.slot()).await;
    world.fails(job, OutcomeClass::Unreachable).await;
    world.house.leave(&world.host);
    for _ in 0..50 {
        world.house.clock.advance(60 * MINUTE);
        let report = world.house.engine.drain().await.unwrap();
        assert_eq!(report, Default::default(), "nothing is done for a host that is away");
    }
    assert_eq!(world.pending().await.len(), 1);
    world.returns(|_| {}).await;
    assert_eq!(world.house.engine.drain().await.unwrap().attempted, 1, "its time came while it was away");
}

#[tokio::test]
async fn a_schedule_that_is_off_or_gone_gives_its_rows_up_though_the_host_is_away() {
    for gone in [false, true] {
        let mut world = World::new().await;
        let job = world.fires_and_starts(world.slot()).await;
        world.fails(job, OutcomeClass::Locked).await;
        let house = &world.house;
        if gone {
            house.app.delete_schedule(&house.caller, world.host.id, world.schedule).await.unwrap();
        } else {
            let off = ScheduleWrite { enabled: false, ..hourly("nightly", vec![world.group]) };
            let replaced = house.app.replace_schedule(&house.caller, world.host.id, world.schedule, off);
            replaced.await.unwrap();
        }
        house.leave(&world.host);
        assert_eq!(house.engine.drain().await.unwrap().abandoned, 1);
        let run = world.run_of(job).await;
        let why = if gone { "its schedule was deleted" } else { "its schedule is disabled" };
        assert_eq!((run.state, run.why.as_deref()), (RunState::Abandoned, Some(why)));
        assert_eq!(house.audited("pending_run.abandoned").await, 1);
    }
}

#[tokio::test]
async fn a_newer_slot_takes_the_place_of_a_run_that_owes_an_attempt() {
    let mut world = World::new().await;
    let old = world.fires_and_starts(world.slot()).await;
    world.fails(old, OutcomeClass::Unreachable).await;
    world.house.clock.advance(60 * MINUTE);
    world.fires(world.slot()).await;
    assert!(world.pending().await.is_empty());
    let run = world.run_of(old).await;
    assert_eq!((run.state, run.why.as_deref()), (RunState::Missed, Some("superseded by a newer slot")));
    let [queued] = &world.house.store.admission_view().await.unwrap().queued[..] else { panic!("one") };
    assert_eq!(queued.job.slot, Some(world.slot()));
}

#[tokio::test]
async fn slots_that_were_slept_through_are_counted_once_and_shown_on_their_schedule() {
    let mut world = World::new().await;
    let fire = ScheduleFire { schedule_id: world.schedule, slot: world.slot(), missed: 5 };
    for _ in 0..2 {
        // The second is an agent that crashed between its spool and its book.
        world.says(AgentMessage::ScheduleFire(fire.clone())).await;
    }
    let schedule = world.house.store.schedule(world.schedule).await.unwrap().unwrap();
    assert_eq!(schedule.missed, MissedSoFar { count: 5, until: Some(world.slot()) });
    assert_eq!(world.house.audited("schedule.missed").await, 1);
    let renamed = hourly("other", vec![world.group]);
    let house = &world.house;
    house.app.replace_schedule(&house.caller, world.host.id, world.schedule, renamed).await.unwrap();
    world.house.clock.advance(60 * MINUTE);
    let fire = ScheduleFire { schedule_id: world.schedule, slot: world.slot(), missed: 2 };
    world.says(AgentMessage::ScheduleFire(fire)).await;
    let schedule = world.house.store.schedule(world.schedule).await.unwrap().unwrap();
    assert_eq!(schedule.missed, MissedSoFar { count: 7, until: Some(world.slot()) });
}
