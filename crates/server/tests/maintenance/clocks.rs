//! Clocks that jump.

use std::collections::BTreeMap;

use crate::house::*;
use crate::lab::*;
use restic_manager_core::maintenance::MaintenanceKind;
use restic_manager_core::model::*;
use restic_manager_core::time::{DAY, HOUR, MINUTE};
use restic_manager_server::clock::Clock;

#[tokio::test]
async fn a_clock_that_jumps_a_day_forward_and_back_runs_nothing_twice_and_deletes_nothing_early() {
    let house = House::new();
    let (mut agent, repo, _) = ready(&house).await;
    set_admin(&house, repo).await;
    set(&house, repo, |settings| {
        for setting in [&mut settings.policy.forget, &mut settings.policy.prune, &mut settings.policy.check] {
            setting.cron = "0 3 * * *".parse().unwrap();
        }
    })
    .await;
    for command in pass(&house, DAY).await {
        agent.run(&house, command.job_id).await;
    }
    settle(&house, &mut agent).await;
    let before = jobs(&house, repo, JobKind::Forget).await.len();
    assert_eq!(before, 1);
    let truth = house.clock.now();
    house.clock.step_to(truth + DAY);
    for command in look(&house).await {
        assert_eq!(command.spec.kind(), JobKind::Check, "only what deletes nothing");
        agent.run(&house, command.job_id).await;
    }
    assert_eq!(hold(&house, repo, MaintenanceKind::Forget).await, Some(Hold::ClockSuspect));
    assert_eq!(hold(&house, repo, MaintenanceKind::Prune).await, Some(Hold::ClockSuspect));
    // The agents' clocks did not jump: however long it lasts, it is not believed.
    assert_eq!(pass(&house, 2 * HOUR).await, []);
    house.clock.step_to(truth + 2 * HOUR);
    assert_eq!(look(&house).await, []);
    let mut count = BTreeMap::new();
    for _ in 0..48 {
        for command in pass(&house, 30 * MINUTE).await {
            *count.entry(command.spec.kind()).or_insert(0) += 1;
            agent.run(&house, command.job_id).await;
        }
        for command in look(&house).await {
            *count.entry(command.spec.kind()).or_insert(0) += 1;
            agent.run(&house, command.job_id).await;
        }
    }
    assert_eq!((count.get(&JobKind::Forget), count.get(&JobKind::Prune)), (Some(&1), Some(&1)));
    assert_eq!(count.get(&JobKind::Check), None, "the check of that day ran already");
    let slots = |jobs: Vec<Job>| jobs.into_iter().map(|job| job.slot.unwrap()).collect::<Vec<_>>();
    for kind in [JobKind::Forget, JobKind::Prune, JobKind::Check] {
        let slots = slots(jobs(&house, repo, kind).await);
        assert!(slots.len() == 2 && slots[1].millis_since(slots[0]) == DAY, "{kind:?} {slots:?}");
    }
}
