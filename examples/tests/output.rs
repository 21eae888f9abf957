//! Runs every example and keeps what it prints.

#![allow(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use restic_manager_core::restic::Version;
use restic_manager_core::time::{HOUR, MINUTE, Timestamp};
use restic_manager_e2e::{Restic, SealedFiles, noise, restic_newest};

const PASSWORD: &str = "example-password";

#[test]
fn decide_only() {
    insta::assert_snapshot!(said(&mut example("decide_only")));
}

#[test]
fn simulate_year() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("year.svg");
    insta::assert_snapshot!(said(example("simulate_year").arg(&svg)));
    insta::assert_snapshot!("simulate_year_svg", std::fs::read_to_string(svg).unwrap());
}

#[test]
fn retention_preview() {
    let listed = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/snapshots.json");
    let mut program = example("retention_preview");
    program.args([r#"{"daily": 3, "monthly": 6, "within": "2d"}"#, "Europe/Berlin"]);
    insta::assert_snapshot!(said(program.stdin(std::fs::File::open(listed).unwrap())));
}

#[test]
fn custom_store() {
    insta::assert_snapshot!(said(&mut example("custom_store")));
}

#[test]
fn embed_engine() {
    insta::assert_snapshot!(redacted(&said(&mut example("embed_engine"))));
}

#[test]
fn lock_doctor_says_what_unlock_then_does() {
    let lab = Lab::new();
    let mut files = SealedFiles::open(&lab.restic, &lab.repository(), PASSWORD);
    let now = now();
    let here = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let gone = 4_000_000; // above what the kernel gives out
    // Restic sends SIGHUP to see whether a process is there.
    let mut holder = Command::new("sh");
    let mut holder = holder
        .args(["-c", "trap '' HUP; echo; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0];
    holder.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let alive = i64::from(holder.id());
    for (host, pid, age, exclusive) in [
        (here.as_str(), gone, MINUTE, true),
        (here.as_str(), alive, MINUTE, false),
        (here.as_str(), alive, HOUR, false),
        ("elsewhere", gone, MINUTE, false),
        ("elsewhere", gone, HOUR, false),
    ] {
        let time = (now - age).to_string();
        let lock = serde_json::json!({
            "time": time, "exclusive": exclusive, "hostname": host, "username": "root", "pid": pid,
        });
        files.write("locks", &lock);
    }
    let text = said(lab.environment(example("lock_doctor").arg(&lab.restic.program)));
    let mut blocks: Vec<String> = text
        .replace(&alive.to_string(), "[alive]")
        .replace(&lab.version(), "[version]")
        .replace(&here, "[here]")
        .split("\n  ")
        .flat_map(|part| part.split('\n'))
        .map(|line| line.split_once(": ").map_or(line, |(_, rest)| rest).to_owned())
        .collect();
    blocks[1..11].sort();
    insta::assert_snapshot!(redacted(&blocks.join("\n")));
    lab.run(&["unlock"]);
    assert_eq!(lab.run(&["list", "locks", "--no-lock"]).lines().count(), 2, "as it was said: {text}");
    drop(holder.stdin.take());
    holder.wait().unwrap();
}

#[test]
fn run_restic() {
    let lab = Lab::new();
    std::fs::write(lab.path("source/file"), "some data").unwrap();
    let text = said(&mut lab.run_restic());
    let text = text
        .replace(lab.folder.path().to_str().unwrap(), "[lab]")
        .replace(lab.restic.program.to_str().unwrap(), "[restic]")
        .replace(&lab.version(), "[version]");
    let lines = text.lines().filter(|line| !line.starts_with("progress ")).map(|line| match line {
        summary if summary.starts_with("log {\"message_type\":\"summary\"") => "log [summary]",
        process if process.contains("runs as process ") => {
            process.trim_end_matches(|c: char| c.is_ascii_digit())
        }
        other => other.split_once(" after ").map_or(other, |(what, _)| what),
    });
    insta::assert_snapshot!(redacted(&lines.collect::<Vec<_>>().join("\n")));
    assert_eq!(lab.restic.snapshots(lab.repository().to_str().unwrap(), PASSWORD).len(), 1);
}

#[test]
fn run_restic_stops_gently() {
    let lab = Lab::new();
    noise(&lab.path("source/large"), 8);
    let mut program = lab.run_restic();
    program.env("LIMIT_UPLOAD_KIB", "1024").stdout(Stdio::piped());
    let mut child = program.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("progress")), "it never began");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.iter().any(|line| line.starts_with("Cancelled, Cancelled: ")), "{rest:?}");
    assert_eq!(rest.last().unwrap(), "snapshot: none");
    assert_eq!(lab.run(&["list", "locks", "--no-lock"]), "", "the lock went with it");
}

#[test]
fn custom_dispatch() {
    let lab = Lab::new();
    let mut program = example("custom_dispatch");
    // A shell on this very machine takes the place of `ssh -T storage sh`.
    lab.environment(program.arg(lab.repository()).arg("sh")).env("RESTIC", &lab.restic.program);
    insta::assert_snapshot!(said(&mut program));
}

/// A repository, and folders for a source and for jobs.
struct Lab {
    folder: tempfile::TempDir,
    restic: Restic,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap(), restic: restic_newest() };
        std::fs::create_dir(lab.path("source")).unwrap();
        lab.run(&["init"]);
        lab
    }

    /// Such as `0.19.1`.
    fn version(&self) -> String {
        Version::from_output(&self.run(&["version"])).unwrap().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn repository(&self) -> PathBuf {
        self.path("repository")
    }

    fn run(&self, args: &[&str]) -> String {
        self.restic.run(self.repository().to_str().unwrap(), PASSWORD, args)
    }

    fn environment<'a>(&self, program: &'a mut Command) -> &'a mut Command {
        program
            .env("RESTIC_REPOSITORY", self.repository())
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("RESTIC_CACHE_DIR", self.path("cache"))
    }

    fn run_restic(&self) -> Command {
        let mut program = example("run_restic");
        program.arg(self.repository()).arg(self.path("source")).arg(self.path("jobs"));
        program.env("RESTIC", &self.restic.program).env("RESTIC_PASSWORD", PASSWORD);
        program
    }
}

/// Where one is awkward to write, the API is wrong.
#[test]
fn every_example_is_short_and_has_a_test_here() {
    let here = include_str!("output.rs").to_owned() + include_str!("custom_store.rs");
    for entry in std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_none_or(|end| end != "rs") || name == "lib" {
            continue;
        }
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 150, "{name} has {lines} lines");
        assert!(here.contains(&format!("example(\"{name}\")")), "{name} is not run");
    }
}

/// The built example: `target/<profile>/examples/<name>`, beside the folder of this test.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(
        path.is_file(),
        "{} is missing: cargo build -p restic-manager-examples --examples",
        path.display()
    );
    Command::new(path)
}

fn said(program: &mut Command) -> String {
    let output = program.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?}: {}: {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

/// The text without what differs from run to run: ids, times and numbers of milliseconds.
fn redacted(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-:.".contains(c);
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.len() - rest.trim_start_matches(is_word).len();
        let (head, tail) = rest.split_at(word.max(rest.chars().next().map_or(1, char::len_utf8)));
        let word = head.trim_start_matches(':');
        out.push_str(&head[..head.len() - word.len()]);
        out.push_str(stands_for(word));
        rest = tail;
    }
    out
}

fn stands_for(word: &str) -> &str {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is_id = |length| word.len() == length && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    match word {
        _ if is_id(36) || is_id(64) || is_id(8) => "[id]",
        _ if digits >= 12 && word.ends_with('Z') => "[time]",
        _ if digits >= 12 && digits == word.len() => "[ms]",
        _ if word.starts_with("127.0.0.1:") => "[address]",
        other => other,
    }
}
