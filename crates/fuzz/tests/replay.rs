//! Every committed seed and everything ever found, run by ordinary tests.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on panics, and names the file it is at"
)]

use std::path::{Path, PathBuf};

use restic_manager_fuzz::{TARGETS, body};
use serde_json::Value;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(target: &str) {
    let run = body(target);
    let seeds = files(&project().join("fuzz/seeds").join(target));
    let mut understood = 0;
    for seed in &seeds {
        // A panic names its rule; this names its file.
        println!("{}", seed.display());
        understood += usize::from(run(&std::fs::read(seed).unwrap()));
    }
    assert!(
        understood * 2 >= seeds.len(),
        "{target}: only {understood} of {} seeds get past the first door",
        seeds.len()
    );
    assert!(seeds.len() >= 5, "{target}: {} seeds", seeds.len());
    // Each prefix of a seed is a seed too, and so is what remains when its begin is cut off.
    for seed in &seeds {
        let bytes = std::fs::read(seed).unwrap();
        for cut in (0..bytes.len()).step_by(bytes.len() / 16 + 1) {
            run(&bytes[..cut]);
            run(&bytes[cut..]);
        }
    }
}

#[test]
fn seeds_of_wire_frames() {
    replay("wire_frame");
}

#[test]
fn released_wire_messages_are_seeds() {
    for file in files(&project().join("crates/core/tests/golden/v1")) {
        assert!(body("wire_frame")(&std::fs::read(&file).unwrap()), "{}", file.display());
    }
}

#[test]
fn seeds_of_restic_lines() {
    replay("restic_lines");
}

#[test]
fn recorded_output_of_restic_is_a_seed() {
    let (lines, locks) = (body("restic_lines"), body("lock_text"));
    let mut seen = 0;
    for file in files(&project().join("crates/core/tests/fixtures/restic")) {
        if file.extension().is_none_or(|end| end != "jsonl") {
            continue;
        }
        for record in std::fs::read_to_string(&file).unwrap().lines() {
            let record: Value = serde_json::from_str(record).unwrap();
            for stream in ["stdout", "stderr"] {
                if let Some(text) = record[stream].as_str() {
                    lines(text.as_bytes());
                    locks(text.as_bytes());
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 100, "{seen} outputs were recorded");
}

#[test]
fn seeds_of_lock_texts() {
    replay("lock_text");
}

#[test]
fn seeds_of_cron() {
    replay("cron");
}

#[test]
fn seeds_of_secrets_bundles() {
    replay("secrets_bundle");
}

#[test]
fn seeds_of_link_traces() {
    replay("link_trace");
}

#[test]
fn seeds_of_decide_traces() {
    replay("decide_trace");
}

#[test]
fn seeds_of_duty_traces() {
    replay("duty_trace");
}

#[test]
fn every_target_has_seeds_a_program_for_the_fuzzer_and_a_test_here() {
    let here = include_str!("replay.rs");
    let manifest = std::fs::read_to_string(project().join("fuzz/Cargo.toml")).unwrap();
    for (target, _) in TARGETS {
        assert!(here.contains(&format!("replay(\"{target}\")")), "{target} is not replayed");
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is not in fuzz/Cargo.toml");
        let program = project().join(format!("fuzz/targets/{target}.rs"));
        let text = std::fs::read_to_string(&program).unwrap();
        assert!(text.contains(&format!("body(\"{target}\")")), "{} runs something else", program.display());
    }
}
