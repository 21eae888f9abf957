//! When forget, prune and check fire.

use std::collections::BTreeMap;

use crate::house::*;
use crate::lab::*;
use restic_manager_core::id::RepoId;
use restic_manager_core::maintenance::{MaintenanceKind, MaintenanceSettings};
use restic_manager_core::model::*;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::schedule::Zone;
use restic_manager_core::time::{DAY, HOUR, MINUTE, Timestamp};
use restic_manager_server::clock::Clock;

/// The weekday of a day since 1970, with 0 for Sunday: 1970-01-01 was a Thursday.
const fn weekday(day: i64) -> i64 {
    (day + 4) % 7
}

#[tokio::test]
async fn a_year_of_two_hundred_repositories_fires_as_often_as_the_calendar_says() {
    let house = House::new();
    let zones = ["UTC", "Europe/Berlin", "Asia/Kolkata"];
    let mut agents = BTreeMap::new();
    let mut repos: Vec<(RepoId, bool, usize)> = Vec::new();
    for h in 0..20 {
        let mut agent = Agent::new(&house, &format!("host{h}")).await;
        for r in 0..10 {
            let repo = house.repo(&format!("repo{h}-{r}")).await;
            let role = if r == 0 { Role::Primary } else { Role::Copy };
            house.attach(&agent.host, repo, role).await;
            // One in twenty has the standard policy, the others a lighter one of the same shape.
            let standard = (h * 10 + r) % 20 == 0;
            let zone = (h + r) % 3;
            set(&house, repo, |settings| {
                *settings = MaintenanceSettings::standard(zones[zone].parse::<Zone>().unwrap());
                if !standard {
                    settings.policy.forget.cron = "0 3 * * 1".parse().unwrap();
                    settings.policy.prune.cron = "0 4 1 * *".parse().unwrap();
                    settings.policy.check.cron = "0 5 1 1,4,7,10 *".parse().unwrap();
                }
            })
            .await;
            set_admin(&house, repo).await;
            repos.push((repo, standard, zone));
        }
        house.keeping_group(&agent.host, "Home", weekly()).await;
        settle(&house, &mut agent).await;
        agents.insert(agent.host.id, agent);
    }
    let start = house.clock.now();
    let mut fired: BTreeMap<(RepoId, JobKind), Vec<(Timestamp, Timestamp)>> = BTreeMap::new();
    while house.clock.now() < start + 365 * DAY {
        house.clock.advance(30 * MINUTE);
        house.engine.maintain().await.unwrap();
        loop {
            house.engine.tick().await.unwrap();
            let commands = house.take_commands();
            if commands.is_empty() {
                break;
            }
            for command in commands {
                let job = house.store.job(command.job_id).await.unwrap().unwrap().job;
                assert_eq!((job.actor, job.attempt), (Actor::system(), 1));
                let slots = fired.entry((job.repo_id, job.kind)).or_default();
                slots.push((job.slot.unwrap(), job.created_at));
                agents.get_mut(&job.host_id).unwrap().run(&house, command.job_id).await;
            }
        }
    }
    // Every slot lies between 20:00 UTC and 06:00 UTC, and the year begins and ends at noon: the days of the year are whole.
    let first_day = start.as_millis() / DAY + 1;
    let days = first_day..first_day + 365;
    let on = |wanted: i64| days.clone().filter(|day| weekday(*day) == wanted).count();
    for (repo, standard, zone) in repos {
        let expected = if standard { [365, on(0), 12] } else { [on(1), 12, 4] };
        for (kind, expected) in [JobKind::Forget, JobKind::Prune, JobKind::Check].into_iter().zip(expected) {
            let slots = &fired[&(repo, kind)];
            assert_eq!(slots.len(), expected, "{kind:?} of a repository, standard: {standard}, zone {zone}");
            assert!(slots.windows(2).all(|pair| pair[0].0 < pair[1].0), "no slot twice");
            for (slot, asked) in slots {
                let late = asked.millis_since(*slot);
                assert!((0..=90 * MINUTE).contains(&late), "asked {late} ms after its slot");
                if zone == 0 {
                    let hour = slot.as_millis() % DAY / HOUR;
                    assert_eq!(
                        hour,
                        [3, 4, 5][[JobKind::Forget, JobKind::Prune, JobKind::Check]
                            .iter()
                            .position(|k| *k == kind)
                            .unwrap()]
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_due_together_runs_as_forget_prune_check() {
    let house = House::new();
    let (mut agent, repo, _) = ready(&house).await;
    set_admin(&house, repo).await;
    set(&house, repo, |settings| {
        for setting in [&mut settings.policy.forget, &mut settings.policy.prune, &mut settings.policy.check] {
            setting.cron = "0 0 * * *".parse().unwrap();
        }
    })
    .await;
    let mut order = Vec::new();
    for command in pass(&house, DAY).await {
        order.push(command.spec.kind());
        agent.run(&house, command.job_id).await;
    }
    loop {
        let commands = look(&house).await;
        let Some(command) = commands.first() else { break };
        assert_eq!(commands.len(), 1, "each alone");
        order.push(command.spec.kind());
        agent.run(&house, command.job_id).await;
    }
    assert_eq!(order, [JobKind::Forget, JobKind::Prune, JobKind::Check]);
}

#[tokio::test]
async fn a_host_that_is_away_is_skipped_and_catches_up_once() {
    let house = House::new();
    let (agent, repo, _) = ready(&house).await;
    only(&house, repo, MaintenanceKind::Forget).await;
    house.leave(&agent.host);
    assert_eq!(pass(&house, 5 * DAY).await, []);
    assert_eq!(jobs(&house, repo, JobKind::Forget).await, [], "nothing is queued for the absent");
    assert_eq!(hold(&house, repo, MaintenanceKind::Forget).await, Some(Hold::HostOffline));
    agent.connect(&house).await;
    let commands = look(&house).await;
    assert_eq!(kinds(&commands), [JobKind::Forget], "five slots passed, the newest runs");
    let slot = jobs(&house, repo, JobKind::Forget).await[0].slot.unwrap();
    assert!(house.clock.now().millis_since(slot) < DAY);
    assert_eq!(house.audited("job.asked").await, 2, "the init job and this one");
}

#[tokio::test]
async fn prune_without_the_admin_credential_is_held_silently_until_there_is_one() {
    let house = House::new();
    let (_agent, repo, _) = ready(&house).await;
    only(&house, repo, MaintenanceKind::Prune).await;
    assert_eq!(pass(&house, 8 * DAY).await, []);
    assert_eq!(jobs(&house, repo, JobKind::Prune).await, []);
    assert_eq!(hold(&house, repo, MaintenanceKind::Prune).await, Some(Hold::AdminCredsRequired));
    set_admin(&house, repo).await;
    let commands = look(&house).await;
    assert_eq!(kinds(&commands), [JobKind::Prune]);
    assert!(commands[0].requires_admin_creds);
}

#[tokio::test]
async fn a_long_prune_suppresses_the_next_one() {
    let house = House::new();
    let (mut agent, repo, _) = ready(&house).await;
    only(&house, repo, MaintenanceKind::Prune).await;
    set_admin(&house, repo).await;
    let commands = pass(&house, 7 * DAY).await;
    assert_eq!(kinds(&commands), [JobKind::Prune]);
    agent.start(&house, commands[0].job_id).await;
    assert_eq!(pass(&house, 15 * DAY).await, [], "it runs for two weeks");
    agent.end(&house, commands[0].job_id, OutcomeClass::Ok, JobSummary::default()).await;
    let next = look(&house).await;
    assert_eq!(kinds(&next), [JobKind::Prune], "the newest of the slots that passed, once");
    agent.run(&house, next[0].job_id).await;
    assert_eq!(pass(&house, 2 * DAY).await, []);
}

#[tokio::test]
async fn a_job_that_met_a_lock_is_owed_again_and_one_that_failed_is_not() {
    let house = House::new();
    let (mut agent, repo, _) = ready(&house).await;
    only(&house, repo, MaintenanceKind::Forget).await;
    let mut commands = pass(&house, DAY).await;
    for (attempt, pause) in [(2, 15 * MINUTE), (3, HOUR), (4, 4 * HOUR)] {
        let job_id = commands.pop().unwrap().job_id;
        agent.start(&house, job_id).await;
        agent.end(&house, job_id, OutcomeClass::Locked, JobSummary::default()).await;
        house.clock.advance(pause - 1);
        assert_eq!(look(&house).await, []);
        house.clock.advance(1);
        commands = look(&house).await;
        assert_eq!(commands.len(), 1, "attempt {attempt}");
        assert_eq!(commands[0].attempt, attempt);
    }
    let job_id = commands.pop().unwrap().job_id;
    agent.start(&house, job_id).await;
    agent.end(&house, job_id, OutcomeClass::WrongPassword, JobSummary::default()).await;
    assert_eq!(pass(&house, 6 * HOUR).await, [], "waits for its cadence");
    let slots: Vec<_> = jobs(&house, repo, JobKind::Forget).await.iter().map(|job| job.slot).collect();
    assert!(slots.len() == 4 && slots.windows(2).all(|pair| pair[0] == pair[1]), "{slots:?}");
}
