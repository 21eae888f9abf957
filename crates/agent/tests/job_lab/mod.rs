//! A place to run jobs in: a repository, a source, an agent's folders, and restic, real or faked.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

pub mod rest;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use restic_manager_agent::job::{JobEnd, JobOrder, JobTimes, Supervisor, resume_job_with, run_job_with};
use restic_manager_agent::process;
use restic_manager_agent::restic::ResticBinary;
use restic_manager_core::id::{JobId, RepoId};
use restic_manager_core::model::{BackupOptions, CredentialSecret, LogLine, LogStream, ResticRepoId};
use restic_manager_core::restic::Version;
use restic_manager_core::secret::Secret;
use restic_manager_core::text::{ExcludePattern, ResticHost, SourcePath, Tag};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{
    AgentMessage, AutoUnlock, BackupSpec, CommandRun, JobFinished, JobProgress, JobSpec, RepoStatsReport,
    SnapshotsReport,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub const PASSWORD: &str = "planted-password-7f3a";
pub const VARIABLE: &str = "planted-variable-91bc";
pub const HOST: &str = "lab-host";
pub const TAG: &str = "lab-tag";

/// Which real restic.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    Oldest,
    Newest,
}

/// This test program again, as the supervisor of a job: the test harness takes `supervise <dir>` for filters and runs the
/// one test whose name holds the first word. That test calls this.
pub fn supervise_if_asked() {
    if let Some(code) = process::supervise_if_asked() {
        std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
    }
}

pub fn this_program() -> Supervisor {
    Supervisor::Program(std::env::current_exe().unwrap())
}

/// The real restic, or a failure that says how to get it.
pub fn real_restic(which: Which) -> PathBuf {
    let (variable, name) = match which {
        Which::Oldest => ("RM_TEST_RESTIC_OLDEST", "restic-oldest"),
        Which::Newest => ("RM_TEST_RESTIC_NEWEST", "restic-newest"),
    };
    if let Some(path) = std::env::var_os(variable) {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "{variable} names {}, which is no file", path.display());
        return path;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test-tools/bin").join(name);
    assert!(path.is_file(), "no restic to test with: run scripts/install-test-tools, or set {variable}");
    path.canonicalize().unwrap()
}

pub async fn binary(path: &Path) -> ResticBinary {
    ResticBinary::probe(path).await.unwrap()
}

/// Short where the product waits for people and networks.
pub fn quick() -> JobTimes {
    JobTimes {
        poll: Duration::from_millis(20),
        grace: Duration::from_secs(60),
        query: Duration::from_secs(60),
        retry_lock: Duration::ZERO,
        ..JobTimes::default()
    }
}

/// A place to run jobs in.
pub struct Lab {
    temp: TempDir,
    pub restic: ResticBinary,
    pub times: JobTimes,
    pub supervisor: Supervisor,
    pub restic_id: Option<ResticRepoId>,
    pub url: String,
    pub password: String,
    jobs: u8,
}

impl Lab {
    /// With a repository and a source of some files.
    pub async fn real(which: Which) -> Self {
        let lab = Self::without_repository(which).await;
        copy_folder(&template(which), &lab.path("repo"));
        lab
    }

    pub async fn without_repository(which: Which) -> Self {
        Self::with(binary(&real_restic(which)).await)
    }

    /// With a shell script for `backup`; the questions get the answers of an empty repository.
    pub fn fake(backup: &str) -> Self {
        let lab = Self::with(ResticBinary::known("/nonexistent", Version::new(0, 18, 0)));
        let path = lab.path("fake-restic");
        let script = format!(
            r#"#!/bin/sh
echo "$1" >> '{calls}'
case "$1" in
  cat) echo '{{"version":2,"id":"{id}","chunker_polynomial":"25b468838dcb75"}}';;
  snapshots) echo '[]';;
  stats) echo '{{"total_size":0,"snapshots_count":0}}';;
  list) ;;
  backup)
{backup}
  ;;
esac
"#,
            calls = lab.path("calls").display(),
            id = "ab".repeat(32),
        );
        executable(&path, &script);
        Self { restic: ResticBinary::known(path, Version::new(0, 18, 0)), ..lab }
    }

    fn with(restic: ResticBinary) -> Self {
        let temp = tempfile::Builder::new().prefix("rm-lab-").tempdir().unwrap();
        let url = temp.path().join("repo").to_str().unwrap().to_owned();
        std::fs::create_dir(temp.path().join("source")).unwrap();
        std::fs::write(temp.path().join("source/plain.txt"), "some text").unwrap();
        Self {
            temp,
            restic,
            times: quick(),
            supervisor: this_program(),
            restic_id: None,
            url,
            password: PASSWORD.into(),
            jobs: 0,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// The folder of the newest order.
    pub fn job_dir(&self) -> PathBuf {
        self.path(&format!("state/jobs/{}", self.jobs))
    }

    pub fn backup_of(&self, names: &[&str]) -> JobSpec {
        let path = |name: &&str| SourcePath::new(self.path(name).to_str().unwrap()).unwrap();
        JobSpec::Backup(BackupSpec {
            tag: Tag::new(TAG).unwrap(),
            includes: names.iter().map(path).collect(),
            excludes: vec![ExcludePattern::new("*.tmp").unwrap()],
            options: BackupOptions::default(),
        })
    }

    /// A new order; its job folder does not exist yet.
    pub fn order(&mut self, spec: JobSpec) -> JobOrder {
        self.jobs += 1;
        JobOrder {
            command: CommandRun {
                job_id: JobId::mint(Timestamp::from_millis(1_700_000_000_000), [self.jobs; 10]),
                epoch: 1,
                repo_id: RepoId::mint(Timestamp::from_millis(1_700_000_000_000), [7; 10]),
                restic_host: ResticHost::new(HOST).unwrap(),
                run: None,
                attempt: 1,
                requires_admin_creds: false,
                auto_unlock: AutoUnlock::Off,
                limit_upload_kib: None,
                limit_download_kib: None,
                spec,
            },
            credential: CredentialSecret {
                url: self.url.clone(),
                password: Secret::new(&self.password[..]),
                rest_user: None,
                rest_password: None,
                env: BTreeMap::from([("AWS_SECRET_ACCESS_KEY".to_owned(), Secret::new(VARIABLE))]),
            },
            restic_id: self.restic_id.clone(),
            dir: self.job_dir(),
            cache_dir: self.path("cache"),
            state_dir: self.path("state"),
            restic: Ok(self.restic.clone()),
            supervisor: self.supervisor.clone(),
        }
    }

    /// Runs a job and checks what holds for every job.
    pub async fn run(&mut self, spec: JobSpec) -> Told {
        let order = self.order(spec);
        self.run_order(order).await
    }

    pub async fn run_order(&self, order: JobOrder) -> Told {
        let mut job = Job::start(order, self.times);
        let told = job.told_to_the_end().await;
        told.check();
        told
    }

    /// Bare restic on this repository.
    pub fn bare(&self, args: &[&str]) -> Output {
        bare(&self.restic.path, &self.url, args)
    }

    pub fn bare_stdout(&self, args: &[&str]) -> String {
        let output = self.bare(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn locks(&self) -> Vec<String> {
        self.bare_stdout(&["list", "locks", "--no-lock"]).lines().map(str::to_owned).collect()
    }

    /// Leaves the lock of a dead restic that is none of the agent's, made under a host name of its own where one is given, and returns
    /// its id.
    pub async fn leave_lock(&self, hostname: Option<&str>) -> String {
        let before = self.locks();
        self.incompressible("held", 4);
        let restic = r#"exec "$RESTIC" backup --limit-upload 20 "$HELD""#;
        // Root may take another name for a process alone; others may in a user namespace.
        let own_name: &[&str] = if rustix::process::geteuid().is_root() {
            &["--uts"]
        } else {
            &["--user", "--map-root-user", "--uts"]
        };
        let mut command = match hostname {
            None => std::process::Command::new("sh"),
            Some(_) => {
                let mut command = std::process::Command::new("unshare");
                command.args(own_name).arg("sh");
                command
            }
        };
        let script = hostname.map_or(restic.to_owned(), |name| format!("hostname {name} && {restic}"));
        let mut holder = command
            .args(["-c", &script])
            .env("RESTIC", &self.restic.path)
            .env("HELD", self.path("held"))
            .env("RESTIC_REPOSITORY", self.path("repo"))
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("RESTIC_CACHE_DIR", self.path("held-cache"))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let new = || self.locks().into_iter().find(|lock| !before.contains(lock));
        eventually("it has its lock", || new().is_some()).await;
        holder.kill().unwrap();
        holder.wait().unwrap();
        new().unwrap()
    }

    /// Packs of the repository, the largest first; what a killed restic was still writing is none.
    pub fn packs(&self) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.path("repo/data")).unwrap();
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
        let whole = |path: &PathBuf| path.file_name().is_some_and(|name| name.len() == 64);
        let mut packs: Vec<PathBuf> = files.map(|file| file.unwrap().path()).filter(whole).collect();
        packs.sort_by_key(|path| std::cmp::Reverse(std::fs::metadata(path).unwrap().len()));
        packs
    }

    /// Bytes of the repository's data.
    pub fn data_size(&self) -> u64 {
        self.packs().iter().map(|path| std::fs::metadata(path).unwrap().len()).sum()
    }

    /// Backs up with bare restic, as of a day of 2026.
    pub fn bare_backup(&self, host: &str, tag: &str, day: u32, name: &str) {
        let (time, path) = (format!("2026-03-{day:02} 12:00:00"), self.path(name));
        self.bare_stdout(&["backup", "--host", host, "--tag", tag, "--time", &time, path.to_str().unwrap()]);
    }

    pub fn snapshots(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.bare_stdout(&["snapshots", "--json", "--no-lock"])).unwrap()
    }

    pub fn snapshot_count(&self) -> usize {
        let listed = self.bare_stdout(&["snapshots", "--json", "--no-lock"]);
        serde_json::from_str::<Vec<serde_json::Value>>(&listed).unwrap().len()
    }

    /// What a fake restic was asked, in order.
    pub fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A file that no compression makes smaller.
    pub fn incompressible(&self, name: &str, mebibytes: usize) {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(mebibytes << 20);
        while bytes.len() < mebibytes << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        std::fs::write(self.path(name), bytes).unwrap();
    }
}

/// A job that runs.
pub struct Job {
    pub messages: mpsc::Receiver<AgentMessage>,
    pub cancel: CancellationToken,
    task: tokio::task::JoinHandle<JobEnd>,
    told: Vec<AgentMessage>,
}

impl Job {
    pub fn start(order: JobOrder, times: JobTimes) -> Self {
        let (out, messages) = mpsc::channel(64);
        let cancel = CancellationToken::new();
        let task = tokio::spawn(run_job_with(order, times, out, cancel.clone()));
        Self { messages, cancel, task, told: Vec::new() }
    }

    pub fn resume(order: JobOrder, stored_lines: Option<u64>, times: JobTimes) -> Self {
        let (out, messages) = mpsc::channel(64);
        let cancel = CancellationToken::new();
        let task = tokio::spawn(resume_job_with(order, stored_lines, times, out, cancel.clone()));
        Self { messages, cancel, task, told: Vec::new() }
    }

    /// Reads until a message is as wanted.
    pub async fn until(&mut self, wanted: impl Fn(&AgentMessage) -> bool) {
        let look = async {
            while let Some(message) = self.messages.recv().await {
                let found = wanted(&message);
                self.told.push(message);
                if found {
                    return;
                }
            }
            panic!("the job ended before it said that: {:#?}", self.told);
        };
        tokio::time::timeout(Duration::from_secs(60), look).await.expect("the job says that in time");
    }

    pub async fn told_to_the_end(&mut self) -> Told {
        let look = async {
            while let Some(message) = self.messages.recv().await {
                self.told.push(message);
            }
        };
        tokio::time::timeout(Duration::from_secs(120), look).await.expect("the job ends in time");
        let end = (&mut self.task).await.expect("a job never panics");
        Told { messages: std::mem::take(&mut self.told), end }
    }

    /// The agent dies: nothing of the job is left in memory.
    pub async fn die(mut self) -> Vec<AgentMessage> {
        self.task.abort();
        let _ = (&mut self.task).await;
        while let Ok(message) = self.messages.try_recv() {
            self.told.push(message);
        }
        self.told
    }
}

/// What a job said.
pub struct Told {
    pub messages: Vec<AgentMessage>,
    pub end: JobEnd,
}

impl Told {
    pub fn finished(&self) -> &JobFinished {
        &self.end.finished
    }

    pub fn lines(&self) -> Vec<&LogLine> {
        lines(&self.messages)
    }

    pub fn text_of(&self, stream: LogStream) -> String {
        let lines = self.lines().into_iter().filter(|line| line.stream == stream);
        lines.map(|line| line.text.clone() + "\n").collect()
    }

    pub fn progress(&self) -> Vec<&JobProgress> {
        let mut progress = Vec::new();
        for message in &self.messages {
            if let AgentMessage::JobProgress(report) = message {
                progress.push(report);
            }
        }
        progress
    }

    pub fn stats(&self) -> Option<&RepoStatsReport> {
        self.messages.iter().find_map(|message| match message {
            AgentMessage::RepoStats(report) => Some(report),
            _ => None,
        })
    }

    pub fn snapshots(&self) -> Option<&SnapshotsReport> {
        self.messages.iter().find_map(|message| match message {
            AgentMessage::SnapshotsReport(report) => Some(report),
            _ => None,
        })
    }

    /// What holds for every job: its order, its numbering, its one last message.
    pub fn check(&self) {
        assert!(matches!(self.messages.first(), Some(AgentMessage::JobStarted(_))), "{:#?}", self.messages);
        self.check_order();
        for (expected, line) in self.lines().iter().enumerate() {
            assert_eq!(line.n, expected as u64, "log lines are numbered from 0 without holes");
        }
    }

    /// By position on the wire: the start, the whole log, what was seen of the repository, its snapshots, the end.
    pub fn check_order(&self) {
        let place = |message: &AgentMessage| match message {
            AgentMessage::JobStarted(_) => Some(0),
            AgentMessage::LogStream(_) => Some(1),
            AgentMessage::JobProgress(_) => None,
            AgentMessage::RepoStats(_) => Some(2),
            AgentMessage::SnapshotsReport(_) => Some(3),
            AgentMessage::JobFinished(_) => Some(4),
            other => panic!("a job says no such thing: {other:?}"),
        };
        let places: Vec<_> = self.messages.iter().filter_map(place).collect();
        assert!(places.is_sorted(), "{places:?}");
        for once in [0, 2, 3, 4] {
            assert!(places.iter().filter(|place| **place == once).count() <= 1, "{places:?}");
        }
        let last = self.messages.last();
        assert_eq!(last, Some(&AgentMessage::JobFinished(Box::new(self.end.finished.clone()))));
    }

    /// No planted secret in any message.
    pub fn check_secrets(&self) {
        let text = serde_json::to_string(&self.messages).unwrap() + &format!("{:?}", self.messages);
        for secret in [PASSWORD, VARIABLE] {
            assert!(!text.contains(secret), "{secret} was told");
        }
    }
}

pub fn lines(messages: &[AgentMessage]) -> Vec<&LogLine> {
    let batches = messages.iter().filter_map(|message| match message {
        AgentMessage::LogStream(batch) => Some(&batch.lines),
        _ => None,
    });
    batches.flatten().collect()
}

/// No planted secret in any file below a folder.
pub fn check_folder(folder: &Path) {
    let mut seen = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            seen += 1;
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            for secret in [PASSWORD, VARIABLE] {
                assert!(!text.contains(secret), "{secret} stands in {}", path.display());
            }
        }
    }
    assert!(seen > 0, "there was something to look at in {}", folder.display());
}

pub fn executable(path: &Path, script: &str) {
    std::fs::write(path, script).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Polls until something holds, with a deadline.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn bare(restic: &Path, url: &str, args: &[&str]) -> Output {
    let mut command = std::process::Command::new(restic);
    command.args(args).env("RESTIC_REPOSITORY", url).env("RESTIC_PASSWORD", PASSWORD);
    command.env("RESTIC_CACHE_DIR", format!("{url}-bare-cache")).env_remove("RESTIC_PASSWORD_FILE");
    command.output().unwrap()
}

/// An empty repository of that restic, made once and copied.
fn template(which: Which) -> PathBuf {
    let name = match which {
        Which::Oldest => "repo-oldest",
        Which::Newest => "repo-newest",
    };
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let ready = tools.join(name);
    if !ready.exists() {
        let temp = tempfile::tempdir_in(tools).unwrap();
        let path = temp.path().join("repo");
        let output = bare(&real_restic(which), path.to_str().unwrap(), &["init"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Another test may have been faster; either one serves.
        let _ = std::fs::rename(&path, &ready);
    }
    ready
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), &target).unwrap()),
        }
    }
}

/// The same tests with the oldest and the newest restic.
#[macro_export]
macro_rules! with_both_restics {
    ($($name:ident),* $(,)?) => {
        mod oldest {
            $(#[tokio::test] async fn $name() { super::$name($crate::job_lab::Which::Oldest).await; })*
        }
        mod newest {
            $(#[tokio::test] async fn $name() { super::$name($crate::job_lab::Which::Newest).await; })*
        }
    };
}
