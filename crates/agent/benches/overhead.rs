//! What running a backup through the agent costs against bare restic.
//!
//! The same backup (5,000 files, 200 MB, half of it compressible) into a fresh repository, by bare restic and through
//! [`run_job`] in turn. Prints the median ratio of the times from the start of restic to its end, and apart what the steps
//! after it cost.
//!
//! `RM_BENCH_ROUNDS` (default 9); restic is `RM_TEST_RESTIC_NEWEST`, else that of `scripts/install-test-tools`, else the one
//! in PATH.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and stops where it cannot go on"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use restic_manager_agent::job::{JobOrder, Supervisor, run_job, supervise_main};
use restic_manager_agent::restic::{ResticBinary, ResticFinder};
use restic_manager_core::id::{JobId, RepoId};
use restic_manager_core::model::{BackupOptions, CredentialSecret, FinalState};
use restic_manager_core::secret::Secret;
use restic_manager_core::text::{ResticHost, SourcePath, Tag};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{AutoUnlock, BackupSpec, CommandRun, JobSpec};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const FILES: usize = 5_000;
const FILE_BYTES: usize = 40_000;
const PASSWORD: &str = "bench";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, word, dir] = args.as_slice()
        && word == "supervise"
    {
        return supervise_main(Path::new(dir));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(compare());
    ExitCode::SUCCESS
}

async fn compare() {
    let rounds: usize = std::env::var("RM_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(9);
    let bench = Bench::new().await;
    println!(
        "restic {}, {FILES} files, {} MB, {rounds} rounds",
        bench.restic.version,
        FILES * FILE_BYTES / 1_000_000
    );
    // Not counted: the page cache fills, and the agent learns which repository this is.
    bench.bare();
    let first = bench.agent(0).await;
    let (mut ratios, mut bares, mut agents, mut afters) = (vec![], vec![], vec![], vec![]);
    for round in 1..=rounds {
        // Who begins changes from round to round, so that a drift of the machine favours nobody.
        let (bare, agent) = if round % 2 == 0 {
            let bare = bench.bare();
            (bare, bench.agent(round).await)
        } else {
            let agent = bench.agent(round).await;
            (bench.bare(), agent)
        };
        println!(
            "round {round}: bare {bare:.3} s, agent {:.3} s, after it {:.3} s",
            agent.restic, agent.after
        );
        ratios.push(agent.restic / bare);
        bares.push(bare);
        agents.push(agent.restic);
        afters.push(agent.after);
    }
    println!(
        "restic, start to end: bare {:.3} s, through the agent {:.3} s (medians)",
        median(bares),
        median(agents)
    );
    println!("median ratio {:.3}", median(ratios));
    println!(
        "steps after it: {:.3} s (list of snapshots); {:.3} s once a day (stats too)",
        median(afters),
        first.after
    );
}

struct Bench {
    temp: tempfile::TempDir,
    restic: ResticBinary,
}

struct Timed {
    restic: f64,
    after: f64,
}

impl Bench {
    async fn new() -> Self {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test-tools/bin/restic-newest");
        let named = std::env::var_os("RM_TEST_RESTIC_NEWEST").map(PathBuf::from);
        let configured = named.or_else(|| tools.canonicalize().ok());
        let restic = ResticFinder::new(configured)
            .find()
            .await
            .unwrap_or_else(|problem| panic!("{}", problem.sentence()));
        let bench = Self { temp: tempfile::tempdir().unwrap(), restic };
        bench.write_source();
        let made = bench.bare_command(&["init", "-q"]).status().unwrap();
        assert!(made.success(), "restic init: {made}");
        std::fs::rename(bench.path("repo"), bench.path("template")).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn write_source(&self) {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for n in 0..FILES {
            let folder = self.path(&format!("source/{:02}", n % 50));
            std::fs::create_dir_all(&folder).unwrap();
            let bytes: Vec<u8> = (0..FILE_BYTES)
                .map(|at| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let byte = random.to_le_bytes()[3];
                    if at < FILE_BYTES / 2 { byte } else { b'a' + byte % 2 }
                })
                .collect();
            std::fs::write(folder.join(n.to_string()), bytes).unwrap();
        }
    }

    /// An empty repository and an empty cache, with nothing left to be written to the disk.
    fn fresh(&self) {
        for name in ["repo", "cache"] {
            let _ = std::fs::remove_dir_all(self.path(name));
        }
        let copied =
            Command::new("cp").arg("-a").arg(self.path("template")).arg(self.path("repo")).status().unwrap();
        assert!(copied.success());
        rustix::fs::sync();
    }

    fn bare_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.restic.path);
        command.args(args).stdin(Stdio::null());
        command.env("RESTIC_REPOSITORY", self.path("repo")).env("RESTIC_PASSWORD", PASSWORD);
        command.env("RESTIC_CACHE_DIR", self.path("cache")).env("RESTIC_PROGRESS_FPS", "1");
        command
    }

    fn bare(&self) -> f64 {
        self.fresh();
        let source = self.path("source");
        let source = source.to_str().unwrap();
        let mut command =
            self.bare_command(&["backup", "--json", "--host", "bench", "--tag", "bench", "--", source]);
        command.stdout(File::create(self.path("bare.stdout")).unwrap());
        command.stderr(File::create(self.path("bare.stderr")).unwrap());
        let started = Instant::now();
        let status = command.status().unwrap();
        let seconds = started.elapsed().as_secs_f64();
        assert!(status.success(), "bare restic: {status}");
        seconds
    }

    async fn agent(&self, round: usize) -> Timed {
        self.fresh();
        let (out, mut messages) = mpsc::channel(64);
        let order = self.order(round);
        let job = tokio::spawn(run_job(order, out, CancellationToken::new()));
        while messages.recv().await.is_some() {}
        let ended = Timestamp::from_millis(wall_millis());
        let finished = job.await.unwrap().finished;
        assert_eq!(finished.state, FinalState::Succeeded, "{finished:?}");
        let after = ended.millis_since(finished.at);
        Timed {
            restic: finished.summary.seconds.unwrap(),
            after: std::time::Duration::from_millis(after.try_into().unwrap()).as_secs_f64(),
        }
    }

    fn order(&self, round: usize) -> JobOrder {
        let now = Timestamp::from_millis(wall_millis());
        let random = [u8::try_from(round % 256).unwrap(); 10];
        JobOrder {
            command: CommandRun {
                job_id: JobId::mint(now, random),
                epoch: 1,
                repo_id: RepoId::mint(Timestamp::from_millis(1), [1; 10]),
                restic_host: ResticHost::new("bench").unwrap(),
                run: None,
                attempt: 1,
                requires_admin_creds: false,
                auto_unlock: AutoUnlock::Off,
                limit_upload_kib: None,
                limit_download_kib: None,
                spec: JobSpec::Backup(BackupSpec {
                    tag: Tag::new("bench").unwrap(),
                    includes: vec![SourcePath::new(self.path("source").to_str().unwrap()).unwrap()],
                    excludes: Vec::new(),
                    options: BackupOptions::default(),
                }),
            },
            credential: CredentialSecret {
                url: self.path("repo").to_str().unwrap().to_owned(),
                password: Secret::new(PASSWORD),
                rest_user: None,
                rest_password: None,
                env: BTreeMap::new(),
            },
            restic_id: None,
            dir: self.path(&format!("jobs/{round}")),
            cache_dir: self.path("cache"),
            state_dir: self.path("state"),
            restic: Ok(self.restic.clone()),
            supervisor: Supervisor::Program(std::env::current_exe().unwrap()),
        }
    }
}

fn wall_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
