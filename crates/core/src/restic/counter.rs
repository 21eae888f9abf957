//! How far `check`, `prune` and `forget` are: they say it as text in every release.

/// One count of a step of a longer work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counter {
    /// 0 to 100 within this step; none where the end of the step is not known.
    pub percent: Option<f64>,
    /// What is done of it, in whatever the step counts.
    pub done: u64,
}

/// Reads a line such as `[0:03] 37.50%  3 / 8 packs` or `[0:01] 12 snapshots`; none for any other line.
///
/// With `RESTIC_PROGRESS_FPS=1` restic writes one a second to standard output, whether or not something moved.
pub fn parse_counter(line: &str) -> Option<Counter> {
    let (elapsed, rest) = line.strip_prefix('[')?.split_once(']')?;
    if elapsed.is_empty()
        || !elapsed.bytes().all(|b| b.is_ascii_digit() || b == b':')
        || !elapsed.contains(':')
    {
        return None;
    }
    let mut words = rest.split_whitespace();
    let first = words.next()?;
    let (percent, done) = match first.strip_suffix('%') {
        Some(percent) => (Some(percent.parse().ok()?), words.next()?),
        None => (None, first),
    };
    Some(Counter { percent, done: done.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_and_nothing_else_is_taken_for_one() {
        let counter = |percent, done| Some(Counter { percent, done });
        assert_eq!(parse_counter("[0:03] 37.50%  3 / 8 packs"), counter(Some(37.5), 3));
        assert_eq!(parse_counter("[1:02:03] 100.00%  2 / 2 files deleted"), counter(Some(100.0), 2));
        assert_eq!(parse_counter("[0:01] 12 snapshots"), counter(None, 12));
        for other in [
            "",
            "[",
            "[]",
            "[{\"tags\":null}]",
            "[1]",
            "[0:03]",
            "[0:03] x%  1 / 2",
            "[0:03] packs",
            "done",
            "[a:3] 12 packs",
            "[03] 12 packs",
        ] {
            assert_eq!(parse_counter(other), None, "{other}");
        }
    }
}
