//! What is remembered of a run's output to judge its end.

use std::collections::BTreeSet;

use super::line::strip_terminal;
use super::{BackupSummary, Line, Stream, parse_line};

/// What is remembered of a run's output to judge its end. It stays small however much restic says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The end of standard error, without the names of unreadable files.
    pub stderr_tail: String,
    /// The summary of a backup.
    pub summary: Option<BackupSummary>,
    /// Paths of a backup that do not exist: those that the caller found before the start, and those restic named.
    pub missing_includes: BTreeSet<String>,
    /// Files and folders that could not be read.
    pub unreadable_items: u64,
    seen: BTreeSet<String>,
}

const TAIL: usize = 64 * 1024;
const LONGEST: usize = 16 * 1024;
const SEEN: usize = 10_000;

impl Facts {
    /// Those of a run of which some includes were missing before its start.
    pub fn with_missing_includes(missing: impl IntoIterator<Item = String>) -> Self {
        Self { missing_includes: missing.into_iter().collect(), ..Self::default() }
    }

    /// Those of a run of which only the end of standard error is known.
    pub fn saying(stderr_tail: &str) -> Self {
        Self { stderr_tail: stderr_tail.to_owned(), ..Self::default() }
    }

    /// Takes in one line, with or without its line end, and says what it was.
    pub fn observe(&mut self, stream: Stream, bytes: &[u8]) -> Line {
        let line = parse_line(stream, bytes);
        match (&line, stream) {
            (Line::Summary(summary), _) => self.summary = Some(summary.clone()),
            (Line::ItemError(error), _) => self.count(&error.item, &error.during),
            (Line::Text(text), Stream::Stderr) => {
                if let Some(path) = text.strip_suffix(" does not exist, skipping") {
                    self.missing_includes.insert(path.to_owned());
                }
                self.remember(bytes);
            }
            (Line::Message(_) | Line::ExitError { .. } | Line::Other, Stream::Stderr) => self.remember(bytes),
            (Line::Progress(_), _) | (_, Stream::Stdout) => {}
        }
        line
    }

    /// A folder may be named twice, once while scanning and once while reading: each name counts once.
    fn count(&mut self, item: &str, during: &str) {
        let new = if self.seen.len() < SEEN {
            self.seen.insert(item.to_owned())
        } else {
            during != "scan" && !self.seen.contains(item)
        };
        self.unreadable_items += u64::from(new);
    }

    fn remember(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let text = strip_terminal(&text);
        let cut = (0..=text.len().min(LONGEST)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.stderr_tail.push_str(&text[..cut]);
        self.stderr_tail.push('\n');
        if self.stderr_tail.len() > 2 * TAIL {
            let from = self.stderr_tail.len() - TAIL;
            let newline = self.stderr_tail.as_bytes()[from..].iter().position(|byte| *byte == b'\n');
            self.stderr_tail.drain(..=from + newline.unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(path: &str, during: &str) -> Vec<u8> {
        let value = serde_json::json!({"message_type": "error", "error": {}, "during": during, "item": path});
        value.to_string().into_bytes()
    }

    #[test]
    fn a_folder_named_while_scanning_and_while_reading_counts_once() {
        let mut facts = Facts::default();
        facts.observe(Stream::Stderr, &item("/a", "scan"));
        facts.observe(Stream::Stderr, &item("/a", "archival"));
        facts.observe(Stream::Stderr, &item("/b", "archival"));
        assert_eq!(facts.unreadable_items, 2);
        assert_eq!(facts.stderr_tail, "");
    }

    #[test]
    fn a_million_unreadable_files_are_counted_in_bounded_memory() {
        let mut facts = Facts::default();
        for n in 0..30_000 {
            facts.observe(Stream::Stderr, &item(&format!("/{n}"), "archival"));
        }
        assert_eq!(facts.unreadable_items, 30_000);
        assert_eq!(facts.seen.len(), SEEN);
        facts.observe(Stream::Stderr, &item("/1", "archival"));
        facts.observe(Stream::Stderr, &item("/new", "scan"));
        assert_eq!(facts.unreadable_items, 30_000, "known, or to be named again when it is read");
    }

    #[test]
    fn missing_includes_are_those_found_before_and_those_restic_names() {
        let mut facts = Facts::with_missing_includes(["/x".to_owned()]);
        assert_eq!(facts.missing_includes.iter().collect::<Vec<_>>(), ["/x"]);
        facts.observe(Stream::Stderr, b"/y does not exist, skipping\n");
        facts.observe(Stream::Stderr, b"/x does not exist, skipping\n");
        facts.observe(Stream::Stdout, b"/z does not exist, skipping\n");
        assert_eq!(facts.missing_includes.iter().collect::<Vec<_>>(), ["/x", "/y"]);
    }

    #[test]
    fn the_tail_is_cut_only_when_it_is_longer_than_allowed() {
        let mut facts = Facts::default();
        for _ in 0..2 * TAIL / 1_024 {
            facts.observe(Stream::Stderr, "x".repeat(1_023).as_bytes());
        }
        assert_eq!(facts.stderr_tail.len(), 2 * TAIL);
        facts.observe(Stream::Stderr, b"last");
        assert!((TAIL - 1_024..=TAIL).contains(&facts.stderr_tail.len()), "{}", facts.stderr_tail.len());
    }

    #[test]
    fn the_tail_keeps_the_end_and_stays_small() {
        let mut facts = Facts::default();
        for n in 0..100_000 {
            facts.observe(Stream::Stderr, format!("é line {n}\n").as_bytes());
        }
        facts.observe(Stream::Stderr, "é".repeat(1 << 20).as_bytes());
        facts.observe(Stream::Stderr, b"last\n");
        assert!(facts.stderr_tail.len() <= 2 * TAIL);
        assert!(facts.stderr_tail.starts_with("é line "), "cut at a line's begin");
        assert!(facts.stderr_tail.ends_with("\nlast\n"));
    }
}
