//! What a check found, and whom a prune waits for.

use crate::house::*;
use crate::lab::*;
use restic_manager_core::api::UnlockRequest;
use restic_manager_core::id::GroupId;
use restic_manager_core::maintenance::MaintenanceKind;
use restic_manager_core::model::*;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::DAY;
use restic_manager_core::wire::*;
use restic_manager_server::app::MaintenanceAsk;

#[tokio::test]
async fn errors_of_a_check_hold_prune_until_a_check_passes_or_somebody_overrides() {
    let house = House::new();
    let (mut agent, repo, _) = ready(&house).await;
    only(&house, repo, MaintenanceKind::Prune).await;
    set_admin(&house, repo).await;
    let check = async |agent: &mut Agent, subset: Option<u8>, status: CheckStatus| {
        let job_id = press(&house, repo, MaintenanceAsk::Check { subset_pct: subset }).await;
        let command = look(&house).await.pop().unwrap();
        let JobSpec::Check(spec) = command.spec else { panic!("{command:?}") };
        agent.start(&house, job_id).await;
        let summary = JobSummary {
            check: Some(status),
            check_subset_pct: Some(spec.subset_pct),
            ..JobSummary::default()
        };
        let class = if status == CheckStatus::Ok { OutcomeClass::Ok } else { OutcomeClass::Unknown };
        agent.end(&house, job_id, class, summary).await;
        spec.subset_pct
    };
    assert_eq!(check(&mut agent, None, CheckStatus::ErrorsFound).await, 5, "as it is set");
    assert_eq!(refusal(&house, repo, MaintenanceAsk::Prune).await.0, "check_errors");
    assert_eq!(pass(&house, 8 * DAY).await, []);
    assert_eq!(hold(&house, repo, MaintenanceKind::Prune).await, Some(Hold::CheckErrors));
    check(&mut agent, Some(0), CheckStatus::Ok).await;
    assert_eq!(look(&house).await, [], "it read less than the one that found the damage");
    assert!(house.app.override_check(&house.caller, repo).await.unwrap().lifted);
    assert!(!house.app.override_check(&house.caller, repo).await.unwrap().lifted);
    assert_eq!(house.audited("check_hold.overridden").await, 1);
    let pruned = look(&house).await;
    assert_eq!(kinds(&pruned), [JobKind::Prune]);
    agent.run(&house, pruned[0].job_id).await;
    check(&mut agent, Some(20), CheckStatus::ErrorsFound).await;
    assert_eq!(pass(&house, 8 * DAY).await, []);
    check(&mut agent, Some(250), CheckStatus::Ok).await;
    assert_eq!(kinds(&look(&house).await), [JobKind::Prune], "a check of all data passed");
}

#[tokio::test]
async fn maintenance_is_run_again_as_it_was_asked_for() {
    let house = House::new();
    let (mut agent, repo, _) = ready(&house).await;
    set_admin(&house, repo).await;
    for ask in [MaintenanceAsk::Check { subset_pct: Some(40) }, MaintenanceAsk::Forget, MaintenanceAsk::Prune]
    {
        let first = press(&house, repo, ask).await;
        let before = look(&house).await.pop().unwrap();
        agent.run(&house, first).await;
        let again = house.app.rerun_job(&house.caller, first).await.unwrap();
        let after = look(&house).await.pop().unwrap();
        assert!(again.job_id != first && after.job_id == again.job_id);
        assert_eq!(after.spec, before.spec);
        agent.run(&house, again.job_id).await;
    }
    let unlock =
        house.app.ask_unlock(&house.caller, repo, None, UnlockRequest::default()).await.unwrap().job_id;
    look(&house).await;
    agent.run(&house, unlock).await;
    let error = house.app.rerun_job(&house.caller, unlock).await.unwrap_err();
    assert_eq!(error.code(), "not_repeated");
}

#[tokio::test]
async fn a_prune_waits_for_the_backups_runs_alone_and_those_behind_it_wait_visibly() {
    let house = House::new();
    let (mut first, repo, group) = ready(&house).await;
    let mut second = Agent::new(&house, "web2").await;
    house.attach(&second.host, repo, Role::Primary).await;
    let second_group = house.group(&second.host, "Home").await;
    settle(&house, &mut second).await;
    set_admin(&house, repo).await;
    let back_up = async |agent: &Agent, group: GroupId| {
        house.app.run_group(&house.caller, agent.host.id, group, None).await.unwrap()[0].job_id
    };
    let (a, b) = (back_up(&first, group).await, back_up(&second, second_group).await);
    assert_eq!(look(&house).await.len(), 2, "two hosts back up at once");
    first.start(&house, a).await;
    second.start(&house, b).await;
    let prune = press(&house, repo, MaintenanceAsk::Prune).await;
    assert_eq!(press(&house, repo, MaintenanceAsk::Prune).await, prune, "pressing twice gives the same job");
    assert_eq!(look(&house).await, []);
    assert!(matches!(house.app.job(prune).await.unwrap().hold, Some(Hold::RepoBusy { .. })));
    second.end(&house, b, OutcomeClass::Ok, JobSummary::default()).await;
    let late = back_up(&second, second_group).await;
    assert_eq!(look(&house).await, []);
    assert_eq!(house.app.job(late).await.unwrap().hold, Some(Hold::Draining { job_id: prune }));
    first.end(&house, a, OutcomeClass::Ok, JobSummary::default()).await;
    let commands = look(&house).await;
    assert_eq!(commands.iter().map(|command| command.job_id).collect::<Vec<_>>(), [prune]);
    assert_eq!(house.app.job(late).await.unwrap().hold, Some(Hold::RepoBusy { job_id: prune }));
    first.run(&house, prune).await;
    assert_eq!(look(&house).await[0].job_id, late);
}
