//! Runs of real restic, recorded: `tests/fixtures/restic/<version>.jsonl`.
//!
//! Standard output is kept where a test reads it; long runs of equal retry lines are shortened to their first and last.

#![allow(dead_code, reason = "each test file takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a broken recording should fail the test")]

use std::collections::BTreeMap;

use restic_manager_core::restic::{Capabilities, Exit, Facts, Kind, Stream, Version};
use serde::Deserialize;
use serde_json::Value;

/// The releases that were recorded.
pub(crate) const VERSIONS: [(&str, &str); 3] = [
    ("0.14.0", include_str!("../fixtures/restic/0.14.0.jsonl")),
    ("0.18.0", include_str!("../fixtures/restic/0.18.0.jsonl")),
    ("0.19.1", include_str!("../fixtures/restic/0.19.1.jsonl")),
];

/// One recorded run.
#[derive(Debug, Deserialize)]
pub(crate) struct Run {
    /// Its name.
    pub(crate) case: String,
    code: Value,
    /// Standard output.
    #[serde(default)]
    pub(crate) stdout: String,
    /// Standard error.
    #[serde(default)]
    pub(crate) stderr: String,
}

impl Run {
    /// How it ended: `"signal:9"` in the recording is an end by that signal.
    pub(crate) fn exit(&self) -> Exit {
        match &self.code {
            Value::Number(code) => Exit::Code(code.as_i64().unwrap().try_into().unwrap()),
            other => Exit::Signal(other.as_str().unwrap().strip_prefix("signal:").unwrap().parse().unwrap()),
        }
    }

    /// What is remembered of it when it is observed line by line.
    pub(crate) fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        for (stream, text) in [(Stream::Stdout, &self.stdout), (Stream::Stderr, &self.stderr)] {
            for line in text.split_inclusive('\n') {
                facts.observe(stream, line.as_bytes());
            }
        }
        facts
    }
}

/// All runs of one release by case.
pub(crate) fn runs(version: &str) -> BTreeMap<String, Run> {
    let (_, lines) = VERSIONS.iter().find(|(name, _)| *name == version).unwrap();
    let runs = lines.lines().map(|line| serde_json::from_str::<Run>(line).unwrap());
    runs.map(|run| (run.case.clone(), run)).collect()
}

/// One run.
pub(crate) fn run(case: &str, version: &str) -> Run {
    runs(version).remove(case).unwrap_or_else(|| panic!("{case} was not recorded with {version}"))
}

/// What a release can do.
pub(crate) fn capabilities(version: &str) -> Capabilities {
    Capabilities::of(version.parse::<Version>().unwrap())
}

/// The kind by its name in the table.
pub(crate) fn kind(name: &str) -> Kind {
    serde_json::from_value(Value::String(name.to_owned())).unwrap()
}
