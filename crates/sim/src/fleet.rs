//! The fleet that a seed stands for: hosts, repositories, schedules, cadences.

use std::collections::BTreeMap;
use std::sync::Arc;

use restic_manager_core::api::{
    AttachmentWrite, CredentialWrite, RepoWrite, ScheduleWrite, SourceGroupWrite,
};
use restic_manager_core::id::{AuditId, EnrollmentId, GroupId, HostId, RepoId, SpoolId};
use restic_manager_core::maintenance::MaintenanceSettings;
use restic_manager_core::model::{
    Actor, AuditEntry, BackupOptions, Host as HostRow, HostFacts, JobKind, Role, Schedule,
};
use restic_manager_core::retention::KeepPolicy;
use restic_manager_core::schedule::Zone;
use restic_manager_core::secret::Secret;
use restic_manager_core::text::{DisplayName, SourcePath};
use restic_manager_core::time::{DAY, HOUR, MINUTE};
use restic_manager_server::app::App;
use restic_manager_server::random::Random;
use restic_manager_store::{EnrollmentRow, TokenHash};

use crate::agent::Host;
use crate::fabric::Event;
use crate::fates::any_cadence;
use crate::history::{Life, Upkeep, Version};
use crate::network::Net;
use crate::now_or_never;
use crate::when::{BEGIN, Cadence, When};
use crate::world::World;

/// How large a history is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Machines.
    pub hosts: usize,
    /// Repositories.
    pub repos: usize,
    /// How long things go wrong, in milliseconds.
    pub lasts: i64,
    /// How often, in milliseconds on the average.
    pub gap: i64,
}

impl Size {
    /// The size that belongs to a seed.
    pub fn of(seed: u64, dice: &mut crate::dice::Dice) -> Self {
        let pick =
            |dice: &mut crate::dice::Dice, low, high| usize::try_from(dice.between(low, high)).unwrap_or(1);
        // Two of the 200 that the tests play are large; thousands have their share.
        let (hosts, days) = match seed % 40 {
            _large if seed % 100 == 13 => (pick(dice, 200, 260), 1),
            7 => (pick(dice, 25, 60), 2),
            3 => (pick(dice, 1, 3), dice.between(40, 70)),
            5 | 23 => (pick(dice, 2, 5), dice.between(10, 20)),
            _typical => (pick(dice, 2, 8), dice.between(1, 6)),
        };
        let repos = (1 + dice.index(1 + hosts.div_ceil(3))).min(hosts);
        let strikes = dice.between(30, 130) * i64::try_from(1 + hosts / 8).unwrap_or(1);
        Self { hosts, repos, lasts: days * DAY, gap: days * DAY / strikes }
    }
}

/// What cannot be built is no history.
fn built<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the fleet cannot be built: {what}: {error}"),
    }
}

fn name(text: &str) -> DisplayName {
    built(text, DisplayName::new(text))
}

fn credential(user: &str) -> CredentialWrite {
    CredentialWrite {
        url: format!("rest:http://{user}:pretended@127.0.0.1:8000/r/"),
        password: Secret::new("pretended"),
        rest_user: None,
        rest_password: None,
        env: BTreeMap::new(),
    }
}

impl World {
    /// Builds the fleet; agents start within the first minutes.
    pub fn build(&mut self, size: Size) {
        self.server.start(&mut self.fabric);
        let Some(app) = self.server.house.as_ref().map(|house| Arc::clone(&house.app)) else { return };
        for at in 0..size.hosts {
            self.enrol(at);
        }
        for n in 0..size.repos {
            let write = RepoWrite { name: name(&format!("repo{n}")) };
            let view = built("a repository", now_or_never(app.create_repo(&self.caller, write)));
            self.repos.push(view.repo.id);
        }
        for at in 0..size.hosts {
            self.furnish(&app, at);
        }
        for n in 0..size.repos {
            self.keep_up(&app, self.repos[n]);
        }
        self.fabric.after(size.lasts, Event::Fate(crate::fates::Fate::Heals));
        self.fabric.after(self.gap, Event::Fate(crate::fates::Fate::Next));
        self.server.flush(&mut self.fabric);
    }

    fn enrol(&mut self, at: usize) {
        let (now, random) = (self.fabric.wall(), Arc::clone(&self.server.random));
        let text = format!("host{at}");
        let row = HostRow {
            id: HostId::mint(now, random.id_bytes()),
            name: name(&text),
            tags: Vec::new(),
            facts: HostFacts { machine_id: Some(format!("machine-{text}")), ..HostFacts::default() },
            limit_upload_kib: None,
            limit_download_kib: None,
            created_at: now,
            last_seen_at: None,
            schedule_version: 0,
            schedule_version_acked: 0,
            revision: 0,
        };
        let (mut once, mut token) = ([0; 32], [0; 32]);
        random.fill(&mut once);
        random.fill(&mut token);
        let audit = |action: &str| AuditEntry {
            id: AuditId::mint(now, random.id_bytes()),
            at: now,
            actor: Actor::system(),
            action: action.into(),
            subject_kind: "host".into(),
            subject_id: row.id.to_string(),
            detail: Default::default(),
        };
        let enrollment = EnrollmentRow {
            id: EnrollmentId::mint(now, random.id_bytes()),
            hash: TokenHash(once),
            host_name: None,
            created_at: now,
            expires_at: now + HOUR,
            used_at: None,
            host_id: None,
        };
        let store = self.server.store();
        built("an enrolment", now_or_never(store.create_enrollment(enrollment, audit("enrollment.created"))));
        let once = TokenHash(once);
        let enrolled = store.enroll(&once, row.clone(), TokenHash(token), now, audit("host.enrolled"));
        built("a host", now_or_never(enrolled));
        self.server.hosts.push(row.id);
        let spool = SpoolId::mint(now, random.id_bytes());
        self.hosts.push(Host::new(at, row.id, text, spool));
        self.fabric.nets.push(Net::default());
        let wait = self.fabric.dice.between(1_000, 5 * MINUTE);
        self.fabric.after(wait, Event::AgentStarts(at));
    }

    fn furnish(&mut self, app: &App, at: usize) {
        let host = self.server.hosts[at];
        let first = if at < self.repos.len() { at } else { self.fabric.dice.index(self.repos.len()) };
        let mut places = vec![(self.repos[first], Role::Primary)];
        if self.repos.len() > 1 && self.fabric.dice.chance(250) {
            places.push((self.repos[(first + 1) % self.repos.len()], Role::Copy));
        }
        for (repo, role) in &places {
            let write = AttachmentWrite {
                role: *role,
                restic_host: None,
                append_only: None,
                credential: Some(credential(&format!("host{at}"))),
            };
            built("an attachment", now_or_never(app.put_attachment(&self.caller, host, *repo, write)));
        }
        let groups: Vec<GroupId> =
            (0..1 + usize::from(self.fabric.dice.chance(300))).map(|n| self.group(app, host, n)).collect();
        for n in 0..1 + usize::from(self.fabric.dice.chance(300)) {
            let cadence = any_cadence(&mut self.fabric);
            let group_ids = if n == 0 { groups.clone() } else { vec![groups[0]] };
            let targets = group_ids.len() * places.len();
            let write = ScheduleWrite {
                name: name(&format!("schedule{n}")),
                cron: built("a cadence", cadence.cron().parse()),
                timezone: zone(&cadence),
                enabled: true,
                group_ids,
                repo_ids: None,
            };
            let view = built("a schedule", now_or_never(app.create_schedule(&self.caller, host, write)));
            let versions = vec![Version { since: BEGIN + self.fabric.now, cadence: Some(cadence) }];
            self.fabric.history.schedules.insert(view.schedule.id, Life { host: at, targets, versions });
        }
    }

    fn group(&mut self, app: &App, host: HostId, n: usize) -> GroupId {
        let keep: KeepPolicy = KeepPolicy { daily: std::num::NonZero::new(7), ..KeepPolicy::default() };
        let write = SourceGroupWrite {
            name: name(&format!("group{n}")),
            tag: None,
            includes: vec![built("a path", SourcePath::new("/srv"))],
            excludes: Vec::new(),
            options: BackupOptions::default(),
            keep,
            retry_max: self.fabric.dice.pick(&[1, 3, 5]),
            retry_backoff_seconds: self.fabric.dice.pick(&[10, 60, 600]),
        };
        built("a group", now_or_never(app.create_group(&self.caller, host, write))).id
    }

    fn keep_up(&mut self, app: &App, repo: RepoId) {
        let dice = &mut self.fabric.dice;
        let zone_at = dice.index(crate::when::ZONES.len());
        let mut any = |whens: &[When]| Cadence { when: dice.pick(whens), zone: zone_at };
        let cadences = vec![
            (JobKind::Forget, any(&[When::Daily(3, 0), When::Hours(6, 20), When::Daily(12, 40)])),
            (JobKind::Prune, any(&[When::Weekly(0, 4, 0), When::Daily(4, 30), When::Hours(2, 10)])),
            (JobKind::Check, any(&[When::Weekly(3, 5, 0), When::Daily(6, 0), When::Hours(3, 50)])),
        ];
        let mut settings = MaintenanceSettings::standard(zone(&cadences[0].1));
        settings.policy.forget.cron = built("a cadence", cadences[0].1.cron().parse());
        settings.policy.prune.cron = built("a cadence", cadences[1].1.cron().parse());
        settings.policy.check.cron = built("a cadence", cadences[2].1.cron().parse());
        settings.policy.spread_minutes = u16::try_from(dice.pick(&[0, 20, 60])).unwrap_or(0);
        built(
            "an admin credential",
            now_or_never(app.put_admin_credential(&self.caller, repo, credential("admin"))),
        );
        built("a cadence", now_or_never(app.put_maintenance(&self.caller, repo, settings)));
        self.fabric.history.upkeep.insert(repo, Upkeep { cadences });
    }
}

fn zone(cadence: &Cadence) -> Zone {
    built("a zone", cadence.zone_name().parse())
}

/// A schedule as it is to become; none disables it.
pub fn changed(schedule: Schedule, new: Option<Cadence>) -> ScheduleWrite {
    let (cron, timezone) = match &new {
        Some(cadence) => (built("a cadence", cadence.cron().parse()), zone(cadence)),
        None => (schedule.cron, schedule.timezone),
    };
    ScheduleWrite {
        name: schedule.name,
        cron,
        timezone,
        enabled: new.is_some(),
        group_ids: schedule.group_ids,
        repo_ids: schedule.repo_ids,
    }
}
