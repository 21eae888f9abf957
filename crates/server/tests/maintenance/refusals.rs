//! What is refused leaves nothing behind.

use crate::house::*;
use crate::lab::*;
use restic_manager_core::api::UnlockRequest;
use restic_manager_core::maintenance::{MaintenanceKind, MaintenanceSettings};
use restic_manager_core::model::*;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::schedule::Zone;
use restic_manager_core::time::DAY;
use restic_manager_core::wire::*;
use restic_manager_server::app::MaintenanceAsk;

#[tokio::test]
async fn what_cannot_be_done_leaves_no_job_behind() {
    let house = House::new();
    let (agent, repo, group) = ready(&house).await;
    let all = [MaintenanceAsk::Forget, MaintenanceAsk::Prune, MaintenanceAsk::Check { subset_pct: None }];
    house.leave(&agent.host);
    for ask in all {
        let (code, message) = refusal(&house, repo, ask).await;
        assert!(code == "host_offline" && message.contains("`web1`"), "{code}: {message}");
    }
    let unlock = house.app.ask_unlock(&house.caller, repo, None, UnlockRequest::default()).await;
    assert_eq!(unlock.unwrap_err().code(), "host_offline");
    let preview = house.app.preview_forget(&house.caller, agent.host.id, group, None).await;
    assert_eq!(preview.unwrap_err().code(), "host_offline");
    agent.connect(&house).await;
    assert_eq!(refusal(&house, repo, MaintenanceAsk::Prune).await.0, "admin_creds_required");
    let empty = house.repo("empty").await;
    for ask in all {
        assert_eq!(refusal(&house, empty, ask).await.0, "no_runner");
    }
    let bare = house.group(&agent.host, "Bare").await;
    let preview = house.app.preview_forget(&house.caller, agent.host.id, bare, None).await;
    assert_eq!(preview.unwrap_err().code(), "no_policies");
    for kind in [JobKind::Forget, JobKind::Prune, JobKind::Check, JobKind::Unlock] {
        assert_eq!(jobs(&house, repo, kind).await, []);
    }
}

#[tokio::test]
async fn append_only_makes_forget_need_the_admin_credential() {
    let house = House::new();
    let (mut agent, repo, _) = ready(&house).await;
    let forget = press(&house, repo, MaintenanceAsk::Forget).await;
    let command = look(&house).await.pop().unwrap();
    assert!(!command.requires_admin_creds, "the everyday credential is tried");
    agent.start(&house, forget).await;
    agent.end(&house, forget, OutcomeClass::AppendOnly, JobSummary::default()).await;
    assert_eq!(refusal(&house, repo, MaintenanceAsk::Forget).await.0, "admin_creds_required");
    assert_eq!(pass(&house, 2 * DAY).await, []);
    assert_eq!(hold(&house, repo, MaintenanceKind::Forget).await, Some(Hold::AdminCredsRequired));
    set_admin(&house, repo).await;
    let command = look(&house).await.pop().unwrap();
    assert!(command.requires_admin_creds && command.spec.kind() == JobKind::Forget);
}

#[tokio::test]
async fn a_preview_removes_nothing_needs_no_admin_credential_and_moves_no_anchor() {
    let house = House::new();
    let (mut agent, repo, group) = ready(&house).await;
    house.keeping_group(&agent.host, "Mail", weekly()).await;
    only(&house, repo, MaintenanceKind::Forget).await;
    let accepted = house.app.preview_forget(&house.caller, agent.host.id, group, None).await.unwrap();
    let command = look(&house).await.pop().unwrap();
    let JobSpec::Forget(spec) = &command.spec else { panic!("{command:?}") };
    assert_eq!((spec.mode, spec.groups.len(), spec.groups[0].group_id), (ForgetMode::Preview, 1, group));
    assert!(!command.requires_admin_creds);
    agent.run(&house, accepted.job_id).await;
    let why = house.app.why(repo).await.unwrap();
    assert_eq!(why.kinds[0].last_at, None);
}

#[tokio::test]
async fn a_cadence_that_never_fires_is_refused_by_name() {
    let house = House::new();
    let (_agent, repo, _) = ready(&house).await;
    let mut settings = house.app.maintenance(repo).await.unwrap();
    assert_eq!(settings, MaintenanceSettings::standard(Zone::UTC));
    match "0 0 30 2 *".parse() {
        // Refused before it can be stored; or by the door, when the text itself is a cron text.
        Err(_) => {}
        Ok(cron) => {
            settings.policy.prune.cron = cron;
            let error = house.app.put_maintenance(&house.caller, repo, settings).await.unwrap_err();
            assert!(error.code() == "invalid" && error.to_string().contains("policy.prune.cron"), "{error}");
        }
    }
}
