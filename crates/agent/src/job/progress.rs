//! Progress at a bearable rate.

use std::time::{Duration, Instant};

use restic_manager_core::restic::Progress;

/// Lets the first report through at once, and then the newest one each interval.
#[derive(Debug)]
pub(crate) struct Throttle {
    every: Duration,
    last: Option<Instant>,
    newest: Option<Progress>,
}

/// A report that is due.
#[derive(Debug, PartialEq)]
pub(crate) enum Due {
    /// The first: it must arrive.
    First(Progress),
    /// One of many: it may get lost.
    Next(Progress),
}

impl Throttle {
    pub(crate) const fn new(every: Duration) -> Self {
        Self { every, last: None, newest: None }
    }

    /// Takes in a report; an older one that was not due yet is forgotten.
    pub(crate) fn offer(&mut self, progress: Progress) {
        self.newest = Some(progress);
    }

    /// The report that is due now.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Due> {
        let first = match self.last {
            None => true,
            Some(last) if now.duration_since(last) >= self.every => false,
            Some(_) => return None,
        };
        let newest = self.newest.take()?;
        self.last = Some(now);
        Some(if first { Due::First(newest) } else { Due::Next(newest) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(files_done: u64) -> Progress {
        Progress { files_done, ..Progress::default() }
    }

    #[test]
    fn the_first_comes_at_once_and_the_newest_each_second() {
        let start = Instant::now();
        let mut throttle = Throttle::new(Duration::from_secs(1));
        assert_eq!(throttle.due(start), None);
        throttle.offer(done(1));
        assert_eq!(throttle.due(start), Some(Due::First(done(1))));
        throttle.offer(done(2));
        throttle.offer(done(3));
        assert_eq!(throttle.due(start + Duration::from_millis(999)), None);
        assert_eq!(throttle.due(start + Duration::from_secs(1)), Some(Due::Next(done(3))));
        assert_eq!(throttle.due(start + Duration::from_secs(9)), None);
    }
}
