//! Every message of protocol 1, as it was released: these files stay for ever, and every later build must read them.
//!
//! A new message gets its file with `RM_BLESS=1 cargo test -p restic-manager-core --test wire_goldens`; a file that exists is never
//! rewritten.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test that cannot go on panics, and may ask the environment

use std::collections::BTreeSet;
use std::path::PathBuf;

use restic_manager_core::id::{GroupId, HostId, JobId, RepoId, ScheduleId, SpoolId};
use restic_manager_core::model::*;
use restic_manager_core::restic::{OutcomeClass, Progress};
use restic_manager_core::secret::Secret;
use restic_manager_core::text::{ExcludePattern, ResticHost, SourcePath, Tag};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + second * 1000)
}

fn job(n: u8) -> JobId {
    JobId::mint(at(0), [n; 10])
}

fn repo() -> RepoId {
    RepoId::mint(at(0), [0x20; 10])
}

fn run_key() -> RunKey {
    RunKey {
        schedule_id: ScheduleId::mint(at(0), [0x30; 10]),
        group_id: GroupId::mint(at(0), [0x40; 10]),
        repo_id: repo(),
        slot: at(60),
    }
}

fn hex(digit: &str) -> String {
    digit.repeat(64)
}

fn backup() -> BackupSpec {
    BackupSpec {
        tag: Tag::new("home").unwrap(),
        includes: vec![SourcePath::new("/home").unwrap()],
        excludes: vec![ExcludePattern::new("*.tmp").unwrap()],
        options: BackupOptions { exclude_caches: true, one_file_system: false },
    }
}

fn hello() -> Hello {
    Hello {
        protocol: 1,
        versions: AgentVersions {
            agent: "0.1.0".into(),
            restic: Some("0.19.1".into()),
            restic_problem: None,
            os: "linux".into(),
            arch: "x86_64".into(),
        },
        machine_id: "6d616368696e65".into(),
        boot_id: "boot-1".into(),
        os_hostname: "web1".into(),
        clock: at(1),
        spool_id: SpoolId::mint(at(0), [0x50; 10]),
        first_seq: 8,
        last_seq: 12,
        running_jobs: vec![RunningJob { job_id: job(1), started_at: at(0) }],
        spooled_jobs: vec![job(2)],
        claims: vec![SlotClaim { run: run_key(), attempt: 1, job_id: job(1) }],
        schedule_version: 3,
    }
}

fn lock() -> SeenLock {
    SeenLock {
        id: hex("d"),
        hostname: "web1".into(),
        username: "root".into(),
        pid: 4711,
        exclusive: true,
        time: at(3),
        owner: LockOwner::EndedRun,
    }
}

fn maintenance_stats() -> RepoStats {
    RepoStats {
        last_check: Some(CheckStatus::ErrorsFound),
        last_check_at: Some(at(4)),
        last_check_subset_pct: Some(5),
        last_prune_at: Some(at(5)),
        locks: Some(vec![lock()]),
        locks_seen_at: Some(at(6)),
        ..RepoStats::default()
    }
}

fn forget_finished() -> JobFinished {
    let decision =
        SnapshotDecision { snapshot_id: hex("e"), time: at(1), keeps: vec!["daily snapshot".into()] };
    let result = ForgetResult {
        group_id: run_key().group_id,
        restic_host: ResticHost::new("web1").unwrap(),
        tag: Tag::new("home").unwrap(),
        class: OutcomeClass::Ok,
        message: "2 snapshots are gone".into(),
        planned: 2,
        removed: 2,
        kept: 1,
        decisions: vec![decision],
    };
    JobFinished {
        job_id: job(1),
        at: at(9),
        state: FinalState::Succeeded,
        class: OutcomeClass::Ok,
        exit_code: Some(0),
        message: "2 snapshots are gone".into(),
        hint: None,
        summary: JobSummary {
            check: Some(CheckStatus::Ok),
            check_subset_pct: Some(5),
            forget: vec![result],
            prune: Some(PruneResult { removed_bytes: Some(7), remaining_bytes: Some(8) }),
            locks: vec![lock()],
            locks_removed: Some(1),
            ..JobSummary::default()
        },
        run: None,
    }
}

fn from_agents() -> Vec<(&'static str, Option<u64>, AgentMessage)> {
    let finished = JobFinished {
        job_id: job(1),
        at: at(9),
        state: FinalState::Warning,
        class: OutcomeClass::Partial,
        exit_code: Some(3),
        message: "2 items could not be read".into(),
        hint: Some("look in the log".into()),
        summary: JobSummary {
            snapshot_id: Some(hex("a")),
            files_new: Some(4),
            bytes_added: Some(4096),
            unreadable_items: Some(2),
            seconds: Some(1.5),
            ..JobSummary::default()
        },
        run: Some(SlotClaim { run: run_key(), attempt: 2, job_id: job(1) }),
    };
    let line = LogLine { n: 0, at: at(2), stream: LogStream::Stderr, text: "a \"line\" ü".into() };
    let progress = Progress { percent: 12.5, files_done: 1, files_total: 8, ..Progress::default() };
    let stats = RepoStats {
        total_size_bytes: Some(1 << 40),
        size_kind: Some(StatsKind::ReferencedData),
        snapshot_count: Some(7),
        measured_at: Some(at(8)),
        ..RepoStats::default()
    };
    let snapshot = Snapshot {
        id: hex("b").parse().unwrap(),
        time: at(7),
        hostname: "web1".into(),
        username: Some("root".into()),
        tags: vec!["home".into()],
        paths: vec!["/home".into()],
        size_bytes: Some(12),
        files: None,
        added_bytes: None,
    };
    let restic_id = ResticRepoId::new(hex("c")).unwrap();
    vec![
        ("hello", None, AgentMessage::Hello(Box::new(hello()))),
        ("heartbeat", None, AgentMessage::Heartbeat(Heartbeat { clock: at(3) })),
        (
            "schedule.fire",
            Some(1),
            AgentMessage::ScheduleFire(ScheduleFire {
                schedule_id: run_key().schedule_id,
                slot: at(60),
                missed: 2,
            }),
        ),
        ("schedule.ack", Some(2), AgentMessage::ScheduleAck(ScheduleAck { schedule_version: 3 })),
        (
            "job.refused",
            Some(3),
            AgentMessage::JobRefused(JobRefused {
                job_id: job(1),
                reason: RefusedReason::SupersededBy { job_id: job(2) },
            }),
        ),
        (
            "job.started",
            Some(4),
            AgentMessage::JobStarted(JobStarted { job_id: job(1), at: at(1), run: None }),
        ),
        (
            "job.started.after",
            Some(4),
            AgentMessage::JobStarted(JobStarted { job_id: job(1), at: at(1), run: None }),
        ),
        (
            "job.started.own",
            Some(4),
            AgentMessage::JobStarted(JobStarted {
                job_id: job(1),
                at: at(1),
                run: Some(SlotClaim { run: run_key(), attempt: 2, job_id: job(1) }),
            }),
        ),
        ("job.progress", None, AgentMessage::JobProgress(JobProgress { job_id: job(1), progress })),
        ("log.stream", Some(5), AgentMessage::LogStream(LogBatch { job_id: job(1), lines: vec![line] })),
        ("log.gap", Some(6), AgentMessage::LogGap(LogGap { job_id: job(1), from: 10, to: 20 })),
        (
            "repo.stats",
            Some(7),
            AgentMessage::RepoStats(RepoStatsReport {
                job_id: Some(job(1)),
                repo_id: repo(),
                restic_id: Some(restic_id),
                stats,
            }),
        ),
        (
            "repo.stats.maintenance",
            Some(7),
            AgentMessage::RepoStats(RepoStatsReport {
                job_id: Some(job(1)),
                repo_id: repo(),
                restic_id: None,
                stats: maintenance_stats(),
            }),
        ),
        ("job.finished.forget", Some(9), AgentMessage::JobFinished(Box::new(forget_finished()))),
        (
            "snapshots.report",
            Some(8),
            AgentMessage::SnapshotsReport(SnapshotsReport {
                job_id: Some(job(1)),
                repo_id: repo(),
                listed_at: at(8),
                total: 1,
                snapshots: vec![snapshot],
            }),
        ),
        ("job.finished", Some(9), AgentMessage::JobFinished(Box::new(finished))),
    ]
}

fn from_servers() -> Vec<(&'static str, ServerMessage)> {
    let credential = CredentialSecret {
        url: "rest:https://backup.example.net/web1/".into(),
        password: Secret::new("correct horse"),
        rest_user: Some("web1".into()),
        rest_password: Some(Secret::new("battery staple")),
        env: [("AWS_ACCESS_KEY_ID".to_owned(), Secret::new("AKIA"))].into(),
    };
    let plan = ScheduleSet {
        schedule_version: 3,
        schedules: vec![PlanSchedule {
            schedule_id: run_key().schedule_id,
            cron: "30 2 * * *".parse().unwrap(),
            timezone: "Europe/Berlin".parse().unwrap(),
            since: at(0),
            group_ids: vec![run_key().group_id],
            repo_ids: vec![repo()],
        }],
        groups: vec![PlanGroup {
            group_id: run_key().group_id,
            backup: backup(),
            retry_max: 3,
            retry_backoff_seconds: 60,
        }],
        repos: vec![PlanRepo {
            repo_id: repo(),
            role: Role::Primary,
            restic_host: ResticHost::new("web1").unwrap(),
        }],
        limit_upload_kib: Some(1024),
        limit_download_kib: None,
    };
    let command = |spec| {
        ServerMessage::CommandRun(Box::new(CommandRun {
            job_id: job(1),
            epoch: 5,
            repo_id: repo(),
            restic_host: ResticHost::new("web1").unwrap(),
            run: Some(run_key()),
            attempt: 1,
            requires_admin_creds: false,
            auto_unlock: AutoUnlock::Off,
            limit_upload_kib: Some(1024),
            limit_download_kib: None,
            spec,
        }))
    };
    vec![
        (
            "welcome",
            ServerMessage::Welcome(Welcome {
                protocol: 1,
                epoch: 5,
                server_version: "0.1.0".into(),
                host_id: HostId::mint(at(0), [0x10; 10]),
                clock: at(1),
                spool_id: SpoolId::mint(at(0), [0x50; 10]),
                acked_seq: 7,
                heartbeat_every: 30_000,
            }),
        ),
        ("ack", ServerMessage::Ack(Ack { seq: 9, rejected: vec![(8, "unknown type `x`".into())] })),
        (
            "config.update",
            ServerMessage::ConfigUpdate(Box::new(ConfigUpdate {
                repo_id: repo(),
                kind: CredentialKind::Repo,
                revision: 2,
                credential: Some(credential),
                restic_id: None,
                keep: true,
            })),
        ),
        ("schedule.set", ServerMessage::ScheduleSet(Box::new(plan))),
        ("command.run.backup", command(JobSpec::Backup(backup()))),
        ("command.run.init", command(JobSpec::Init)),
        ("command.run.stats", command(JobSpec::Stats)),
        ("command.run.forget", command(forget())),
        ("command.run.prune", command(JobSpec::Prune)),
        ("command.run.check", command(JobSpec::Check(CheckSpec { subset_pct: 5 }))),
        ("command.run.unlock", command(JobSpec::Unlock(UnlockSpec { scope: UnlockScope::Attested }))),
        ("command.cancel", ServerMessage::CommandCancel(CommandCancel { job_id: job(1) })),
        (
            "error",
            ServerMessage::Error(WireError {
                code: "identity_in_use".into(),
                message: "another machine has these credentials".into(),
                hint: Some("enrol this one anew".into()),
            }),
        ),
    ]
}

fn forget() -> JobSpec {
    let group = ForgetGroupSpec {
        group_id: run_key().group_id,
        restic_host: ResticHost::new("web1").unwrap(),
        tag: Tag::new("home").unwrap(),
        keep: serde_json::from_str(r#"{"daily":7,"within":"2d"}"#).unwrap(),
    };
    JobSpec::Forget(ForgetSpec { groups: vec![group], mode: ForgetMode::Apply })
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

/// The released text of a message; made now only when there is none and somebody asked for it.
fn golden(name: &str, text: &str) -> String {
    let path = folder().join(format!("{name}.json"));
    if !path.exists() && std::env::var_os("RM_BLESS").is_some() {
        std::fs::write(&path, format!("{text}\n")).unwrap();
    }
    let released = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; make it with RM_BLESS=1", path.display()));
    released.trim_end().to_owned()
}

#[test]
fn agents_write_and_servers_read_what_was_released() {
    for (name, seq, message) in from_agents() {
        let after = name.ends_with(".after").then_some(2);
        let frame = Frame { v: 1, seq, after, message };
        let released = golden(&format!("agent.{name}"), &frame.to_text());
        assert_eq!(frame.to_text(), released, "{name} is written differently from the release");
        assert_eq!(decode_agent(&released), Ok(Decoded::Message(frame)), "{name} is read differently");
    }
}

#[test]
fn servers_write_and_agents_read_what_was_released() {
    for (name, message) in from_servers() {
        let frame = Frame::lossy(message);
        let released = golden(&format!("server.{name}"), &frame.to_text());
        assert_eq!(frame.to_text(), released, "{name} is written differently from the release");
        assert_eq!(decode_server(&released), Ok(Decoded::Message(frame)), "{name} is read differently");
    }
}

#[test]
fn a_message_names_the_job_that_its_text_names() {
    let mut named = 0;
    for (name, _, message) in from_agents() {
        let text = serde_json::to_value(&message).unwrap();
        let job_id = text["payload"].get("job_id").map(|id| serde_json::from_value(id.clone()).unwrap());
        assert_eq!(message.job_id(), job_id, "{name}");
        named += usize::from(job_id.is_some());
    }
    assert_eq!(named, 12);
}

#[test]
fn a_command_is_of_the_kind_that_its_text_says() {
    let mut kinds = BTreeSet::new();
    for (name, message) in from_servers() {
        let ServerMessage::CommandRun(command) = message else { continue };
        let text = serde_json::to_value(&command.spec).unwrap();
        assert_eq!(text["kind"], command.spec.kind().as_str(), "{name}");
        kinds.insert(command.spec.kind());
    }
    assert_eq!(kinds.len(), 7);
}

#[test]
fn every_golden_file_belongs_to_a_message_that_is_tested() {
    let agents = from_agents().into_iter().map(|(name, ..)| format!("agent.{name}.json"));
    let servers = from_servers().into_iter().map(|(name, _)| format!("server.{name}.json"));
    let tested: BTreeSet<String> = agents.chain(servers).collect();
    let files: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, tested);
}
