//! The book: every shell block in it is run, page after page in the order of its summary, as a reader would.
//!
//! A block is ```` ```sh ````; one that cannot be run here says why: ```` ```sh not-run=REASON ````. All blocks share one shell, in a folder that
//! holds nothing else. Only the port differs from what is printed.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use restic_manager_e2e::{Process, binary, restic_newest};
use rustix::process::{Pid, Signal, kill_process_group};

/// Blocks that need root, a service manager or a quarter of an hour. There shall be no more.
const NOT_RUN: usize = 3;

fn book() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src")
}

struct Block {
    page: String,
    line: usize,
    info: String,
    text: String,
}

/// The pages in the order of the summary.
fn pages() -> Vec<String> {
    let summary = std::fs::read_to_string(book().join("SUMMARY.md")).unwrap();
    let links =
        summary.lines().filter_map(|line| Some(line.split_once("](")?.1.strip_suffix(')')?.to_owned()));
    links.collect()
}

fn blocks() -> Vec<Block> {
    pages().into_iter().flat_map(|page| blocks_of(&page)).collect()
}

fn blocks_of(page: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(book().join(page)).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (at, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(info), false) => {
                open = true;
                blocks.push(Block {
                    page: page.to_owned(),
                    line: at + 1,
                    info: info.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), true) => open = false,
            (None, true) => {
                let _ = writeln!(blocks.last_mut().unwrap().text, "{line}");
            }
            (None, false) => {}
        }
    }
    assert!(!open, "{page}: a block is not closed");
    blocks
}

#[test]
fn every_page_is_in_the_summary_and_every_link_leads_somewhere() {
    let listed: BTreeSet<String> = pages().into_iter().collect();
    let there =
        std::fs::read_dir(book()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let there: BTreeSet<String> =
        there.filter(|name| name.ends_with(".md") && name != "SUMMARY.md").collect();
    assert_eq!(listed, there);
    for page in &listed {
        let text = std::fs::read_to_string(book().join(page)).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let file = link.split('#').next().unwrap();
            let inside = !link.contains("://") && !file.is_empty();
            assert!(!inside || book().join(file).exists(), "{page}: {link} leads nowhere");
        }
    }
}

#[test]
fn shell_is_written_as_sh_and_almost_all_of_it_is_run() {
    let known = ["sh", "text", "json", "rust", "nginx", "toml"];
    let mut not_run = 0;
    for block in blocks() {
        let mut words = block.info.split(' ');
        let language = words.next().unwrap();
        assert!(known.contains(&language), "{}:{}: a block of `{language}`", block.page, block.line);
        match words.next() {
            None => {}
            Some(reason) if language == "sh" && reason.starts_with("not-run=") => not_run += 1,
            Some(other) => panic!("{}:{}: `{other}` means nothing", block.page, block.line),
        }
    }
    assert!(not_run <= NOT_RUN, "{not_run} blocks are not run");
}

/// All blocks as one script that says where it is.
fn script(port: u16) -> String {
    let mut script = String::from("set -euo pipefail\n");
    for block in blocks().into_iter().filter(|block| block.info == "sh") {
        let _ = writeln!(script, "printf '\\n--- {}:{}\\n' >&2", block.page, block.line);
        script.push_str(&block.text.replace("127.0.0.1:8080", &format!("127.0.0.1:{port}")));
    }
    script
}

/// A folder with the programs a reader has on the `PATH`.
fn programs(folder: &Path) -> PathBuf {
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).unwrap();
    for name in ["restic-manager-server", "restic-manager-agent", "rmctl"] {
        std::os::unix::fs::symlink(binary(name), bin.join(name)).unwrap();
    }
    std::os::unix::fs::symlink(restic_newest().program, bin.join("restic")).unwrap();
    bin
}

/// Ends everything the script left in the background.
struct Group(i32);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_raw(self.0).unwrap(), Signal::KILL);
    }
}

#[test]
fn every_shell_block_of_the_book_runs() {
    let folder = tempfile::Builder::new().prefix("rm-book-").tempdir().unwrap();
    let bin = programs(folder.path());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let log = folder.path().join("log");
    // Somewhat under the patience of the tests, so that a block that hangs is named.
    let mut shell = Command::new("timeout");
    shell
        .args(["110", "bash", "-c", &script(port)])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()))
        .env("HOME", folder.path())
        .env("TERM", "dumb")
        .env("RM_LISTEN", format!("127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .process_group(0);
    let mut shell = Process::start("the book", &mut shell, &log);
    let _group = Group(shell.pid());
    let status = shell.wait();
    let said = std::fs::read_to_string(&log).unwrap();
    let tail: Vec<&str> = said.lines().rev().take(40).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    let own = |name: &str| {
        std::fs::read_to_string(folder.path().join("first-backup").join(name)).unwrap_or_default()
    };
    assert!(
        status.success(),
        "{status}\n{}\n--- server.log\n{}\n--- agent.log\n{}",
        tail.join("\n"),
        own("server.log"),
        own("agent.log")
    );
}
