//! Backups without the server: when they begin, what the server hears of them, and what ends them.

use restic_manager_core::model::Role;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::schedule::Cadence;
use restic_manager_core::slots::Claimant;
use restic_manager_core::text::ResticHost;
use restic_manager_core::time::DAY;
use restic_manager_core::wire::{
    Ack, AutoUnlock, BackupSpec, PlanGroup, PlanRepo, ScheduleFire, ScheduleSet, SlotClaim, WireError,
};

use super::world::{Begun, NOW, repo, revocation};
use super::*;
use crate::spool::DEFAULT_LIMIT;

const SHORT: Duration = Duration::from_millis(300);

/// A plan whose slot of this year came long ago: it fires as soon as it is there, and never again while a test runs.
fn plan() -> ScheduleSet {
    let (mut plan, _, _) = plan_firing_at_new_year(1);
    let JobSpec::Backup(backup) = backup() else { unreachable!() };
    let backup = BackupSpec { includes: vec!["/data".parse().unwrap()], ..backup };
    let group_id = run_key().group_id;
    plan.groups = vec![PlanGroup { group_id, backup, retry_max: 3, retry_backoff_seconds: 60 }];
    plan.repos =
        vec![PlanRepo { repo_id: repo(), role: Role::Primary, restic_host: ResticHost::new("h").unwrap() }];
    plan.limit_upload_kib = Some(77);
    plan.schedules[0].group_ids = vec![group_id];
    plan.schedules[0].repo_ids = vec![repo()];
    plan
}

fn slot() -> Timestamp {
    plan_firing_at_new_year(1).1
}

fn claim(job_id: JobId, attempt: u32) -> SlotClaim {
    SlotClaim { run: restic_manager_core::model::RunKey { slot: slot(), ..run_key() }, attempt, job_id }
}

/// Hands the plan out and takes the fire in; answers the number of the fire, which nobody acknowledged.
async fn prepared(peer: &mut Peer, plan: ScheduleSet) -> u64 {
    peer.welcome(0).await;
    peer.say(credential(1)).await;
    peer.say(ServerMessage::ScheduleSet(Box::new(plan))).await;
    assert!(matches!(peer.reliable().await.1, AgentMessage::ScheduleAck(_)));
    let (seq, fire) = peer.reliable().await;
    assert!(matches!(fire, AgentMessage::ScheduleFire(fire) if fire.slot == slot()));
    seq
}

async fn acknowledge(peer: &mut Peer, seq: u64) {
    peer.say(ServerMessage::Ack(Ack { seq, rejected: vec![] })).await;
}

/// A server that took the fire and went away; the agent is alone from then on.
async fn alone(server: &Server, world: &mut World, plan: ScheduleSet) -> u64 {
    world.start();
    let mut peer = server.accept().await;
    let seq = prepared(&mut peer, plan).await;
    acknowledge(&mut peer, seq).await;
    world.status_when(|status| status.spooled_messages == 0).await;
    seq
}

fn started_with(message: AgentMessage) -> Option<SlotClaim> {
    match message {
        AgentMessage::JobStarted(started) => started.run,
        other => panic!("expected a start, got {other:?}"),
    }
}

#[tokio::test]
async fn a_slot_is_done_alone_after_the_grace_and_the_server_hears_the_whole_story_on_its_return() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.offline_grace = SHORT;
    let seq = alone(&server, &mut world, plan()).await;
    let begun = world.begun().await;
    let command = &begun.job.command;
    assert_eq!(command.run, Some(claim(begun.id(), 1).run));
    assert_eq!((command.attempt, command.epoch, command.requires_admin_creds), (1, 0, false));
    assert_eq!((command.restic_host.as_str(), command.limit_upload_kib), ("h", Some(77)));
    assert_eq!(command.auto_unlock, AutoUnlock::Off);
    assert_eq!(command.spec, JobSpec::Backup(plan().groups.remove(0).backup));
    assert_eq!(begun.job.credential.secret.password.expose(), "repo-pw");
    let id = begun.id();
    begun.started().await;
    begun.say(log(1, 0)).await;
    begun.finish(FinalState::Succeeded).await;
    world.status_when(|status| status.jobs.is_empty()).await;

    let mut peer = server.accept().await;
    assert_eq!(peer.hello.claims, [claim(id, 1)]);
    assert_eq!(peer.hello.spooled_jobs, [id]);
    peer.welcome(seq).await;
    assert_eq!(started_with(peer.reliable().await.1), Some(claim(id, 1)));
    assert_eq!(peer.reliable().await.1, log(1, 0));
    let (last, end) = peer.reliable().await;
    let end = ending(end);
    assert_eq!((end.job_id, end.state, end.run), (id, FinalState::Succeeded, Some(claim(id, 1))));
    acknowledge(&mut peer, last).await;
    world.status_when(|status| status.spooled_messages == 0).await;
    assert!(peer.reconnect_hello(&server).await.claims.is_empty());
    assert!(world.nothing_begun(), "it is done once");
    world.stop().await;
}

#[tokio::test]
async fn a_server_that_sends_the_same_slot_meanwhile_is_told_who_has_it() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.offline_grace = SHORT;
    let seq = alone(&server, &mut world, plan()).await;
    let begun = world.begun().await;
    begun.started().await;

    let mut peer = server.accept().await;
    let running: Vec<JobId> = peer.hello.running_jobs.iter().map(|running| running.job_id).collect();
    assert_eq!((running, &peer.hello.claims[..]), (vec![begun.id()], &[claim(begun.id(), 1)][..]));
    peer.welcome(seq).await;
    assert_eq!(started_with(peer.reliable().await.1), Some(claim(begun.id(), 1)));
    let same = |n, attempt, epoch| {
        let run = Some(claim(job(n), attempt).run);
        ServerMessage::CommandRun(Box::new(CommandRun { run, attempt, ..command(n, epoch) }))
    };
    for (n, attempt) in [(1, 1), (2, 2)] {
        peer.say(same(n, attempt, peer.epoch)).await;
        let superseded = RefusedReason::SupersededBy { job_id: begun.id() };
        assert_eq!(refusal(peer.reliable().await.1), (job(n), superseded));
    }
    // The server that sees the own job as its own asks for its state again.
    let id = begun.id();
    let repeat = CommandRun { job_id: id, run: Some(claim(id, 1).run), ..command(1, peer.epoch) };
    peer.say(ServerMessage::CommandRun(Box::new(repeat))).await;
    assert_eq!(started_with(peer.reliable().await.1), Some(claim(id, 1)));
    begun.finish(FinalState::Succeeded).await;
    assert_eq!(ending(peer.reliable().await.1).run, Some(claim(id, 1)));
    peer.say(same(3, 2, peer.epoch)).await;
    assert_eq!(refusal(peer.reliable().await.1), (job(3), RefusedReason::SupersededBy { job_id: id }));
    assert!(world.nothing_begun());
    world.stop().await;
}

#[tokio::test]
async fn a_fire_that_is_not_acknowledged_is_done_alone_though_the_session_stands() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.offline_grace = SHORT;
    world.start();
    let mut peer = server.accept().await;
    prepared(&mut peer, plan()).await;
    let begun = world.begun().await;
    begun.started().await;
    assert_eq!(started_with(peer.reliable().await.1), Some(claim(begun.id(), 1)));
    world.stop().await;
}

#[tokio::test]
async fn a_fire_that_was_acknowledged_is_the_servers_while_its_session_stands() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    let seq = prepared(&mut peer, plan()).await;
    world.status_when(|status| status.next_own_look.is_some()).await;
    acknowledge(&mut peer, seq).await;
    let status = world.status_when(|status| status.next_own_look.is_none()).await;
    assert_eq!((status.alone_since, status.waiting_runs), (None, vec![]));
    drop(peer);
    let status = world.status_when(|status| status.next_own_look.is_some()).await;
    assert!(status.alone_since.is_some() && status.last_contact.is_some());
    world.stop().await;
}

#[tokio::test]
async fn a_fire_that_an_earlier_agent_spooled_counts_as_not_acknowledged() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    prepared(&mut peer, plan()).await;
    world.stop().await;
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    let stands = |status: &Status| status.connected_since.is_some() && status.next_own_look.is_some();
    world.status_when(stands).await;
    world.stop().await;
}

#[tokio::test]
async fn nothing_begins_between_hello_and_welcome() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    // Longer than the agent takes to connect again.
    world.offline_grace = Duration::from_secs(2);
    world.start();
    let mut peer = server.accept().await;
    let seq = prepared(&mut peer, plan()).await;
    drop(peer);
    let mut peer = server.accept().await;
    let status = world.status_when(|status| !status.waiting_runs.is_empty()).await;
    assert_eq!((status.waiting_runs[0].run, status.waiting_runs[0].attempt), (claim(job(1), 1).run, 1));
    assert!(world.nothing_begun() && peer.hello.claims.is_empty());
    peer.welcome(seq).await;
    // The server has the fire, and the session stands: it is the server's.
    world.status_when(|status| status.waiting_runs.is_empty()).await;
    assert!(world.nothing_begun());
    world.stop().await;
}

#[tokio::test]
async fn what_fails_in_a_way_that_may_mend_itself_is_tried_again_alone_until_its_attempts_are_used_up() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.offline_grace = SHORT;
    let seq = alone(&server, &mut world, plan()).await;
    let mut jobs = Vec::new();
    for attempt in 1..=3 {
        let begun = world.begun().await;
        assert_eq!(begun.job.command.attempt, attempt);
        jobs.push(begun.id());
        begun.started().await;
        // It ended long ago, so that the next one is due.
        begun.fail(OutcomeClass::Unreachable, NOW).await;
    }
    let over = |status: &Status| status.jobs.is_empty() && status.next_own_look.is_none();
    world.status_when(over).await;
    assert!(world.nothing_begun());

    let mut peer = server.accept().await;
    peer.welcome(seq).await;
    for (n, id) in (1..).zip(jobs) {
        assert_eq!(started_with(peer.reliable().await.1), Some(claim(id, n)));
        assert_eq!(ending(peer.reliable().await.1).run, Some(claim(id, n)));
    }
    world.stop().await;
}

#[tokio::test]
async fn a_further_attempt_waits_for_its_time_and_is_the_servers_when_that_is_back() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.offline_grace = SHORT;
    let seq = alone(&server, &mut world, plan()).await;
    let begun = world.begun().await;
    let (id, ended) = (begun.id(), clock::wall());
    begun.started().await;
    begun.fail(OutcomeClass::Locked, ended).await;
    let status = world.status_when(|status| status.jobs.is_empty() && status.next_own_look.is_some()).await;
    // 60 s of the group, and up to a quarter of it.
    let wait = status.next_own_look.unwrap().millis_since(ended);
    assert!((59_000..=80_000).contains(&wait), "{wait}");
    let mut peer = server.accept().await;
    peer.welcome(seq + 2).await;
    world.status_when(|status| status.connected_since.is_some() && status.next_own_look.is_none()).await;
    // Its attempts go on where the agent's ended.
    let same = CommandRun { run: Some(claim(id, 1).run), attempt: 2, ..command(9, peer.epoch) };
    peer.say(ServerMessage::CommandRun(Box::new(same))).await;
    assert_eq!(world.begun().await.id(), job(9));
    world.stop().await;
}

#[tokio::test]
async fn of_two_repositories_the_second_waits_for_the_first() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.offline_grace = SHORT;
    let other = command_on(1, 2, JobSpec::Prune, 0).repo_id;
    let mut two = plan();
    two.repos.push(PlanRepo { repo_id: other, ..two.repos[0].clone() });
    two.schedules[0].repo_ids.push(other);
    world.start();
    let mut peer = server.accept().await;
    let ServerMessage::ConfigUpdate(mut second) = credential(1) else { unreachable!() };
    second.repo_id = other;
    peer.welcome(0).await;
    peer.say(ServerMessage::ConfigUpdate(second)).await;
    prepared(&mut peer, two).await;
    let begun = world.begun().await;
    assert_eq!(begun.job.command.repo_id, repo());
    let status = world.status_when(|status| !status.waiting_runs.is_empty()).await;
    assert_eq!(status.waiting_runs[0].run.repo_id, other);
    assert!(world.nothing_begun());
    begun.started().await;
    begun.finish(FinalState::Succeeded).await;
    assert_eq!(world.begun().await.job.command.repo_id, other);
    world.stop().await;
}

#[tokio::test]
async fn without_its_credential_a_backup_waits_and_says_so_once() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.offline_grace = SHORT;
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(ServerMessage::ScheduleSet(Box::new(plan()))).await;
    let status = world.status_when(|status| !status.waiting_runs.is_empty()).await;
    let said = status.last_error.unwrap();
    assert!(
        said.message.contains(&format!("the credential of repository {} is not here", repo())),
        "{said:?}"
    );
    assert!(world.nothing_begun());
    peer.say(revocation(1)).await;
    peer.say(credential(2)).await;
    assert_eq!(world.begun().await.job.command.attempt, 1);
    world.stop().await;
    assert_eq!(world.status_when(|_| true).await.last_error, Some(said), "it was not said again");
}

async fn restarted(world: &mut World) {
    world.stop().await;
    world.start();
}

#[tokio::test]
async fn an_own_job_that_an_earlier_agent_only_claimed_is_told_as_killed_and_tried_again() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.offline_grace = SHORT;
    let mut plan = plan();
    plan.groups[0].retry_backoff_seconds = 1;
    let seq = alone(&server, &mut world, plan).await;
    let claimed = world.begun().await;
    restarted(&mut world).await;
    let first = claimed.id();
    let second = world.begun().await;
    assert_eq!((second.job.command.attempt, second.stored_lines), (2, None));
    let mut peer = server.accept().await;
    assert_eq!(peer.hello.claims, [claim(first, 1), claim(second.id(), 2)]);
    assert_eq!(peer.hello.spooled_jobs, [first]);
    peer.welcome(seq).await;
    let end = ending(peer.reliable().await.1);
    assert_eq!((end.job_id, end.state, end.class), (first, FinalState::Failed, OutcomeClass::Killed));
    assert_eq!(end.run, Some(claim(first, 1)));
    world.stop().await;
}

#[tokio::test]
async fn an_own_job_that_runs_is_taken_over_and_stays_an_own_one() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.offline_grace = SHORT;
    let seq = alone(&server, &mut world, plan()).await;
    let begun = world.begun().await;
    begun.write_down();
    begun.started().await;
    begun.say(log(1, 0)).await;
    let id = begun.id();
    world.status_when(|status| status.spooled_messages == 2).await;
    restarted(&mut world).await;
    let again = world.begun().await;
    assert_eq!((again.id(), again.stored_lines), (id, Some(Some(0))));
    again.finish(FinalState::Succeeded).await;
    let mut peer = server.accept().await;
    peer.welcome(seq).await;
    assert_eq!(started_with(peer.reliable().await.1), Some(claim(id, 1)));
    assert_eq!(peer.reliable().await.1, log(1, 0));
    assert_eq!(ending(peer.reliable().await.1).run, Some(claim(id, 1)));
    assert!(world.nothing_begun());
    world.stop().await;
}

#[tokio::test]
async fn an_own_job_that_ended_is_told_by_the_next_agent_and_not_done_again() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.offline_grace = SHORT;
    let seq = alone(&server, &mut world, plan()).await;
    let begun = world.begun().await;
    let id = begun.id();
    begun.started().await;
    begun.finish(FinalState::Warning).await;
    world.status_when(|status| status.jobs.is_empty() && status.spooled_messages == 2).await;
    restarted(&mut world).await;
    let mut peer = server.accept().await;
    assert_eq!((&peer.hello.claims[..], &peer.hello.spooled_jobs[..]), (&[claim(id, 1)][..], &[id][..]));
    peer.welcome(seq).await;
    assert_eq!(started_with(peer.reliable().await.1), Some(claim(id, 1)));
    let end = ending(peer.reliable().await.1);
    assert_eq!((end.state, end.run), (FinalState::Warning, Some(claim(id, 1))));
    assert!(world.nothing_begun());
    world.stop().await;
}

#[tokio::test]
async fn an_own_job_is_known_as_one_where_the_ledger_was_lost() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.offline_grace = SHORT;
    alone(&server, &mut world, plan()).await;
    let begun = world.begun().await;
    begun.write_down();
    begun.started().await;
    world.status_when(|status| status.spooled_messages == 1).await;
    world.stop().await;
    std::fs::remove_file(world.state_dir().join("plan/ledger.log")).unwrap();
    let mut agent = world.open();
    agent.take_over();
    let entry = agent.ledger.book().job(begun.id()).cloned().unwrap();
    assert_eq!((entry.by, entry.attempt), (Claimant::Agent, 1));
}

#[tokio::test]
async fn a_job_whose_folder_is_damaged_is_set_aside_and_told_as_killed() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.offline_grace = SHORT;
    alone(&server, &mut world, plan()).await;
    let begun = world.begun().await;
    begun.write_down();
    begun.started().await;
    world.status_when(|status| status.spooled_messages == 1).await;
    world.stop().await;
    let folder = world.state_dir().join("jobs").join(begun.id().to_string());
    std::fs::write(folder.join("job.json"), "{\"command\":").unwrap();
    world.start();
    let mut peer = server.accept().await;
    assert_eq!(peer.hello.spooled_jobs, [begun.id()]);
    peer.welcome(peer.hello.last_seq - 1).await;
    let end = ending(peer.reliable().await.1);
    assert_eq!((end.class, end.run), (OutcomeClass::Killed, Some(claim(begun.id(), 1))));
    assert!(folder.with_extension("damaged").join("job.json").exists() && !folder.exists());
    world.stop().await;
}

fn turned_away(code: &str) -> ServerMessage {
    ServerMessage::Error(WireError { code: code.into(), message: "no".into(), hint: None })
}

#[tokio::test]
async fn only_a_deleted_host_stops_of_those_that_the_server_does_not_want() {
    for (code, goes_on) in [("identity_in_use", true), ("protocol_too_old", true), ("host_deleted", false)] {
        let server = Server::bind().await;
        let mut world = World::new(&server);
        world.offline_grace = SHORT;
        world.start();
        let mut peer = server.accept().await;
        let seq = prepared(&mut peer, plan()).await;
        acknowledge(&mut peer, seq).await;
        peer.say(turned_away(code)).await;
        if goes_on {
            assert_eq!(world.begun().await.job.command.attempt, 1, "{code}");
        } else {
            let gone = |status: &Status| status.alone_since.is_some() && status.schedule_version == 0;
            let status = world.status_when(gone).await;
            assert_eq!((status.next_own_look, status.waiting_runs), (None, vec![]), "{code}");
            assert!(world.nothing_begun());
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn a_token_that_is_refused_does_not_stop_backups() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.offline_grace = Duration::from_secs(1);
    alone(&server, &mut world, plan()).await;
    server.refuse_with_401().await;
    let begun: Begun = world.begun().await;
    assert_eq!(begun.job.command.attempt, 1);
    let status = world.status_when(|status| status.last_error.is_some()).await;
    assert!(status.last_error.unwrap().is_refusal());
    world.stop().await;
}

/// An agent that knows the plan and had its last session so many days ago.
async fn away_for_days(server: &Server, world: &mut World, days: i64) {
    alone(server, world, plan()).await;
    world.stop().await;
    let at = (clock::wall() - days * DAY).as_millis();
    std::fs::write(world.state_dir().join("last-contact.json"), format!("{{\"at\":{at}}}")).unwrap();
    world.offline_grace = SHORT;
    world.start();
}

#[tokio::test]
async fn after_thirty_days_without_a_server_backups_go_on_and_the_agent_says_so() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    away_for_days(&server, &mut world, 31).await;
    assert_eq!(world.begun().await.job.command.attempt, 1);
    let status = world.status_when(|status| status.last_error.is_some()).await;
    let said = status.last_error.unwrap().message;
    assert!(said.starts_with("no session with the server for 31 days") && said.contains("go on"), "{said}");
    assert!(!status.stopped_alone);
    world.stop().await;
}

#[tokio::test]
async fn backups_stop_without_a_server_only_where_an_operator_wished_it() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.stop_after = Some(Duration::from_secs(20 * 86_400));
    away_for_days(&server, &mut world, 21).await;
    let status = world.status_when(|status| status.last_error.is_some()).await;
    let said = status.last_error.unwrap().message;
    assert!(said.contains("have stopped") && said.contains("--stop-without-server-after"), "{said}");
    assert!(status.stopped_alone && world.nothing_begun());
    // The server is back: it counts from now on.
    let mut peer = server.accept().await;
    peer.welcome(peer.hello.last_seq).await;
    world.status_when(|status| status.connected_since.is_some() && !status.stopped_alone).await;
    drop(peer);
    assert_eq!(world.begun().await.job.command.attempt, 1);
    world.stop().await;
}

#[tokio::test]
async fn a_slot_that_came_while_no_agent_ran_waits_until_the_machine_has_settled() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.settle = Duration::from_secs(2);
    let begun_at = std::time::Instant::now();
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(ServerMessage::ScheduleSet(Box::new(plan()))).await;
    assert!(matches!(peer.reliable().await.1, AgentMessage::ScheduleAck(_)));
    assert!(matches!(peer.reliable().await.1, AgentMessage::ScheduleFire(fire) if fire.slot == slot()));
    assert!(begun_at.elapsed() >= Duration::from_secs(2), "it fired after {:?}", begun_at.elapsed());
    world.stop().await;
}

#[tokio::test]
async fn a_crash_between_the_two_writings_of_a_fire_counts_no_missed_slot_twice() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    let state = StateDir::open(&world.state_dir()).unwrap();
    let plan = plan();
    let schedule = plan.schedules[0].clone();
    let cadence = Cadence { cron: schedule.cron, zone: schedule.timezone };
    let before = cadence.prev_at_or_before(slot() - 1).unwrap();
    let fire = ScheduleFire { schedule_id: schedule.schedule_id, slot: before, missed: 1 };
    let mut spool = Spool::open(&state.folder("spool").unwrap(), DEFAULT_LIMIT, NOW).unwrap();
    spool.append(&AgentMessage::ScheduleFire(fire.clone())).unwrap();
    Ledger::open(&state.folder("plan").unwrap(), NOW).unwrap().set_plan(plan).unwrap();
    drop(spool);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    assert_eq!(peer.reliable().await.1, AgentMessage::ScheduleFire(fire));
    let newest = ScheduleFire { schedule_id: schedule.schedule_id, slot: slot(), missed: 0 };
    assert_eq!(peer.reliable().await.1, AgentMessage::ScheduleFire(newest));
    world.stop().await;
}
