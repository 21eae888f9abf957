//! An enrolled agent with a plan whose slot came long ago, and a server that is away for good.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::path::{Path, PathBuf};

use restic_manager_agent::ledger::Ledger;
use restic_manager_agent::secrets::Secrets;
use restic_manager_agent::server_url::{PlainHttp, ServerUrl};
use restic_manager_agent::spool::{DEFAULT_LIMIT, Spool};
use restic_manager_agent::state::{Enrolment, Identity, StateDir};
use restic_manager_core::id::{GroupId, HostId, RepoId, ScheduleId};
use restic_manager_core::model::{BackupOptions, CredentialKind, CredentialSecret, Role};
use restic_manager_core::schedule::Zone;
use restic_manager_core::secret::Secret;
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{
    AgentMessage, BackupSpec, ConfigUpdate, Decoded, PlanGroup, PlanRepo, PlanSchedule, ScheduleSet,
    decode_agent,
};

pub const THEN: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Where an enrolled agent lives.
pub struct Home {
    pub state: PathBuf,
    pub key_file: PathBuf,
}

/// What it backs up, and where to.
pub struct Target<'a> {
    pub source: &'a Path,
    pub repository: &'a str,
    pub password: &'a str,
}

/// Makes the state of an agent that was enrolled, got its plan and its credential, and then lost its server.
pub fn enrolled(root: &Path, target: &Target<'_>) -> Home {
    let home = Home { state: root.join("state"), key_file: root.join("agent.key") };
    let state = StateDir::open(&home.state).unwrap();
    let enrolment = Enrolment {
        server: ServerUrl::parse("http://127.0.0.1:1", PlainHttp::LoopbackOnly).unwrap(),
        host_id: HostId::mint(THEN, [9; 10]),
        name: "host".parse().unwrap(),
        machine_id: Identity::of_this_machine(&state).unwrap().machine_id,
        enrolled_at: THEN,
    };
    enrolment.save(&state).unwrap();
    let mut secrets = Secrets::open(&state.join("secrets.age"), &home.key_file).unwrap();
    secrets.set_token(Secret::new("rma_secret"));
    secrets.save().unwrap();
    let credential = CredentialSecret {
        url: target.repository.to_owned(),
        password: Secret::new(target.password),
        rest_user: None,
        rest_password: None,
        env: [].into(),
    };
    let update = ConfigUpdate {
        repo_id: repo_id(),
        kind: CredentialKind::Repo,
        revision: 1,
        credential: Some(credential),
        restic_id: None,
        keep: true,
    };
    secrets.apply(&update).unwrap();
    let mut ledger = Ledger::open(&state.folder("plan").unwrap(), THEN).unwrap();
    ledger.set_plan(plan(target.source)).unwrap();
    home
}

fn repo_id() -> RepoId {
    RepoId::mint(THEN, [1; 10])
}

fn plan(source: &Path) -> ScheduleSet {
    let group_id = GroupId::mint(THEN, [2; 10]);
    let backup = BackupSpec {
        tag: "t".parse().unwrap(),
        includes: vec![source.to_str().unwrap().parse().unwrap()],
        excludes: vec![],
        options: BackupOptions::default(),
    };
    ScheduleSet {
        schedule_version: 1,
        schedules: vec![PlanSchedule {
            schedule_id: ScheduleId::mint(THEN, [3; 10]),
            // Its newest slot is months old, and no further one comes while a test runs.
            cron: "0 0 1 1 *".parse().unwrap(),
            timezone: Zone::UTC,
            since: THEN,
            group_ids: vec![group_id],
            repo_ids: vec![repo_id()],
        }],
        groups: vec![PlanGroup { group_id, backup, retry_max: 20, retry_backoff_seconds: 1 }],
        repos: vec![PlanRepo { repo_id: repo_id(), role: Role::Primary, restic_host: "h".parse().unwrap() }],
        limit_upload_kib: Some(8_000),
        limit_download_kib: None,
    }
}

/// What the spool of an agent that does not run holds, in order.
pub fn told(state: &Path) -> Vec<AgentMessage> {
    let mut spool = Spool::open(&state.join("spool"), DEFAULT_LIMIT, THEN).unwrap();
    let texts: Vec<String> = (1..=spool.last_seq()).filter_map(|seq| spool.read(seq).unwrap()).collect();
    let message = |text: &String| match decode_agent(text) {
        Ok(Decoded::Message(frame)) => frame.message,
        other => panic!("{other:?}"),
    };
    texts.iter().map(message).collect()
}
