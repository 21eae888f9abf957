//! A job while it is watched: its log as data, everything else on stderr.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use restic_manager_core::api::JobView;
use restic_manager_core::model::LogLine;
use restic_manager_core::restic::Progress;

use super::{clean, count, does, note, print, size, took, warn};
use crate::error::CliError;

/// What of a followed job is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogLines {
    /// The lines of its log go to stdout.
    Texts,
    /// The same as JSON objects.
    Objects,
    /// Only where it stands and how far it is.
    Hidden,
}

/// A bar on a terminal, and lines above it.
pub(crate) struct Watch {
    bar: ProgressBar,
    lines: LogLines,
    last_said: Option<String>,
}

impl Watch {
    pub(crate) fn new(lines: LogLines) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::default_spinner());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, lines, last_said: None }
    }

    /// Where the job stands; the same is not said twice.
    pub(crate) fn job(&mut self, view: &JobView) {
        let said = standing(view);
        if self.last_said.as_deref() != Some(&said) {
            self.bar.suspend(|| note(&said));
            self.bar.set_message(clean(&said));
            self.last_said = Some(said);
        }
    }

    pub(crate) fn log(&self, lines: &[LogLine]) -> Result<(), CliError> {
        let raw = !std::io::stdout().is_terminal();
        let written: String = match self.lines {
            LogLines::Hidden => return Ok(()),
            LogLines::Texts if raw => lines.iter().map(|line| format!("{}\n", line.text)).collect(),
            LogLines::Texts => lines.iter().map(|line| format!("{}\n", clean(&line.text))).collect(),
            LogLines::Objects => lines.iter().map(object).collect::<Result<_, _>>()?,
        };
        self.bar.suspend(|| print(&written))
    }

    pub(crate) fn gap(&self, from: u64, to: u64) {
        if self.lines != LogLines::Hidden {
            let missing = count(to.saturating_sub(from), "line");
            self.bar.suspend(|| warn(&format!("{missing} of the log are missing here")));
        }
    }

    pub(crate) fn progress(&self, progress: &Progress) {
        if self.bar.length().is_none() {
            let style = ProgressStyle::with_template("{bar:24} {percent:>3} %  {wide_msg}");
            self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.bar.set_length(1000);
        }
        self.bar.set_position((progress.percent * 10.0) as u64);
        self.bar.set_message(clean(&far(progress)));
    }

    pub(crate) fn reconnecting(&self, why: &str) {
        self.bar.suspend(|| warn(&format!("the connection was lost ({why}); trying again")));
    }

    pub(crate) fn end(self) {
        self.bar.finish_and_clear();
    }
}

fn object(line: &LogLine) -> std::io::Result<String> {
    Ok(format!("{}\n", serde_json::to_string(line)?))
}

fn standing(view: &JobView) -> String {
    let job = &view.job;
    let what = match &view.group_name {
        Some(group) => {
            format!("{} of {group} on {} to {}", job.kind.as_str(), view.host_name, view.repo_name)
        }
        None => format!("{} of {} on {}", job.kind.as_str(), view.repo_name, view.host_name),
    };
    let why = view.hold_sentence.as_deref().or(job.message.as_deref());
    match why {
        Some(why) => format!("{what} {}: {why}", does(job.state)),
        None => format!("{what} {}", does(job.state)),
    }
}

/// How far a job is, in one line.
pub(crate) fn far(progress: &Progress) -> String {
    let mut text = format!(
        "{} of {}, {} of {}",
        size(progress.bytes_done),
        size(progress.bytes_total),
        progress.files_done,
        count(progress.files_total, "file")
    );
    if let Some(seconds) = progress.seconds_remaining {
        let millis = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000);
        text.push_str(&format!(", {} left", took(millis)));
    }
    if progress.error_count > 0 {
        text.push_str(&format!(", {} unreadable", progress.error_count));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_bytes_files_and_what_is_left() {
        let progress = Progress {
            percent: 25.0,
            files_done: 1,
            files_total: 12,
            bytes_done: 1536,
            bytes_total: 3 << 20,
            seconds_remaining: Some(75),
            current_files: Vec::new(),
            error_count: 2,
        };
        assert_eq!(far(&progress), "1.5 KiB of 3.0 MiB, 1 of 12 files, 1 min 15 s left, 2 unreadable");
    }
}
