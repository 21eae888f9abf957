//! What the server sets: in which order it counts, what a full disk does to it, and what leaves the disk.

use restic_manager_core::model::{CredentialKind, Role};
use restic_manager_core::secret::Secret;
use restic_manager_core::text::ResticHost;
use restic_manager_core::wire::{PlanRepo, ScheduleSet, WireError};

use super::world::{repo, revocation};
use super::*;

fn plan(version: i64) -> ScheduleSet {
    let entry =
        PlanRepo { repo_id: repo(), role: Role::Primary, restic_host: ResticHost::new("host").unwrap() };
    ScheduleSet {
        schedule_version: version,
        schedules: vec![],
        groups: vec![],
        repos: vec![entry],
        limit_upload_kib: None,
        limit_download_kib: None,
    }
}

async fn say_plan(peer: &mut Peer, plan: ScheduleSet) {
    peer.say(ServerMessage::ScheduleSet(Box::new(plan))).await;
}

async fn acked_version(peer: &mut Peer) -> i64 {
    match peer.reliable().await.1 {
        AgentMessage::ScheduleAck(ack) => ack.schedule_version,
        other => panic!("expected an acknowledgement, got {other:?}"),
    }
}

/// Puts something in the place of a file over which none can be written, as on a full disk.
fn block(world: &World, file: &str) {
    let path = world.state_dir().join(file);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
}

fn unblock(world: &World, file: &str) {
    std::fs::remove_dir(world.state_dir().join(file)).unwrap();
}

#[tokio::test]
async fn a_host_that_is_detached_and_attached_again_has_its_credential() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(credential(4)).await;
    peer.say(revocation(i64::MAX)).await;
    peer.say(ServerMessage::CommandRun(Box::new(command(1, peer.epoch)))).await;
    assert_eq!(refusal(peer.reliable().await.1), (job(1), RefusedReason::NoCredential));
    peer.say(credential(1)).await;
    started_job(&mut world, &mut peer, 2).await;
    world.stop().await;
}

#[tokio::test]
async fn a_plan_that_was_overtaken_is_ignored_until_the_next_hello() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    for version in [7, 6, 8] {
        say_plan(&mut peer, plan(version)).await;
    }
    assert_eq!([acked_version(&mut peer).await, acked_version(&mut peer).await], [7, 8]);
    drop(peer);
    // A server restored from a copy counts anew, and is right.
    let mut peer = server.accept().await;
    assert_eq!(peer.hello.schedule_version, 8);
    peer.welcome(2).await;
    say_plan(&mut peer, plan(3)).await;
    assert_eq!(acked_version(&mut peer).await, 3);
    world.stop().await;
}

#[tokio::test]
async fn the_credential_of_a_repository_that_was_left_meanwhile_leaves_the_disk() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(credential(1)).await;
    // A plan that was on its way before the credential takes nothing away.
    say_plan(&mut peer, ScheduleSet { repos: vec![], ..plan(1) }).await;
    acked_version(&mut peer).await;
    assert_eq!(world.secrets().repos(CredentialKind::Repo), [repo()]);
    drop(peer);
    let mut peer = server.accept().await;
    peer.welcome(1).await;
    say_plan(&mut peer, ScheduleSet { repos: vec![], ..plan(2) }).await;
    acked_version(&mut peer).await;
    assert!(world.secrets().repos(CredentialKind::Repo).is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a_deleted_host_keeps_no_plan_and_no_credential() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    peer.say(credential(1)).await;
    say_plan(&mut peer, plan(1)).await;
    acked_version(&mut peer).await;
    let deleted = WireError {
        code: "host_deleted".into(),
        message: "it was deleted".into(),
        hint: Some("enrol it again".into()),
    };
    peer.say(ServerMessage::Error(deleted)).await;
    let gone = |status: &Status| status.last_error.is_some() && status.connected_since.is_none();
    let status = world.status_when(gone).await;
    let error = status.last_error.unwrap();
    assert!(error.is_refusal());
    assert_eq!(error.message, "the server says: it was deleted (host_deleted); enrol it again");
    assert_eq!(status.schedule_version, 0);
    world.stop().await;
    assert!(world.secrets().repos(CredentialKind::Repo).is_empty());
}

#[tokio::test]
async fn a_token_is_tried_without_a_word() {
    let server = Server::bind().await;
    let (token, refused) = (Secret::new("rma_secret"), server.refuse_with_401());
    let (known, ()) = tokio::join!(crate::session::knock(&server.url, &token), refused);
    assert!(matches!(known, Err(crate::session::ConnectError::Unauthorized { status: 401 })), "{known:?}");
}

#[tokio::test]
async fn a_plan_and_a_credential_that_cannot_be_stored_are_stored_as_soon_as_they_can() {
    let server = Server::bind().await;
    let mut world = World::new(&server);
    world.start();
    let mut peer = server.accept().await;
    peer.welcome(0).await;
    let files = ["plan/plan.json", "secrets.age"];
    files.iter().for_each(|file| block(&world, file));
    peer.say(credential(1)).await;
    say_plan(&mut peer, plan(5)).await;
    world.status_when(|status| status.last_error.is_some()).await;
    peer.say(ServerMessage::CommandRun(Box::new(command(1, peer.epoch)))).await;
    assert_eq!(refusal(peer.reliable().await.1), (job(1), RefusedReason::NoCredential));
    files.iter().for_each(|file| unblock(&world, file));
    assert_eq!(acked_version(&mut peer).await, 5);
    world.stop().await;
    assert_eq!(world.secrets().repos(CredentialKind::Repo), [repo()]);
}

#[tokio::test]
async fn an_end_that_the_disk_has_no_room_for_is_known_to_hello() {
    let server = Server::bind().await;
    let world = World::new(&server);
    let mut agent = world.open();
    agent.unsaid.push_back(AgentMessage::JobFinished(Box::new(world::finished(3, FinalState::Succeeded))));
    agent.unsaid.push_back(log(4, 0));
    assert_eq!(agent.hello().spooled_jobs, [job(3)]);
}
