//! Where the admin credential goes, and where it does not stay.

use std::collections::BTreeMap;

use crate::house::*;
use crate::lab::*;
use restic_manager_core::api::{CredentialWrite, RepoPatch};
use restic_manager_core::id::HostId;
use restic_manager_core::maintenance::MaintenanceKind;
use restic_manager_core::model::*;
use restic_manager_core::secret::Secret;
use restic_manager_core::time::{DAY, MINUTE};
use restic_manager_core::wire::*;
use restic_manager_server::app::{AdminCredentialWritten, MaintenanceAsk};
use restic_manager_server::clock::Clock;
use restic_manager_server::random::Random;
use restic_manager_store::{AuditFilter, PageRequest, PutCredential};

/// The credentials and commands that were sent since the last look, in order.
fn sent(house: &House) -> Vec<ServerMessage> {
    std::mem::take(&mut *house.wires.sent.lock().unwrap()).into_iter().map(|(_, message)| message).collect()
}

#[tokio::test]
async fn the_only_host_keeps_the_admin_credential_and_gets_it_at_once() {
    let house = House::new();
    let (agent, repo, _) = ready(&house).await;
    sent(&house);
    set_admin(&house, repo).await;
    let [ServerMessage::ConfigUpdate(update)] = &sent(&house)[..] else { panic!("one message") };
    assert_eq!((update.kind, update.keep, update.revision), (CredentialKind::Admin, true, 1));
    assert_eq!(update.credential.as_ref().unwrap().rest_user.as_deref(), Some("admin"));
    let view = house.app.admin_credential(repo).await.unwrap();
    assert_eq!((view.host_id, view.kept_on_host), (agent.host.id, true));
    let greeting = agent.connect(&house).await;
    let again = greeting.iter().any(
        |message| matches!(message, ServerMessage::ConfigUpdate(again) if again.kind == CredentialKind::Admin && again == update),
    );
    assert!(again, "{greeting:?}");
    let blank = CredentialWrite {
        url: " ".into(),
        password: Secret::new(""),
        rest_user: Some(String::new()),
        rest_password: None,
        env: BTreeMap::new(),
    };
    let unchanged = house.app.put_admin_credential(&house.caller, repo, blank).await.unwrap();
    assert_eq!(unchanged, AdminCredentialWritten::Unchanged(Some(view)));
    assert_eq!(house.audited("admin_credential.changed").await, 1);
    for _ in 0..2 {
        house.app.delete_admin_credential(&house.caller, repo).await.unwrap();
    }
    let revoked = sent(&house);
    let [ServerMessage::ConfigUpdate(update)] = &revoked[..] else { panic!("{revoked:?}") };
    assert_eq!((update.kind, &update.credential), (CredentialKind::Admin, &None));
    assert_eq!(house.app.admin_credential(repo).await.unwrap_err().code(), "not_found");
}

#[tokio::test]
async fn one_that_is_not_kept_comes_right_before_the_command_in_the_same_session() {
    let house = House::new();
    let (agent, repo, _) = ready(&house).await;
    set(&house, repo, |settings| settings.keep_admin_credential = Some(false)).await;
    sent(&house);
    set_admin(&house, repo).await;
    assert_eq!(sent(&house), [], "nothing is sent before a job needs it");
    let prune = press(&house, repo, MaintenanceAsk::Prune).await;
    house.engine.tick().await.unwrap();
    let messages = sent(&house);
    let [ServerMessage::ConfigUpdate(update), ServerMessage::CommandRun(run)] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert_eq!((update.kind, update.keep, run.job_id), (CredentialKind::Admin, false, prune));
    assert_eq!(run.epoch, house.wires.epochs.lock().unwrap()[&agent.host.id]);
    let revoked = |message: &ServerMessage| matches!(message, ServerMessage::ConfigUpdate(u) if u.kind == CredentialKind::Admin && u.credential.is_none());
    assert!(agent.connect(&house).await.iter().any(revoked), "what it may have kept before is revoked");
}

#[tokio::test]
async fn another_runner_gets_its_own_credential_and_the_old_copy_is_revoked() {
    let house = House::new();
    let (first, repo, _) = ready(&house).await;
    set_admin(&house, repo).await;
    let second = Agent::new(&house, "store1").await;
    sent(&house);
    house.attach(&second.host, repo, Role::Maintenance).await;
    let to_first = |messages: &[(HostId, ServerMessage)]| {
        messages.iter().any(|(host, message)| {
            *host == first.host.id
                && matches!(message, ServerMessage::ConfigUpdate(u) if u.kind == CredentialKind::Admin && u.credential.is_none())
        })
    };
    let messages = std::mem::take(&mut *house.wires.sent.lock().unwrap());
    assert!(to_first(&messages), "no longer the only host: it keeps nothing");
    let place = house.app.attachment(second.host.id, repo).await.unwrap().attachment.id;
    let patch = RepoPatch { runner: Some(Some(place)), ..RepoPatch::default() };
    house.app.change_repo(&house.caller, repo, patch).await.unwrap();
    let messages = std::mem::take(&mut *house.wires.sent.lock().unwrap());
    assert!(to_first(&messages));
    assert_eq!(refusal(&house, repo, MaintenanceAsk::Prune).await.0, "admin_creds_required");
    set_admin(&house, repo).await;
    assert_eq!(house.app.admin_credential(repo).await.unwrap().host_id, second.host.id);
    let prune = press(&house, repo, MaintenanceAsk::Prune).await;
    house.engine.tick().await.unwrap();
    let messages = std::mem::take(&mut *house.wires.sent.lock().unwrap());
    assert!(messages.iter().all(|(host, _)| *host == second.host.id), "only the runner hears of it");
    assert!(
        messages
            .iter()
            .any(|(_, message)| matches!(message, ServerMessage::CommandRun(run) if run.job_id == prune))
    );
}

#[tokio::test]
async fn a_credential_moved_to_another_row_is_refused_by_name_and_nothing_runs() {
    let house = House::new();
    let (agent, repo, _) = ready(&house).await;
    only(&house, repo, MaintenanceKind::Prune).await;
    set_admin(&house, repo).await;
    let place = house.app.attachment(agent.host.id, repo).await.unwrap().attachment.id;
    // The everyday blob, put where the admin one belongs.
    let everyday = house.store.credential(place, CredentialKind::Repo).await.unwrap().unwrap();
    let mut moved = house.store.credential(place, CredentialKind::Admin).await.unwrap().unwrap();
    moved.blob = everyday.blob;
    moved.info.revision += 1;
    let audit =
        house.store.audit(&AuditFilter::default(), PageRequest::first(1)).await.unwrap().items.remove(0);
    let audit = AuditEntry {
        id: restic_manager_core::id::AuditId::mint(house.clock.now(), house.random.id_bytes()),
        at: audit.at,
        actor: Actor::system(),
        action: "test.moved".into(),
        subject_kind: "repo".into(),
        subject_id: repo.to_string(),
        detail: serde_json::Map::new(),
    };
    assert_eq!(house.store.put_credential(place, moved, audit).await.unwrap(), PutCredential::Done);
    assert_eq!(refusal(&house, repo, MaintenanceAsk::Prune).await.0, "credential_unreadable");
    assert_eq!(jobs(&house, repo, JobKind::Prune).await, []);
    sent(&house);
    assert_eq!(pass(&house, 5 * DAY).await, []);
    let withdrawn = jobs(&house, repo, JobKind::Prune).await;
    assert!(!withdrawn.is_empty() && withdrawn.iter().all(|job| job.state == JobState::Withdrawn));
    let message = withdrawn[0].message.as_deref().unwrap();
    assert!(
        message.contains("credential_unreadable") && message.contains(":repo` was moved to"),
        "{message}"
    );
    assert!(!message.contains("planted"), "{message}");
    assert!(withdrawn.len() < 48, "it is not asked for again and again: {}", withdrawn.len());
    assert_eq!(house.audited("job.withdrawn").await, withdrawn.len());
    assert_eq!(hold(&house, repo, MaintenanceKind::Prune).await, Some(Hold::AdminCredsRequired));
    set_admin(&house, repo).await;
    assert_eq!(kinds(&look(&house).await), [JobKind::Prune], "set anew, it runs at once");
}

#[tokio::test]
async fn an_agent_without_the_admin_credential_is_not_asked_in_circles() {
    let house = House::new();
    let (mut agent, repo, _) = ready(&house).await;
    set_admin(&house, repo).await;
    let prune = press(&house, repo, MaintenanceAsk::Prune).await;
    assert_eq!(look(&house).await.len(), 1);
    let refused = JobRefused { job_id: prune, reason: RefusedReason::NoAdminCredential };
    agent.report(&house, vec![AgentMessage::JobRefused(refused)]).await;
    assert_eq!(house.state(prune).await, JobState::Queued);
    assert_eq!(look(&house).await, []);
    let until = house.clock.now() + MINUTE;
    assert_eq!(house.app.job(prune).await.unwrap().hold, Some(Hold::WaitingRetry { until }));
    house.clock.advance(MINUTE);
    assert_eq!(look(&house).await[0].job_id, prune);
}

#[tokio::test]
async fn no_secret_of_the_admin_credential_is_shown_or_written_down() {
    let house = House::new();
    let (_agent, repo, _) = ready(&house).await;
    set_admin(&house, repo).await;
    let rows = house.store.audit(&AuditFilter::default(), PageRequest::first(500)).await.unwrap();
    let written = rows.items.iter().find(|row| row.action == "admin_credential.changed").unwrap();
    assert_eq!((written.actor_kind, written.actor.as_str()), (ActorKind::User, "ada"));
    let shown = house.app.admin_credential(repo).await.unwrap();
    let text =
        format!("{}{}", serde_json::to_string(&rows.items).unwrap(), serde_json::to_string(&shown).unwrap());
    assert!(!text.contains("planted") && text.contains("rest:http://127.0.0.1:8001/r/"), "{text}");
}
