//! Maintenance over the memory store: cadences in virtual time, holds, credentials, locks, clocks.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

mod house;

use std::collections::BTreeMap;

use house::*;
use restic_manager_core::api::{CredentialWrite, RepoPatch, UnlockRequest};
use restic_manager_core::id::{GroupId, HostId, JobId, RepoId, SpoolId};
use restic_manager_core::maintenance::{MaintenanceKind, MaintenanceSettings};
use restic_manager_core::model::*;
use restic_manager_core::restic::{OutcomeClass, SnapshotId};
use restic_manager_core::retention::KeepPolicy;
use restic_manager_core::schedule::Zone;
use restic_manager_core::secret::Secret;
use restic_manager_core::time::{DAY, HOUR, MINUTE, Timestamp};
use restic_manager_core::wire::*;
use restic_manager_server::app::{AdminCredentialWritten, MaintenanceAsk};
use restic_manager_server::clock::Clock;
use restic_manager_server::random::Random;
use restic_manager_store::{AuditFilter, JobFilter, PageRequest, PutCredential};

fn weekly() -> KeepPolicy {
    serde_json::from_str(r#"{"weekly": 4}"#).unwrap()
}

fn admin() -> CredentialWrite {
    CredentialWrite {
        url: "rest:http://admin:planted-admin@127.0.0.1:8001/r/".into(),
        password: Secret::new("planted-password"),
        rest_user: None,
        rest_password: None,
        env: BTreeMap::new(),
    }
}

/// A host that is connected, and what its agent counts.
struct Agent {
    host: Host,
    spool: SpoolId,
    seq: u64,
}

impl Agent {
    async fn new(house: &House, name: &str) -> Self {
        let host = house.host(name).await;
        let spool = SpoolId::mint(house.clock.now(), house.random.id_bytes());
        let agent = Self { host, spool, seq: 0 };
        agent.connect(house).await;
        agent
    }

    async fn connect(&self, house: &House) -> Vec<ServerMessage> {
        let host = house.store.host(self.host.id).await.unwrap().unwrap();
        let mut hello = house.hello(&host, self.spool);
        hello.machine_id = format!("machine-{}", self.host.name);
        house.connect(&host, &hello).await
    }

    async fn report(&mut self, house: &House, messages: Vec<AgentMessage>) {
        let from = self.seq + 1;
        self.seq += messages.len() as u64;
        assert_eq!(house.report(&self.host, self.spool, from, messages).await, []);
    }

    async fn start(&mut self, house: &House, job_id: JobId) {
        let at = house.clock.now();
        self.report(house, vec![AgentMessage::JobStarted(JobStarted { job_id, at })]).await;
    }

    async fn end(&mut self, house: &House, job_id: JobId, class: OutcomeClass, summary: JobSummary) {
        let state = if class == OutcomeClass::Ok { FinalState::Succeeded } else { FinalState::Failed };
        let finished = JobFinished {
            job_id,
            at: house.clock.now(),
            state,
            class,
            exit_code: Some(0),
            message: "said so".into(),
            hint: None,
            summary,
            run: None,
        };
        self.report(house, vec![AgentMessage::JobFinished(Box::new(finished))]).await;
    }

    /// Runs a job from its start to a good end.
    async fn run(&mut self, house: &House, job_id: JobId) {
        self.start(house, job_id).await;
        let summary = JobSummary { snapshot_id: Some("a".repeat(64)), ..JobSummary::default() };
        self.end(house, job_id, OutcomeClass::Ok, summary).await;
    }
}

/// What the engine does in a round of its loop.
async fn look(house: &House) -> Vec<CommandRun> {
    house.engine.maintain().await.unwrap();
    house.engine.tick().await.unwrap();
    house.take_commands()
}

/// Lets time pass as the loop sees it.
async fn pass(house: &House, millis: i64) -> Vec<CommandRun> {
    let mut commands = Vec::new();
    let mut left = millis;
    while left > 0 {
        house.clock.advance(left.min(30 * MINUTE));
        left -= 30 * MINUTE;
        commands.extend(look(house).await);
    }
    commands
}

/// A connected host with a repository of its own and a group that has a policy; the init job is over.
async fn ready(house: &House) -> (Agent, RepoId, GroupId) {
    let mut agent = Agent::new(house, "web1").await;
    let repo = house.repo("vault").await;
    house.attach(&agent.host, repo, Role::Primary).await;
    let group = house.keeping_group(&agent.host, "Home", weekly()).await;
    settle(house, &mut agent).await;
    let opened = RepoStatsReport {
        job_id: None,
        repo_id: repo,
        restic_id: Some(ResticRepoId::new("c".repeat(64)).unwrap()),
        stats: RepoStats::default(),
    };
    agent.report(house, vec![AgentMessage::RepoStats(opened)]).await;
    (agent, repo, group)
}

/// Runs whatever the host has to do at present.
async fn settle(house: &House, agent: &mut Agent) {
    loop {
        let commands = look(house).await;
        if commands.is_empty() {
            return;
        }
        for command in commands {
            agent.run(house, command.job_id).await;
        }
    }
}

async fn set(house: &House, repo: RepoId, change: impl FnOnce(&mut MaintenanceSettings)) {
    let mut settings = house.app.maintenance(repo).await.unwrap();
    change(&mut settings);
    house.app.put_maintenance(&house.caller, repo, settings).await.unwrap();
}

/// Only this kind fires.
async fn only(house: &House, repo: RepoId, kind: MaintenanceKind) {
    set(house, repo, |settings| {
        settings.policy.forget.enabled = kind == MaintenanceKind::Forget;
        settings.policy.prune.enabled = kind == MaintenanceKind::Prune;
        settings.policy.check.enabled = kind == MaintenanceKind::Check;
    })
    .await;
}

async fn set_admin(house: &House, repo: RepoId) {
    let written = house.app.put_admin_credential(&house.caller, repo, admin()).await.unwrap();
    assert!(matches!(written, AdminCredentialWritten::Changed(_)));
}

async fn hold(house: &House, repo: RepoId, kind: MaintenanceKind) -> Option<Hold> {
    let why = house.app.why(repo).await.unwrap();
    why.kinds.into_iter().find(|view| view.kind == kind).unwrap().hold
}

async fn jobs(house: &House, repo: RepoId, kind: JobKind) -> Vec<Job> {
    let filter = JobFilter { repo_id: Some(repo), kind: Some(kind), ..JobFilter::default() };
    let rows = house.store.jobs(&filter, PageRequest::first(500)).await.unwrap().items;
    rows.into_iter().rev().map(|row| row.job).collect()
}

fn kinds(commands: &[CommandRun]) -> Vec<JobKind> {
    commands.iter().map(|command| command.spec.kind()).collect()
}

async fn press(house: &House, repo: RepoId, ask: MaintenanceAsk) -> JobId {
    house.app.ask_maintenance(&house.caller, repo, ask).await.unwrap().job_id
}

async fn refusal(house: &House, repo: RepoId, ask: MaintenanceAsk) -> (String, String) {
    let error = house.app.ask_maintenance(&house.caller, repo, ask).await.unwrap_err();
    (error.code().to_owned(), error.to_string())
}

// ---- cadence ----

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

// ---- check and prune ----

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

// ---- what changes while a job waits ----

#[tokio::test]
async fn a_forget_that_waited_runs_the_policy_of_the_day_or_not_at_all() {
    let house = House::new();
    let (mut agent, repo, group) = ready(&house).await;
    let write = |keep: KeepPolicy| restic_manager_core::api::SourceGroupWrite {
        name: "Home".parse().unwrap(),
        tag: None,
        includes: vec!["/srv".parse().unwrap()],
        excludes: Vec::new(),
        options: BackupOptions::default(),
        keep,
        retry_max: 3,
        retry_backoff_seconds: 60,
    };
    let backup = house.app.run_group(&house.caller, agent.host.id, group, None).await.unwrap()[0].job_id;
    look(&house).await;
    let forget = press(&house, repo, MaintenanceAsk::Forget).await;
    assert_eq!(look(&house).await, []);
    let looser: KeepPolicy = serde_json::from_str(r#"{"daily": 30, "weekly": 8}"#).unwrap();
    house.app.replace_group(&house.caller, agent.host.id, group, write(looser)).await.unwrap();
    agent.run(&house, backup).await;
    let command = look(&house).await.pop().unwrap();
    let JobSpec::Forget(spec) = &command.spec else { panic!("{command:?}") };
    assert_eq!((command.job_id, spec.mode, spec.groups.len()), (forget, ForgetMode::Apply, 1));
    assert_eq!((spec.groups[0].keep, spec.groups[0].restic_host.as_str()), (looser, "web1"));
    agent.run(&house, forget).await;

    let backup = house.app.run_group(&house.caller, agent.host.id, group, None).await.unwrap()[0].job_id;
    look(&house).await;
    let forget = press(&house, repo, MaintenanceAsk::Forget).await;
    house.app.replace_group(&house.caller, agent.host.id, group, write(KeepPolicy::default())).await.unwrap();
    agent.run(&house, backup).await;
    assert_eq!(look(&house).await, []);
    assert_eq!(house.state(forget).await, JobState::Withdrawn);
    assert_eq!(refusal(&house, repo, MaintenanceAsk::Forget).await.0, "no_policies");
}

#[tokio::test]
async fn a_cadence_disabled_while_its_job_waited_withdraws_it() {
    let house = House::new();
    let (mut agent, repo, group) = ready(&house).await;
    only(&house, repo, MaintenanceKind::Check).await;
    set(&house, repo, |settings| settings.policy.check.cron = "0 5 * * *".parse().unwrap()).await;
    let backup = house.app.run_group(&house.caller, agent.host.id, group, None).await.unwrap()[0].job_id;
    assert_eq!(kinds(&pass(&house, DAY).await), [JobKind::Backup]);
    let check = jobs(&house, repo, JobKind::Check).await[0].id;
    assert_eq!(house.state(check).await, JobState::Queued);
    set(&house, repo, |settings| settings.policy.check.enabled = false).await;
    agent.run(&house, backup).await;
    assert_eq!(look(&house).await, []);
    assert_eq!(house.state(check).await, JobState::Withdrawn);
}

#[tokio::test]
async fn a_snapshot_from_the_future_holds_forget() {
    let house = House::new();
    let (mut agent, repo, _) = ready(&house).await;
    only(&house, repo, MaintenanceKind::Forget).await;
    let listing = |at: Timestamp, time: Timestamp| {
        AgentMessage::SnapshotsReport(SnapshotsReport {
            job_id: None,
            repo_id: repo,
            listed_at: at,
            total: 1,
            snapshots: vec![Snapshot {
                id: "b".repeat(64).parse::<SnapshotId>().unwrap(),
                time,
                hostname: "web1".into(),
                username: None,
                tags: vec!["home".into()],
                paths: vec!["/srv".into()],
                size_bytes: None,
                files: None,
            }],
        })
    };
    let now = house.clock.now();
    agent.report(&house, vec![listing(now, now + 30 * DAY)]).await;
    assert_eq!(pass(&house, DAY).await, []);
    assert_eq!(hold(&house, repo, MaintenanceKind::Forget).await, Some(Hold::ClockSuspect));
    assert_eq!(refusal(&house, repo, MaintenanceAsk::Forget).await.0, "clock_suspect");
    let now = house.clock.now();
    agent.report(&house, vec![listing(now, now + HOUR)]).await;
    assert_eq!(kinds(&pass(&house, HOUR).await), [JobKind::Forget]);
}

// ---- clocks ----

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

// ---- the admin credential ----

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
    let patch = RepoPatch { runner: Some(place), ..RepoPatch::default() };
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

// ---- locks ----

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
    let patch = RepoPatch { runner: Some(place), ..RepoPatch::default() };
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

// ---- refusals ----

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
