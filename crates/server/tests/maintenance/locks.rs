//! Locks in the way.

use crate::house::*;
use crate::lab::*;
use restic_manager_core::api::{RepoPatch, UnlockRequest};
use restic_manager_core::id::SpoolId;
use restic_manager_core::maintenance::MaintenanceKind;
use restic_manager_core::model::*;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::{DAY, MINUTE, Timestamp};
use restic_manager_core::wire::*;
use restic_manager_server::app::MaintenanceAsk;
use restic_manager_server::clock::Clock;
use restic_manager_server::random::Random;
use restic_manager_store::{AuditFilter, PageRequest};

fn lock(id: &str, hostname: &str, at: Timestamp, owner: LockOwner) -> SeenLock {
    SeenLock {
        id: id.into(),
        hostname: hostname.into(),
        username: "root".into(),
        pid: 4711,
        exclusive: true,
        time: at,
        owner,
    }
}

#[tokio::test]
async fn a_lock_of_another_host_of_ours_is_asked_about_there_once_a_sighting() {
    let house = House::new();
    let (mut first, repo, _) = ready(&house).await;
    let second = Agent::new(&house, "web2").await;
    house.attach(&second.host, repo, Role::Maintenance).await;
    look(&house).await;
    only(&house, repo, MaintenanceKind::Check).await;
    let meet = async |agent: &mut Agent, locks: Vec<SeenLock>| {
        let check = press(&house, repo, MaintenanceAsk::Check { subset_pct: None }).await;
        assert_eq!(kinds(&look(&house).await), [JobKind::Check]);
        agent.start(&house, check).await;
        let summary = JobSummary { locks, check: Some(CheckStatus::Locked), ..JobSummary::default() };
        agent.end(&house, check, OutcomeClass::Locked, summary).await;
    };
    let now = house.clock.now();
    let theirs = lock("l1", "web2", now, LockOwner::Unknown);
    meet(&mut first, vec![theirs.clone()]).await;
    let unlock = look(&house).await.pop().unwrap();
    assert_eq!(unlock.spec, JobSpec::Unlock(UnlockSpec { scope: UnlockScope::Attested }));
    let job = house.store.job(unlock.job_id).await.unwrap().unwrap().job;
    assert_eq!((job.host_id, job.actor), (second.host.id, Actor::system()));
    let mut second = second;
    second.run(&house, unlock.job_id).await;
    meet(&mut first, vec![theirs]).await;
    assert_eq!(look(&house).await, [], "asked about once");
    meet(&mut first, vec![lock("l2", "elsewhere", now, LockOwner::Unknown)]).await;
    assert_eq!(look(&house).await, [], "nobody of ours");
    set(&house, repo, |settings| settings.auto_unlock = false).await;
    meet(&mut first, vec![lock("l3", "web2", now, LockOwner::Unknown)]).await;
    assert_eq!(look(&house).await, [], "the setting is off");
}

#[tokio::test]
async fn a_foreign_lock_holds_maintenance_for_half_an_hour() {
    let house = House::new();
    let (mut agent, repo, _) = ready(&house).await;
    only(&house, repo, MaintenanceKind::Forget).await;
    let command = pass(&house, DAY).await.pop().unwrap();
    agent.start(&house, command.job_id).await;
    let seen = lock("l1", "elsewhere", house.clock.now(), LockOwner::Unknown);
    let summary = JobSummary { locks: vec![seen], ..JobSummary::default() };
    agent.end(&house, command.job_id, OutcomeClass::Locked, summary).await;
    house.clock.advance(15 * MINUTE);
    assert_eq!(look(&house).await, []);
    assert_eq!(hold(&house, repo, MaintenanceKind::Forget).await, Some(Hold::ForeignLock));
    house.clock.advance(15 * MINUTE + 1);
    assert_eq!(kinds(&look(&house).await), [JobKind::Forget]);
}

#[tokio::test]
async fn locks_that_were_removed_are_audited_and_too_many_are_a_warning() {
    let house = House::new();
    let (mut agent, repo, group) = ready(&house).await;
    let now = house.clock.now();
    for (removed, warns) in [(1, false), (2, true)] {
        let backup = house.app.run_group(&house.caller, agent.host.id, group, None).await.unwrap()[0].job_id;
        look(&house).await;
        agent.start(&house, backup).await;
        let summary = JobSummary {
            snapshot_id: Some("a".repeat(64)),
            locks: vec![lock("l1", "web1", now, LockOwner::EndedRun)],
            locks_removed: Some(removed),
            ..JobSummary::default()
        };
        agent.end(&house, backup, OutcomeClass::Ok, summary).await;
        let filter = AuditFilter { action: Some("repo.unlocked".into()), ..AuditFilter::default() };
        let row = house.store.audit(&filter, PageRequest::first(1)).await.unwrap().items.remove(0);
        assert_eq!((row.subject_id, row.actor_kind), (repo.to_string(), ActorKind::Agent));
        assert_eq!(row.detail["removed"], removed);
        assert_eq!(row.detail.contains_key("warning"), warns);
    }
    assert_eq!(house.audited("repo.unlocked").await, 2);
}

#[tokio::test]
async fn stale_locks_end_by_themselves_only_where_the_name_in_them_is_one_hosts_alone() {
    let house = House::new();
    let (mut agent, repo, group) = ready(&house).await;
    let back_up = async |agent: &mut Agent| {
        let job = house.app.run_group(&house.caller, agent.host.id, group, None).await.unwrap()[0].job_id;
        let command = look(&house).await.pop().unwrap();
        agent.run(&house, job).await;
        command.auto_unlock
    };
    assert_eq!(back_up(&mut agent).await, AutoUnlock::Allowed);
    set(&house, repo, |settings| settings.auto_unlock = false).await;
    assert_eq!(back_up(&mut agent).await, AutoUnlock::Off);
    set(&house, repo, |settings| settings.auto_unlock = true).await;
    // A clone of the machine, by the name its system goes by; the first host is not the runner any more.
    let twin = house.host("web2").await;
    let spool = SpoolId::mint(house.clock.now(), house.random.id_bytes());
    let hello = Hello { os_hostname: "web1".into(), ..house.hello(&twin, spool) };
    house.connect(&twin, &hello).await;
    house.attach(&twin, repo, Role::Maintenance).await;
    assert_eq!(back_up(&mut agent).await, AutoUnlock::Off);
    let place = house.app.attachment(twin.id, repo).await.unwrap().attachment.id;
    let patch = RepoPatch { runner: Some(Some(place)), ..RepoPatch::default() };
    house.app.change_repo(&house.caller, repo, patch).await.unwrap();
    assert_eq!(back_up(&mut agent).await, AutoUnlock::Off, "looked up beside the runner's row too");
    let renamed = Hello { os_hostname: "web2".into(), ..hello };
    let twin = house.store.host(twin.id).await.unwrap().unwrap();
    house.connect(&twin, &renamed).await;
    assert_eq!(back_up(&mut agent).await, AutoUnlock::Allowed);
}

#[tokio::test]
async fn removing_every_lock_takes_the_typed_name() {
    let house = House::new();
    let (_agent, repo, _) = ready(&house).await;
    let ask = async |name: Option<&str>| {
        let request = UnlockRequest { remove_all: name.map(str::to_owned) };
        house.app.ask_unlock(&house.caller, repo, None, request).await
    };
    assert_eq!(ask(Some("vaul")).await.unwrap_err().code(), "name_not_confirmed");
    let all = ask(Some("vault")).await.unwrap();
    assert_eq!(ask(None).await.unwrap_err().code(), "another_unlock");
    let command = look(&house).await.pop().unwrap();
    assert_eq!(command.job_id, all.job_id);
    assert_eq!(command.spec, JobSpec::Unlock(UnlockSpec { scope: UnlockScope::All }));
    assert!(!command.requires_admin_creds);
}
