//! What operators see of pending runs and can do about them, and jobs that say nothing.

use restic_manager_core::api::Attention;
use restic_manager_core::id::RunId;
use restic_manager_core::model::*;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::MINUTE;
use restic_manager_core::wire::*;
use restic_manager_server::app::ListQuery;

use crate::world::World;

async fn owing(world: &mut World) -> RunId {
    let job = world.fires_and_starts(world.slot()).await;
    world.fails(job, OutcomeClass::Unreachable).await;
    world.house.engine.drain().await.unwrap();
    world.pending().await[0].run.id
}

#[tokio::test]
async fn a_pending_run_says_why_it_owes_an_attempt_and_what_that_waits_for() {
    let mut world = World::new().await;
    let id = owing(&mut world).await;
    let house = &world.house;
    let view = house.app.pending_run(id).await.unwrap();
    assert_eq!((view.host_name.as_str(), view.repo_name.as_str()), ("web1", "vault"));
    assert_eq!((view.group_name.as_str(), view.schedule_name.as_str()), ("Home", "nightly"));
    assert_eq!((view.retry_max, view.run.attempt), (Some(3), 1));
    assert!(matches!(view.hold, Some(Hold::WaitingRetry { .. })), "{:?}", view.hold);
    assert!(view.sentence.contains("may mend itself; it is due at 20"), "{}", view.sentence);
    house.leave(&world.host);
    let away = house.app.pending_runs(Some(world.host.id), None, &ListQuery::default()).await.unwrap();
    assert_eq!(away.items[0].hold, Some(Hold::HostOffline));
    assert_eq!(house.app.status().await.unwrap().runs_pending, 1);
    assert_eq!(
        house.app.pending_run(RunId::mint(world.now(), [1; 10])).await.unwrap_err().code(),
        "not_found"
    );
}

#[tokio::test]
async fn an_operator_drops_a_run_or_has_its_attempt_made_at_once() {
    let mut world = World::new().await;
    let id = owing(&mut world).await;
    let house = &world.house;
    house.leave(&world.host);
    let refused = house.app.run_pending(&house.caller, id).await.unwrap_err();
    assert_eq!(refused.code(), "host_offline", "and the row stays");
    world.returns(|_| {}).await;
    let house = &world.house;
    let accepted = house.app.run_pending(&house.caller, id).await.unwrap();
    assert_eq!(house.state(accepted.job_id).await, JobState::Queued);
    assert_eq!(house.app.run_pending(&house.caller, id).await.unwrap_err().code(), "run_not_pending");
    let again = world.starts_next().await;
    assert_eq!(again, accepted.job_id);
    world.fails(again, OutcomeClass::Locked).await;
    let house = &world.house;
    house.app.drop_pending(&house.caller, id).await.unwrap();
    let run = world.run(id).await;
    assert_eq!((run.state, run.why.as_deref()), (RunState::Abandoned, Some("dropped by ada")));
    assert_eq!(house.audited("pending_run.dropped").await, 1);
    assert_eq!(house.audited("pending_run.asked").await, 1);
    assert_eq!(house.app.drop_pending(&house.caller, id).await.unwrap_err().code(), "run_not_pending");
}

#[tokio::test]
async fn a_job_that_says_nothing_for_long_is_named_and_goes_on() {
    let mut world = World::new().await;
    let job = world.fires_and_starts(world.slot()).await;
    world.house.clock.advance(29 * MINUTE);
    assert!(quiet(&world).await.is_empty());
    let line = LogLine { n: 0, at: world.now(), stream: LogStream::Stdout, text: "still here".into() };
    world.says(AgentMessage::LogStream(LogBatch { job_id: job, lines: vec![line] })).await;
    world.house.clock.advance(29 * MINUTE);
    assert!(quiet(&world).await.is_empty(), "it said something");
    world.house.clock.advance(MINUTE);
    let named = quiet(&world).await;
    assert_eq!(named.len(), 1);
    assert!(named[0].message.contains("web1") && named[0].message.contains("30 min"), "{}", named[0].message);
    assert_eq!(world.house.state(job).await, JobState::Running, "nothing is ended for that");
    world.house.leave(&world.host);
    assert!(quiet(&world).await.is_empty(), "out of contact is another matter");
}

async fn quiet(world: &World) -> Vec<Attention> {
    let attention = world.house.app.status().await.unwrap().attention;
    attention.into_iter().filter(|thing| thing.code == "job_quiet").collect()
}
