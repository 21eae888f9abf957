//! The agent against a server that is a socket of the test, with jobs that are the test's.

mod own;
mod server;
mod told;
mod world;

use restic_manager_core::id::JobId;
use restic_manager_core::model::{FinalState, UnlockScope};
use restic_manager_core::wire::{
    AgentMessage, CheckSpec, CommandCancel, CommandRun, Frame, JobFinished, JobSpec, RefusedReason,
    ServerMessage, UnlockSpec,
};

use super::*;
use server::{Peer, Server};
use world::{
    World, admin, backup, command, command_on, credential, job, log, plan_firing_at_new_year, progress,
    run_key, started,
};

async fn started_job(world: &mut World, peer: &mut Peer, n: u8) -> world::Begun {
    peer.say(ServerMessage::CommandRun(Box::new(command(n, peer.epoch)))).await;
    world.begun().await
}

fn refusal(message: AgentMessage) -> (JobId, RefusedReason) {
    match message {
        AgentMessage::JobRefused(refused) => (refused.job_id, refused.reason),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn ending(message: AgentMessage) -> JobFinished {
    match message {
        AgentMessage::JobFinished(finished) => *finished,
        other => panic!("expected an end, got {other:?}"),
    }
}

#[tokio::test]
async fn hello_comes_first_with_the_token_and_what_the_agent_knows() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let peer = server.accept().await;
    assert_eq!(peer.authorization, "Bearer rma_secret");
    assert_eq!(peer.hello.protocol, PROTOCOL);
    assert_eq!(peer.hello.versions.restic.as_deref(), Some("0.18.0"));
    assert_eq!((peer.hello.last_seq, peer.hello.schedule_version), (0, 0));
    assert!(peer.hello.running_jobs.is_empty() && peer.hello.claims.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a_job_is_told_in_order_and_said_again_after_a_reconnect_until_it_is_acknowledged() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(credential(1)).await;
    let in_a_slot = CommandRun { run: Some(run_key()), ..command(1, peer.epoch) };
    peer.say(ServerMessage::CommandRun(Box::new(in_a_slot))).await;
    let begun = world.begun().await;
    assert_eq!(begun.job.credential.secret.password.expose(), "repo-pw");
    begun.say(started(1)).await;
    begun.say(log(1, 0)).await;
    let (first, message) = peer.reliable().await;
    assert_eq!(message, started(1));
    let (second, message) = peer.reliable().await;
    assert_eq!((second, message), (first + 1, log(1, 0)));
    drop(peer);

    begun.say(log(1, 1)).await;
    begun.finish(FinalState::Succeeded).await;
    let mut peer = server.accept().await;
    assert_eq!((peer.hello.first_seq, peer.hello.claims.len()), (1, 1));
    // The server had committed the first message only.
    peer.welcome(first).await;
    let told = [peer.reliable().await, peer.reliable().await, peer.reliable().await];
    assert_eq!(told[0], (second, log(1, 0)));
    assert_eq!(told[1].1, log(1, 1));
    assert_eq!(ending(told[2].1.clone()).state, FinalState::Succeeded);
    assert_eq!(peer.reconnect_hello(&server).await.spooled_jobs, [job(1)], "not acknowledged yet");

    let mut peer = server.accept().await;
    peer.welcome(told[2].0).await;
    let hello = peer.reconnect_hello(&server).await;
    assert_eq!((hello.first_seq, hello.last_seq), (told[2].0 + 1, told[2].0));
    assert!(hello.spooled_jobs.is_empty() && hello.claims.is_empty() && hello.running_jobs.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn progress_is_shown_and_not_kept() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(credential(1)).await;
    let begun = started_job(&mut world, &mut peer, 1).await;
    begun.say(progress(1)).await;
    let frame = peer.next().await;
    assert_eq!((frame.seq, frame.message), (None, progress(1)));
    world.stop().await;
}

#[tokio::test]
async fn one_job_at_a_time_and_a_repeat_is_no_second_one() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(credential(1)).await;
    let begun = started_job(&mut world, &mut peer, 1).await;
    begun.say(started(1)).await;
    assert_eq!(peer.reliable().await.1, started(1));

    peer.say(ServerMessage::CommandRun(Box::new(command(2, peer.epoch)))).await;
    assert_eq!(refusal(peer.reliable().await.1), (job(2), RefusedReason::Busy { job_id: job(1) }));
    peer.say(ServerMessage::CommandRun(Box::new(command(1, peer.epoch)))).await;
    let (_, again) = peer.reliable().await;
    assert!(matches!(again, AgentMessage::JobStarted(started) if started.job_id == job(1)));
    // A command of another session is none.
    peer.say(ServerMessage::CommandRun(Box::new(command(3, peer.epoch - 1)))).await;

    begun.finish(FinalState::Failed).await;
    let told = ending(peer.reliable().await.1);
    peer.say(ServerMessage::CommandRun(Box::new(command(1, peer.epoch)))).await;
    assert_eq!(ending(peer.reliable().await.1), told, "its end is repeated");
    assert!(world.nothing_begun());
    world.stop().await;
}

#[tokio::test]
async fn a_slot_that_was_done_is_not_done_again() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(credential(1)).await;
    let with_run = |n, attempt, epoch| {
        let run = Some(run_key());
        ServerMessage::CommandRun(Box::new(CommandRun { run, attempt, ..command(n, epoch) }))
    };
    for (n, state) in [(1, FinalState::Failed), (2, FinalState::Succeeded)] {
        peer.say(with_run(n, u32::from(n), peer.epoch)).await;
        let begun = world.begun().await;
        begun.say(started(n)).await;
        begun.finish(state).await;
        assert_eq!(peer.reliable().await.1, started(n));
        assert_eq!(ending(peer.reliable().await.1).state, state);
    }
    peer.say(with_run(3, 3, peer.epoch)).await;
    assert_eq!(refusal(peer.reliable().await.1), (job(3), RefusedReason::SupersededBy { job_id: job(2) }));
    world.stop().await;
}

#[tokio::test]
async fn a_job_without_its_credential_or_of_an_unknown_kind_is_refused() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(ServerMessage::CommandRun(Box::new(command(1, peer.epoch)))).await;
    assert_eq!(refusal(peer.reliable().await.1), (job(1), RefusedReason::NoCredential));
    peer.say(credential(1)).await;
    let admin = CommandRun { requires_admin_creds: true, ..command(2, peer.epoch) };
    peer.say(ServerMessage::CommandRun(Box::new(admin))).await;
    assert_eq!(refusal(peer.reliable().await.1), (job(2), RefusedReason::NoAdminCredential));
    let unknown = Frame::lossy(ServerMessage::CommandRun(Box::new(command(3, peer.epoch)))).to_text();
    peer.say_text(unknown.replace(r#""kind":"stats""#, r#""kind":"levitate""#)).await;
    assert_eq!(refusal(peer.reliable().await.1), (job(3), RefusedReason::UnknownKind));
    world.stop().await;
}

#[tokio::test]
async fn a_cancel_reaches_the_job() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(credential(1)).await;
    let begun = started_job(&mut world, &mut peer, 1).await;
    peer.say(ServerMessage::CommandCancel(CommandCancel { job_id: job(2) })).await;
    peer.say(ServerMessage::CommandCancel(CommandCancel { job_id: job(1) })).await;
    world::soon(begun.cancel.cancelled()).await;
    begun.finish(FinalState::Cancelled).await;
    assert_eq!(ending(peer.reliable().await.1).state, FinalState::Cancelled);
    world.stop().await;
}

#[tokio::test]
async fn a_job_whose_task_ends_without_a_word_is_a_failure() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(credential(1)).await;
    let begun = started_job(&mut world, &mut peer, 1).await;
    begun.say(started(1)).await;
    drop(begun);
    assert_eq!(peer.reliable().await.1, started(1));
    assert_eq!(ending(peer.reliable().await.1).state, FinalState::Failed);
    world.stop().await;
}

#[tokio::test]
async fn a_plan_is_stored_and_acknowledged_and_a_slot_fires_once_through_restarts() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    let (plan, newest, missed) = plan_firing_at_new_year(7);
    peer.say(ServerMessage::ScheduleSet(Box::new(plan))).await;
    let (_, ack) = peer.reliable().await;
    assert!(matches!(ack, AgentMessage::ScheduleAck(ack) if ack.schedule_version == 7));
    let (seq, fire) = peer.reliable().await;
    let AgentMessage::ScheduleFire(fire) = fire else { panic!("{fire:?}") };
    assert_eq!((fire.slot, fire.missed), (newest, missed));
    world.stop().await;

    world.start();
    let mut peer = server.accept().await;
    assert_eq!((peer.hello.schedule_version, peer.hello.last_seq), (7, seq));
    peer.welcome(seq).await;
    // Whatever it had to say would come before the answer to this.
    peer.say(ServerMessage::CommandRun(Box::new(command(1, peer.epoch)))).await;
    refusal(peer.reliable().await.1);
    world.stop().await;
}

#[tokio::test]
async fn a_job_runs_on_while_the_agent_is_away_and_is_taken_over() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(credential(1)).await;
    let begun = started_job(&mut world, &mut peer, 1).await;
    begun.write_down();
    begun.say(started(1)).await;
    begun.say(log(1, 0)).await;
    begun.say(log(1, 1)).await;
    let told = [peer.reliable().await, peer.reliable().await, peer.reliable().await];
    world.stop().await;
    assert!(!begun.cancel.is_cancelled());

    world.start();
    let begun = world.begun().await;
    assert_eq!(begun.stored_lines, Some(Some(2)));
    let mut peer = server.accept().await;
    let running: Vec<JobId> = peer.hello.running_jobs.iter().map(|running| running.job_id).collect();
    assert_eq!(running, [job(1)]);
    peer.welcome(told[2].0).await;
    peer.say(ServerMessage::CommandRun(Box::new(command(2, peer.epoch)))).await;
    assert_eq!(refusal(peer.reliable().await.1), (job(2), RefusedReason::Busy { job_id: job(1) }));
    begun.finish(FinalState::Succeeded).await;
    assert_eq!(ending(peer.reliable().await.1).state, FinalState::Succeeded);
    world.stop().await;
}

#[tokio::test]
async fn a_job_that_left_no_trace_is_neither_running_nor_told() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(credential(1)).await;
    let run = |n, attempt, epoch| {
        let run = Some(run_key());
        ServerMessage::CommandRun(Box::new(CommandRun { run, attempt, ..command(n, epoch) }))
    };
    peer.say(run(1, 1, peer.epoch)).await;
    let _begun = world.begun().await;
    world.stop().await;

    world.start();
    let mut peer = server.accept().await;
    assert!(peer.hello.running_jobs.is_empty() && peer.hello.spooled_jobs.is_empty());
    assert!(peer.hello.claims.is_empty());
    peer.welcome(0).await;
    peer.say(run(2, 2, peer.epoch)).await;
    assert_eq!(world.begun().await.job.command.job_id, job(2), "a higher attempt of a lost claim is taken");
    world.stop().await;
}

#[tokio::test]
async fn an_agent_that_shall_end_its_job_cancels_it_and_waits() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.on_stop = OnStop::EndJob;
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(credential(1)).await;
    let begun = started_job(&mut world, &mut peer, 1).await;
    world.ask_to_stop();
    world::soon(begun.cancel.cancelled()).await;
    begun.finish(FinalState::Cancelled).await;
    assert_eq!(ending(peer.reliable().await.1).state, FinalState::Cancelled);
    world.stopped().await;
}

async fn begun(world: &mut World, peer: &mut Peer, command: CommandRun) -> world::Begun {
    peer.say(ServerMessage::CommandRun(Box::new(command))).await;
    world.begun().await
}

#[tokio::test]
async fn maintenance_runs_beside_a_backup_and_all_are_told_cancelled_and_taken_over() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    // A credential for each of four repositories.
    for n in 1..=4 {
        let ServerMessage::ConfigUpdate(mut update) = credential(1) else { unreachable!() };
        update.repo_id = command_on(1, n, JobSpec::Prune, 0).repo_id;
        peer.say(ServerMessage::ConfigUpdate(update)).await;
    }
    let epoch = peer.epoch;
    let unlock = JobSpec::Unlock(UnlockSpec { scope: UnlockScope::Stale });
    let mut jobs = Vec::new();
    for (n, repo, spec) in [
        (1, 1, backup()),
        (2, 2, JobSpec::Prune),
        (3, 3, JobSpec::Check(CheckSpec { subset_pct: 0 })),
        (4, 2, unlock),
    ] {
        let job = begun(&mut world, &mut peer, command_on(n, repo, spec, epoch)).await;
        job.write_down();
        job.say(started(n)).await;
        assert_eq!(peer.reliable().await.1, started(n));
        jobs.push(job);
    }
    for (n, repo, spec, other) in [(5, 4, backup(), 1), (6, 4, JobSpec::Prune, 2), (7, 3, JobSpec::Stats, 3)]
    {
        peer.say(ServerMessage::CommandRun(Box::new(command_on(n, repo, spec, epoch)))).await;
        assert_eq!(refusal(peer.reliable().await.1), (job(n), RefusedReason::Busy { job_id: job(other) }));
    }

    peer.say(ServerMessage::CommandCancel(CommandCancel { job_id: job(3) })).await;
    world::soon(jobs[2].cancel.cancelled()).await;
    assert!(
        [0, 1, 3].iter().all(|at: &usize| !jobs[*at].cancel.is_cancelled()),
        "only the one that was named"
    );
    jobs.remove(2).finish(FinalState::Cancelled).await;
    assert_eq!(ending(peer.reliable().await.1).job_id, job(3));
    let third = begun(&mut world, &mut peer, command_on(8, 4, JobSpec::Prune, epoch)).await;
    third.write_down();
    let (last, _) = {
        third.say(started(8)).await;
        peer.reliable().await
    };

    world.stop().await;
    world.start();
    let mut again = Vec::new();
    for _ in 0..4 {
        again.push(world.begun().await);
    }
    let mut peer = server.accept().await;
    let running: Vec<JobId> = peer.hello.running_jobs.iter().map(|running| running.job_id).collect();
    assert_eq!(running, [job(1), job(2), job(4), job(8)]);
    peer.welcome(last).await;
    for job in again {
        job.finish(FinalState::Succeeded).await;
    }
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(ending(peer.reliable().await.1).job_id);
    }
    told.sort_unstable();
    assert_eq!(told, [job(1), job(2), job(4), job(8)]);
    world.stop().await;
}

#[tokio::test]
async fn all_jobs_are_ended_when_the_agent_shall_end_them() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.on_stop = OnStop::EndJob;
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(credential(1)).await;
    let epoch = peer.epoch;
    let first = begun(&mut world, &mut peer, command_on(1, 1, backup(), epoch)).await;
    let second = begun(&mut world, &mut peer, command_on(2, 1, JobSpec::Prune, epoch)).await;
    world.ask_to_stop();
    for job in [&first, &second] {
        world::soon(job.cancel.cancelled()).await;
    }
    first.finish(FinalState::Cancelled).await;
    assert_eq!(ending(peer.reliable().await.1).job_id, job(1));
    second.finish(FinalState::Cancelled).await;
    assert_eq!(ending(peer.reliable().await.1).job_id, job(2));
    world.stopped().await;
}

#[tokio::test]
async fn the_admin_credential_serves_one_job_and_is_gone_with_it_with_the_session_and_when_revoked() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(credential(1)).await;
    let prune = |n, epoch| {
        let command = command_on(n, 1, JobSpec::Prune, epoch);
        ServerMessage::CommandRun(Box::new(CommandRun { requires_admin_creds: true, ..command }))
    };
    let missing = |n| (job(n), RefusedReason::NoAdminCredential);
    peer.say(prune(1, peer.epoch)).await;
    assert_eq!(refusal(peer.reliable().await.1), missing(1));

    peer.say(admin(1, Some("admin-pw"))).await;
    peer.say(prune(2, peer.epoch)).await;
    let begun = world.begun().await;
    assert_eq!(begun.job.credential.secret.password.expose(), "admin-pw");
    begun.finish(FinalState::Succeeded).await;
    ending(peer.reliable().await.1);
    // The task of a job ends right behind its last word.
    world.status_when(|status| status.jobs.is_empty()).await;
    peer.say(prune(3, peer.epoch)).await;
    assert_eq!(refusal(peer.reliable().await.1), missing(3), "gone with its job");

    peer.say(admin(1, Some("admin-pw"))).await;
    peer.say(admin(2, None)).await;
    peer.say(prune(4, peer.epoch)).await;
    assert_eq!(refusal(peer.reliable().await.1), missing(4), "revoked");

    peer.say(admin(3, Some("admin-pw"))).await;
    // Whatever comes before the answer to this was taken in.
    peer.say(ServerMessage::CommandCancel(CommandCancel { job_id: job(2) })).await;
    let (last, _) = peer.reliable().await;
    drop(peer);
    let mut peer = server.accept().await;
    peer.welcome(last).await;
    peer.say(prune(5, peer.epoch)).await;
    assert_eq!(refusal(peer.reliable().await.1), missing(5), "gone with the session");
    world.stop().await;
}

#[tokio::test]
async fn a_refused_token_is_tried_again_in_an_hour_and_the_agent_stays() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    server.refuse_with_401().await;
    let status = world.status_when(|status| status.last_error.is_some()).await;
    let error = status.last_error.unwrap();
    assert!(error.is_refusal());
    let error = error.message;
    assert!(error.contains("refuses this agent's token (HTTP 401)"), "{error}");
    assert!(error.contains("enrol it again"), "{error}");
    assert!(!server.has_caller(), "it does not come back at once");
    world.stop().await;
}

#[tokio::test]
async fn a_spool_that_is_an_older_copy_begins_a_new_life() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    let spool_id = peer.hello.spool_id;
    peer.welcome(1_000).await;
    let mut peer = server.accept().await;
    assert_ne!(peer.hello.spool_id, spool_id);
    peer.welcome(0).await;
    peer.say(ServerMessage::CommandRun(Box::new(command(1, peer.epoch)))).await;
    refusal(peer.reliable().await.1);
    world.stop().await;
}

#[tokio::test]
async fn what_the_agent_does_stands_in_its_status() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(credential(1)).await;
    let _begun = started_job(&mut world, &mut peer, 1).await;
    let status =
        world.status_when(|status| !status.jobs.is_empty() && status.connected_since.is_some()).await;
    assert_eq!((status.epoch, status.jobs[0].job_id), (Some(peer.epoch), job(1)));
    world.stop().await;
    assert_eq!(world.status_when(|_| true).await.connected_since, None);
}
