//! A small fleet with a row of every kind, written through the store as any other is.
//!
//! Whatever the store learns to keep joins here before the file of the next schema is made; the files that are there stay as they are.

use restic_manager_core::announce::{HexBytes, PendingState};
use restic_manager_core::id::{
    AttachmentId, EnrollmentId, GroupId, HostId, PendingHostId, RepoId, ScheduleId, SessionId, SpoolId,
    TokenId, UserId,
};
use restic_manager_core::maintenance::MaintenanceSettings;
use restic_manager_core::model::{
    AppendOnly, Attachment, BackupOptions, CredentialInfo, CredentialKind, Host, HostFacts, Repo,
    ResticRepoId, Role, Schedule, SourceGroup,
};
use restic_manager_core::retention::KeepPolicy;
use restic_manager_core::text::{DisplayName, ExcludePattern, LoginName, ResticHost, SourcePath, Tag};
use restic_manager_core::time::{HOUR, MINUTE};
use restic_manager_store::{
    AnnounceOutcome, AttachmentChange, Bootstrapped, EnrollmentRow, HostChange, PendingHostRow, PlanWritten,
    PutAttachment, PutCredential, Renamed, SealedCredential, SessionRow, Store, TakeSession, TokenCreated,
    TokenHash, TokenRow, UserRow,
};

use crate::sample::{NOW, audit, mint};
use crate::work;

pub(crate) const PASSWORD_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";
pub(crate) const COOKIE: TokenHash = TokenHash([1; 32]);
pub(crate) const API_TOKEN: TokenHash = TokenHash([2; 32]);
pub(crate) const REVOKED_TOKEN: TokenHash = TokenHash([3; 32]);
pub(crate) const OPEN_ENROLLMENT: TokenHash = TokenHash([4; 32]);
pub(crate) const AGENT_TOKEN: TokenHash = TokenHash([6; 32]);
/// The life of the agent's spool, and how far it was applied.
pub(crate) const SPOOL: [u8; 10] = [0x50; 10];

/// Writes it all.
pub(crate) async fn write(store: &dyn Store) {
    people(store).await;
    let fleet = Fleet {
        laptop: host(store, "Laptop", TokenHash([5; 32]), AGENT_TOKEN).await,
        archive: repo(store, "Archive").await,
        copies: repo(store, "Copies").await,
        spool: SpoolId::mint(NOW, SPOOL),
    };
    let laptop = fleet.laptop;
    let primary = attach(store, laptop, fleet.archive, Role::Primary).await;
    attach(store, laptop, fleet.copies, Role::Copy).await;
    credential(store, primary, CredentialKind::Admin).await;
    let plan = plan(store, laptop).await;
    settings(store, fleet.archive).await;
    session(store, &fleet).await;
    work::write(store, &fleet, &plan).await;
    work::departed(
        store,
        host(store, "Scrapped", TokenHash([7; 32]), TokenHash([8; 32])).await,
        fleet.archive,
    )
    .await;
    store.fact_or_insert("installation", "golden").await.unwrap();
}

/// Where the work is done.
pub(crate) struct Fleet {
    pub(crate) laptop: HostId,
    pub(crate) archive: RepoId,
    pub(crate) copies: RepoId,
    pub(crate) spool: SpoolId,
}

fn name(text: &str) -> DisplayName {
    DisplayName::new(text).unwrap()
}

async fn people(store: &dyn Store) {
    let user = UserRow {
        id: mint(UserId::mint),
        name: LoginName::new("ada").unwrap(),
        password_hash: PASSWORD_HASH.to_owned(),
        created_at: NOW,
    };
    let made = store.create_first_user(user.clone(), audit("user.created")).await.unwrap();
    assert_eq!(made, Bootstrapped::Created);
    let session = SessionRow {
        id: mint(SessionId::mint),
        hash: COOKIE,
        csrf_hash: TokenHash([11; 32]),
        user_id: user.id,
        created_at: NOW,
        expires_at: NOW + HOUR,
    };
    store.create_session(session, NOW, audit("session.opened")).await.unwrap();
    for (hash, text) in [(API_TOKEN, "scripts"), (REVOKED_TOKEN, "old scripts")] {
        let token = TokenRow {
            id: mint(TokenId::mint),
            hash,
            user_id: user.id,
            name: name(text),
            created_at: NOW,
            expires_at: NOW + HOUR,
            last_used_at: None,
            revoked_at: None,
        };
        let made = store.create_token(token.clone(), audit("token.created")).await.unwrap();
        assert_eq!(made, TokenCreated::Created);
        store.touch_token(token.id, NOW + MINUTE).await.unwrap();
        if hash == REVOKED_TOKEN {
            assert!(store.revoke_token(user.id, token.id, NOW, audit("token.revoked")).await.unwrap());
        }
    }
    enrollment(store, OPEN_ENROLLMENT).await;
    announcement(store).await;
}

/// The key of an agent that announced itself and waits.
pub(crate) const WAITING_KEY: HexBytes<32> = HexBytes([9; 32]);

async fn announcement(store: &dyn Store) {
    let row = PendingHostRow {
        id: mint(PendingHostId::mint),
        key: WAITING_KEY,
        challenge: HexBytes([10; 32]),
        facts: HostFacts { os_hostname: Some("kiosk".to_owned()), ..HostFacts::default() },
        address: "192.0.2.7".to_owned(),
        announced_at: NOW,
        expires_at: NOW + HOUR,
        state: PendingState::Waiting,
        host_id: None,
    };
    let announced = store.announce(row, 10, audit("host.announced")).await.unwrap();
    assert_eq!(announced, AnnounceOutcome::New);
}

async fn enrollment(store: &dyn Store, hash: TokenHash) {
    let row = EnrollmentRow {
        id: mint(EnrollmentId::mint),
        hash,
        host_name: Some(name("wanted")),
        created_at: NOW,
        expires_at: NOW + HOUR,
        used_at: None,
        host_id: None,
    };
    store.create_enrollment(row, audit("enrollment.created")).await.unwrap();
}

async fn host(store: &dyn Store, text: &str, key: TokenHash, agent_token: TokenHash) -> HostId {
    enrollment(store, key).await;
    let host = Host {
        id: mint(HostId::mint),
        name: name(text),
        tags: Vec::new(),
        facts: HostFacts::default(),
        limit_upload_kib: None,
        limit_download_kib: None,
        created_at: NOW,
        last_seen_at: None,
        schedule_version: 1,
        schedule_version_acked: 0,
        revision: 0,
    };
    let id = host.id;
    store.enroll(&key, host, agent_token, NOW, audit("host.enrolled")).await.unwrap();
    let change = HostChange {
        name: None,
        tags: Some(vec![Tag::new("office").unwrap()]),
        limit_upload_kib: Some(Some(2_048)),
        limit_download_kib: Some(Some(4_096)),
    };
    assert_eq!(store.change_host(id, change, audit("host.changed")).await.unwrap(), Renamed::Done);
    store.touch_hosts(&[(id, NOW + MINUTE)]).await.unwrap();
    id
}

async fn repo(store: &dyn Store, text: &str) -> RepoId {
    let id = mint(RepoId::mint);
    let repo = Repo { id, name: name(text), restic_id: None, runner: None, created_at: NOW, revision: 0 };
    assert_eq!(store.create_repo(repo, audit("repo.created")).await.unwrap(), Renamed::Done);
    id
}

async fn attach(store: &dyn Store, host_id: HostId, repo_id: RepoId, role: Role) -> AttachmentId {
    let attachment = Attachment {
        id: mint(AttachmentId::mint),
        host_id,
        repo_id,
        role,
        restic_host: ResticHost::new("laptop").unwrap(),
        append_only: AppendOnly::No,
        created_at: NOW,
    };
    let id = attachment.id;
    let credential = Some(sealed(CredentialKind::Repo));
    let change = AttachmentChange { attachment, append_only: None, credential };
    assert_eq!(store.put_attachment(change, audit("attachment.put")).await.unwrap(), PutAttachment::Done);
    id
}

pub(crate) fn sealed(kind: CredentialKind) -> SealedCredential {
    SealedCredential {
        info: CredentialInfo {
            kind,
            url: "rest:https://backup.example/r".to_owned(),
            rest_user: Some("laptop".to_owned()),
            has_rest_password: true,
            env_names: vec!["AWS_ACCESS_KEY_ID".to_owned()],
            revision: 1,
            updated_at: NOW,
        },
        blob: vec![0, 255, 10, 13, 39],
    }
}

async fn credential(store: &dyn Store, id: AttachmentId, kind: CredentialKind) {
    let put = store.put_credential(id, sealed(kind), audit("credential.put")).await.unwrap();
    assert_eq!(put, PutCredential::Done);
}

/// What is backed up, and when.
pub(crate) struct Plan {
    pub(crate) group: GroupId,
    pub(crate) schedule: ScheduleId,
}

/// A group that retains, and a schedule of it.
async fn plan(store: &dyn Store, host_id: HostId) -> Plan {
    let group = SourceGroup {
        id: mint(GroupId::mint),
        host_id,
        name: name("Documents"),
        tag: Tag::new("documents").unwrap(),
        includes: vec![SourcePath::new("/home/zoë").unwrap()],
        excludes: vec![ExcludePattern::new("*.tmp").unwrap()],
        options: BackupOptions { exclude_caches: true, ..BackupOptions::default() },
        keep: KeepPolicy { daily: std::num::NonZeroU32::new(7), ..KeepPolicy::default() },
        retry_max: 3,
        retry_backoff_seconds: 60,
        created_at: NOW,
        updated_at: NOW,
    };
    let schedule = Schedule {
        id: mint(ScheduleId::mint),
        host_id,
        name: name("Nightly"),
        cron: "30 2 * * *".parse().unwrap(),
        timezone: "Europe/Berlin".parse().unwrap(),
        enabled: true,
        group_ids: vec![group.id],
        repo_ids: None,
        created_at: NOW,
        updated_at: NOW,
        missed: restic_manager_core::model::MissedSoFar::default(),
    };
    let written = store.create_group(group.clone(), audit("group.created")).await.unwrap();
    assert!(matches!(written, PlanWritten::Done(_)), "{written:?}");
    let plan = Plan { group: group.id, schedule: schedule.id };
    let written = store.create_schedule(schedule, audit("schedule.created")).await.unwrap();
    assert!(matches!(written, PlanWritten::Done(_)), "{written:?}");
    plan
}

async fn settings(store: &dyn Store, repo_id: RepoId) {
    let mut settings = MaintenanceSettings::standard("Europe/Berlin".parse().unwrap());
    settings.policy.check_subset_pct = 5;
    settings.keep_admin_credential = Some(false);
    assert!(store.put_maintenance(repo_id, settings, NOW, audit("maintenance.put")).await.unwrap());
    let learned = store.learn_restic_id(repo_id, &ResticRepoId::new("ab".repeat(32)).unwrap()).await.unwrap();
    assert_eq!(learned, restic_manager_store::ResticIdLearned::Learned);
}

async fn session(store: &dyn Store, fleet: &Fleet) {
    let facts = HostFacts {
        machine_id: Some("6d616368".to_owned()),
        os_hostname: Some("laptop.example".to_owned()),
        os: Some("linux".to_owned()),
        arch: Some("x86_64".to_owned()),
        agent_version: Some("0.1.0".to_owned()),
        restic_version: Some("0.19.1".to_owned()),
        ..HostFacts::default()
    };
    let take = TakeSession {
        host_id: fleet.laptop,
        facts,
        spool_id: fleet.spool,
        schedule_version: 1,
        known_jobs: Vec::new(),
        now: NOW,
        claims: Vec::new(),
    };
    assert!(store.take_session(take).await.unwrap().is_some());
}
