//! The log of one job: its head and its tail.

use std::collections::VecDeque;

use restic_manager_core::model::LogLine;

use crate::LogSlice;

/// Lines in order, within a budget of text: the first half is the head's, what it leaves is the tail's.
#[derive(Debug, Default)]
pub(super) struct JobLog {
    head: Vec<LogLine>,
    tail: VecDeque<LogLine>,
    head_bytes: usize,
    tail_bytes: usize,
    head_is_full: bool,
    next: u64,
}

impl JobLog {
    /// Appends lines; those at or below the newest number known of are repeats.
    pub(super) fn append(&mut self, lines: Vec<LogLine>, cap_bytes: usize) {
        for line in lines {
            if line.n < self.next {
                continue;
            }
            self.next = line.n + 1;
            self.push(line, cap_bytes);
        }
    }

    /// Goes on behind lines that are not kept.
    pub(super) fn skip_to(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// Lines from a number on, at most `max_lines` but at least one.
    pub(super) fn slice(&self, from: u64, max_lines: u32) -> LogSlice {
        let limit = usize::try_from(max_lines.max(1)).unwrap_or(usize::MAX);
        let head = &self.head[self.head.partition_point(|line| line.n < from)..];
        let tail = self.tail.range(self.tail.partition_point(|line| line.n < from)..);
        let mut rest = head.iter().chain(tail);
        let lines = rest.by_ref().take(limit).cloned().collect();
        LogSlice { lines, more: rest.next().is_some() }
    }

    fn push(&mut self, line: LogLine, cap_bytes: usize) {
        let size = line.text.len();
        self.head_is_full |= self.head_bytes + size > cap_bytes / 2;
        if !self.head_is_full {
            self.head_bytes += size;
            self.head.push(line);
            return;
        }
        self.tail_bytes += size;
        self.tail.push_back(line);
        while self.head_bytes + self.tail_bytes > cap_bytes {
            let Some(given_up) = self.tail.pop_front() else { break };
            self.tail_bytes -= given_up.text.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use restic_manager_core::model::LogStream;
    use restic_manager_core::time::Timestamp;

    use super::*;

    fn line(n: u64, text: &str) -> LogLine {
        LogLine { n, at: Timestamp::from_millis(0), stream: LogStream::Stdout, text: text.to_owned() }
    }

    fn numbers(log: &JobLog) -> Vec<u64> {
        log.slice(0, u32::MAX).lines.iter().map(|line| line.n).collect()
    }

    #[test]
    fn a_log_that_just_fits_is_kept_whole() {
        let mut log = JobLog::default();
        log.append((0..4).map(|n| line(n, "123")).collect(), 12);
        assert_eq!(numbers(&log), [0, 1, 2, 3]);
    }

    #[test]
    fn one_byte_more_gives_up_the_oldest_line_of_the_tail() {
        let mut log = JobLog::default();
        log.append((0..4).map(|n| line(n, "123")).collect(), 12);
        log.append(vec![line(4, "x")], 12);
        assert_eq!(numbers(&log), [0, 1, 3, 4]);
    }

    #[test]
    fn the_head_stays_closed_behind_a_line_that_was_too_long_for_everything() {
        let mut log = JobLog::default();
        log.append(vec![line(0, "a"), line(1, &"x".repeat(13)), line(2, "b"), line(3, "c")], 12);
        assert_eq!(numbers(&log), [0, 2, 3]);
        assert_eq!((log.head.len(), log.tail.len()), (1, 2));
    }
}
