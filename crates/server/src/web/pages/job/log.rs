//! A job's log as its page shows it: the last lines, or those in which a text was found.

use askama::Template;
use restic_manager_core::api::JobView;
use restic_manager_core::id::JobId;
use restic_manager_core::model::{LogLine, LogStream};

use super::super::log_tail::log_tail;
use super::super::parts::Moment;
use super::super::words;
use crate::app::{App, AppError};

/// Lines that are shown.
const LINES: usize = 500;
/// Lines that are read at a time when a text is looked for.
const SLICE: u32 = 2000;

/// The log.
pub(super) struct LogPart {
    /// What is looked for.
    pub(super) find: String,
    pub(super) lines: LogLines,
    pub(super) shown: usize,
    /// Whether there is more than is shown.
    pub(super) cut: bool,
    /// Whether the job may still write.
    pub(super) open: bool,
    /// The number of the first line that is not there yet.
    pub(super) next: u64,
}

/// Lines as rows.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"{% for line in rows %}{% if let Some(gap) = line.gap %}<li class="gap">{{ gap }} not kept</li>{% endif %}<li class="{{ line.class }}"><span class="n">{{ line.n }}</span>{{ line.at }}<span class="t">{{ line.text }}</span></li>{% endfor %}"#
)]
pub(super) struct LogLines {
    rows: Vec<LogRow>,
}

impl askama::filters::HtmlSafe for LogLines {}

struct LogRow {
    n: u64,
    at: Moment,
    class: &'static str,
    text: String,
    /// How many lines before this one are not kept.
    gap: Option<String>,
}

impl LogLines {
    /// Rows in which a jump of the numbers after `expected` means that lines are not kept; none where jumps mean nothing.
    pub(super) fn new(lines: Vec<LogLine>, expected: Option<u64>) -> Self {
        let mut expected = expected;
        let row = |line: LogLine| {
            let missing = expected.map_or(0, |expected: u64| line.n.saturating_sub(expected));
            expected = expected.map(|_| line.n + 1);
            LogRow {
                n: line.n + 1,
                at: Moment::clock(line.at),
                class: class(&line),
                text: line.text,
                gap: (missing > 0).then(|| words::count(missing, "line")),
            }
        };
        Self { rows: lines.into_iter().map(row).collect() }
    }
}

/// Where a line comes from, and how bad it is as far as it says so itself.
fn class(line: &LogLine) -> &'static str {
    match line.stream {
        LogStream::Stdout => "stdout",
        LogStream::Agent => "agent",
        LogStream::Stderr if line.text.to_ascii_lowercase().contains("warning") => "stderr warn",
        LogStream::Stderr => "stderr bad",
    }
}

impl LogPart {
    /// The end of a job's log, or what is found in it.
    pub(super) async fn read(app: &App, view: &JobView, find: &str) -> Result<Self, AppError> {
        let id = view.job.id;
        let tail = log_tail(app, id, LINES).await?;
        let next = tail.lines.last().map_or(0, |line| line.n + 1);
        let (lines, cut, gaps) = if find.is_empty() {
            let first = tail.lines.first().map(|line| line.n);
            (tail.lines, tail.cut, first)
        } else {
            let (found, cut) = search(app, id, find).await?;
            (found, cut, None)
        };
        Ok(Self {
            find: find.to_owned(),
            shown: lines.len(),
            lines: LogLines::new(lines, gaps),
            cut,
            open: !view.job.state.is_final(),
            next,
        })
    }
}

/// The first lines with this text, in any case, and whether there may be more.
async fn search(app: &App, id: JobId, find: &str) -> Result<(Vec<LogLine>, bool), AppError> {
    let wanted = find.to_lowercase();
    let mut found = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        let slice = app.job_log(id, from, SLICE).await?;
        next = slice.lines.last().filter(|_| slice.more).map(|line| line.n + 1);
        found.extend(slice.lines.into_iter().filter(|line| line.text.to_lowercase().contains(&wanted)));
        if found.len() > LINES {
            found.truncate(LINES);
            return Ok((found, true));
        }
    }
    Ok((found, false))
}
