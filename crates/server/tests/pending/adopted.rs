//! What agents did by themselves while no server took care of their slots.

use restic_manager_core::model::*;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::wire::*;

use crate::house::finished;
use crate::world::World;

fn own_start(world: &World, claim: SlotClaim) -> AgentMessage {
    AgentMessage::JobStarted(JobStarted { job_id: claim.job_id, at: world.now(), run: Some(claim) })
}

fn own_end(claim: SlotClaim, state: FinalState) -> AgentMessage {
    let AgentMessage::JobFinished(mut end) = finished(claim.job_id, state) else { unreachable!() };
    end.run = Some(claim);
    AgentMessage::JobFinished(end)
}

#[tokio::test]
async fn a_hello_claims_a_slot_before_anything_is_dispatched_for_it() {
    let mut world = World::new().await;
    let slot = world.slot();
    world.fires(slot).await;
    let [queued] = &world.house.store.admission_view().await.unwrap().queued[..] else { panic!("one") };
    let (servers, agents) = (queued.job.id, world.minted());
    let claim = world.claim(agents, slot, 1);
    let running = RunningJob { job_id: agents, started_at: world.now() };
    for _ in 0..2 {
        let (claim, running) = (claim.clone(), running.clone());
        world.returns(|hello| (hello.claims, hello.running_jobs) = (vec![claim], vec![running])).await;
    }
    world.house.engine.tick().await.unwrap();
    assert!(world.house.take_commands().is_empty(), "the slot is taken");
    assert_eq!(world.house.state(servers).await, JobState::Superseded);
    assert_eq!(world.house.state(agents).await, JobState::Running);
    let run = world.run_of(agents).await;
    assert_eq!((run.key, run.state, run.attempt), (claim.run, RunState::Open, 1));
    assert_eq!(world.run_of(servers).await.id, run.id, "one run for one slot");
    let job = world.house.store.job(agents).await.unwrap().unwrap();
    assert_eq!((job.job.actor.kind, job.job.actor.name.as_str()), (ActorKind::Schedule, "nightly"));
    assert!(world.says(own_start(&world, claim.clone())).await.is_empty(), "its story is no surprise");
    assert!(world.says(own_end(claim, FinalState::Succeeded)).await.is_empty());
    assert_eq!(world.run_of(agents).await.state, RunState::Succeeded);
}

#[tokio::test]
async fn a_story_that_comes_without_a_claim_in_hello_brings_its_own() {
    let mut world = World::new().await;
    let slot = world.slot();
    let claim = world.claim(world.minted(), slot, 2);
    let line = LogLine { n: 0, at: world.now(), stream: LogStream::Stdout, text: "alone".into() };
    assert!(world.says(own_start(&world, claim.clone())).await.is_empty());
    let log = LogBatch { job_id: claim.job_id, lines: vec![line] };
    assert!(world.says(AgentMessage::LogStream(log)).await.is_empty());
    assert!(world.says(own_end(claim.clone(), FinalState::Warning)).await.is_empty());
    let run = world.run_of(claim.job_id).await;
    assert_eq!((run.state, run.attempt), (RunState::Warning, 2));
    assert_eq!(world.house.app.job_log(claim.job_id, 0, 10).await.unwrap().lines.len(), 1);
    // The fire comes behind it, as it was spooled: the slot has its run.
    world.fires(slot).await;
    assert!(world.house.store.admission_view().await.unwrap().queued.is_empty());
}

#[tokio::test]
async fn an_end_alone_is_enough_to_adopt_a_job() {
    let mut world = World::new().await;
    let claim = world.claim(world.minted(), world.slot(), 1);
    assert!(world.says(own_end(claim.clone(), FinalState::Succeeded)).await.is_empty());
    assert_eq!(world.run_of(claim.job_id).await.state, RunState::Succeeded);
}

#[tokio::test]
async fn an_attempt_that_failed_alone_is_continued_by_the_server() {
    let mut world = World::new().await;
    let claim = world.claim(world.minted(), world.slot(), 1);
    let AgentMessage::JobFinished(mut end) = own_end(claim.clone(), FinalState::Failed) else {
        unreachable!()
    };
    end.class = OutcomeClass::Unreachable;
    world.says(AgentMessage::JobFinished(end)).await;
    let [row] = &world.pending().await[..] else { panic!("it owes an attempt") };
    assert_eq!((row.run.key, row.run.attempt), (claim.run, 1));
    assert_eq!(world.house.engine.drain_run(row.run.id).await.unwrap().attempted, 1);
    let second = world.starts_next().await;
    let job = world.house.store.job(second).await.unwrap().unwrap().job;
    assert_eq!((job.attempt, job.slot), (2, Some(claim.run.slot)));
}

#[tokio::test]
async fn a_refusal_for_a_job_nobody_knows_leaves_the_run_owing_an_attempt() {
    let mut world = World::new().await;
    world.fires(world.slot()).await;
    world.house.engine.tick().await.unwrap();
    let sent = world.house.take_commands().pop().unwrap().job_id;
    let reason = RefusedReason::SupersededBy { job_id: world.minted() };
    world.says(AgentMessage::JobRefused(JobRefused { job_id: sent, reason })).await;
    assert_eq!(world.house.state(sent).await, JobState::Superseded);
    let [row] = &world.pending().await[..] else { panic!("the run is stuck") };
    assert_eq!(row.owed.cause, PendingCause::Lost);
}

#[tokio::test]
async fn a_slot_that_ran_twice_all_the_same_is_kept_twice_and_audited() {
    let mut world = World::new().await;
    let slot = world.slot();
    let first = world.fires_and_starts(slot).await;
    world.succeeds(first).await;
    let claim = world.claim(world.minted(), slot, 1);
    world.says(own_start(&world, claim.clone())).await;
    world.says(own_end(claim.clone(), FinalState::Succeeded)).await;
    assert_eq!(world.house.state(first).await, JobState::Succeeded);
    assert_eq!(world.house.state(claim.job_id).await, JobState::Succeeded);
    assert_eq!(world.run_of(claim.job_id).await.state, RunState::Succeeded);
    assert_eq!(world.house.audited("slot.ran_twice").await, 1);
}

#[tokio::test]
async fn a_claim_on_another_hosts_schedule_is_worth_nothing() {
    let mut world = World::new().await;
    let intruder = world.house.host("intruder").await;
    let spool = restic_manager_core::id::SpoolId::mint(world.now(), [7; 10]);
    let claim = world.claim(world.minted(), world.slot(), 1);
    let mut hello = world.house.hello(&intruder, spool);
    hello.claims = vec![claim.clone()];
    world.house.connect(&intruder, &hello).await;
    assert!(world.house.store.job(claim.job_id).await.unwrap().is_none());
    let own = world.fires_and_starts(world.slot()).await;
    world.succeeds(own).await;
    assert_eq!(world.run_of(own).await.state, RunState::Succeeded);
}
