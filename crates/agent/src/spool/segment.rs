//! One file of the spool.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use restic_manager_core::id::{JobId, RepoId, ScheduleId};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{AgentMessage, Decoded, Frame, LogGap, ScheduleFire, decode_agent};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::journal;
use crate::state::{cut_torn_end, sync_dir, write_atomically};

/// The number of given-up messages that one gap may stand for; far below the link's window, so that a stretch of
/// numbers without a message never fills it.
const MERGED: usize = 64;

/// How many of a job's first and of its last log lines are given up last.
const EDGE_LINES: u64 = 100;
/// A message of log lines that is longer is not worth that.
const EDGE_BYTES: usize = 8 << 10;

/// What a message is worth when there is no room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// It is never given up.
    Duty,
    /// The first or last lines of a job's log, or a list of snapshots: given up last.
    Edge,
    /// Other lines.
    Lines,
}

impl Worth {
    /// The last lines of a job are known as such only once it is over.
    pub(super) fn of(message: &AgentMessage, length: usize) -> Self {
        match message {
            AgentMessage::LogStream(batch) => match batch.lines.first() {
                Some(first) if first.n < EDGE_LINES && length <= EDGE_BYTES => Self::Edge,
                Some(_) | None => Self::Lines,
            },
            AgentMessage::Hello(_)
            | AgentMessage::Heartbeat(_)
            | AgentMessage::ScheduleFire(_)
            | AgentMessage::ScheduleAck(_)
            | AgentMessage::JobRefused(_)
            | AgentMessage::JobStarted(_)
            | AgentMessage::JobProgress(_)
            | AgentMessage::LogGap(_)
            | AgentMessage::RepoStats(_)
            | AgentMessage::JobFinished(_) => Self::Duty,
            // A newer one says all that it says.
            AgentMessage::SnapshotsReport(_) => Self::Edge,
        }
    }
}

/// What gives way.
#[derive(Debug, Clone, Copy)]
pub(super) enum GiveWay<'a> {
    /// Log lines but for each job's first ones, and its last ones where it is over; with the number of lines of those that are.
    Middles(&'a BTreeMap<JobId, u64>),
    /// All log lines, and all lists of snapshots but the newest of each repository; with the numbers of those.
    Everything(&'a BTreeMap<RepoId, u64>),
}

/// A file of messages with rising numbers; its name is the number from which on it was begun.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// No message in it has a lower number.
    pub(super) first: u64,
    /// The number of its last message; none while it is empty.
    pub(super) last: Option<u64>,
    pub(super) bytes: u64,
    /// How many of these bytes are log lines, which give way.
    pub(super) log_bytes: u64,
    /// How many are the first and last log lines of jobs, which give way last.
    pub(super) edge_bytes: u64,
}

/// Where a message lies in its segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) seq: u64,
    offset: u64,
    length: usize,
}

/// What a scan of a segment found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Jobs whose last word is in it, with its number.
    pub(super) ended: Vec<(u64, JobId)>,
    /// Slots that fired, each with the number of its fire.
    pub(super) fires: Vec<(ScheduleId, (u64, Timestamp))>,
    /// Log lines of jobs: the number behind the last one.
    pub(super) lines: Vec<(JobId, u64)>,
    /// Lists of snapshots, each with its number.
    pub(super) reports: Vec<(RepoId, u64)>,
    /// Lines that are none.
    pub(super) damaged: Vec<u8>,
}

#[derive(Deserialize)]
struct Head<'a> {
    seq: u64,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Deserialize)]
struct OfJob {
    job_id: JobId,
}

impl Segment {
    /// Begins an empty one.
    pub(super) fn create(folder: &Path, first: u64) -> io::Result<Self> {
        let path = folder.join(format!("{first:020}.seg"));
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?.sync_all()?;
        sync_dir(folder)?;
        Ok(Self { path, first, last: None, bytes: 0, log_bytes: 0, edge_bytes: 0 })
    }

    /// The number in a segment's file name.
    pub(super) fn number(path: &Path) -> Option<u64> {
        if path.extension()? != "seg" {
            return None;
        }
        path.file_stem()?.to_str()?.parse().ok()
    }

    /// Reads one that is there. Nothing may be appended to it before what is damaged in it was [set aside](Self::set_aside) or
    /// [cut off](Self::cut_torn_end).
    pub(super) fn scan(path: PathBuf, first: u64) -> io::Result<(Self, Found)> {
        let content = std::fs::read(&path)?;
        let mut segment = Self { path, first, last: None, bytes: 0, log_bytes: 0, edge_bytes: 0 };
        let mut found = Found::default();
        for line in journal::lines(&content) {
            let Some(head) = line.json.and_then(|json| serde_json::from_str::<Head<'_>>(json).ok()) else {
                found.damaged.extend_from_slice(line.bytes);
                continue;
            };
            if is_last_word(&head.kind)
                && let Ok(of) = serde_json::from_str::<OfJob>(head.payload.get())
            {
                found.ended.push((head.seq, of.job_id));
            }
            if head.kind == "schedule.fire"
                && let Ok(fire) = serde_json::from_str::<ScheduleFire>(head.payload.get())
            {
                found.fires.push((fire.schedule_id, (head.seq, fire.slot)));
            }
            let mut worth = Worth::Duty;
            let gives_way = head.kind.starts_with("log.") || head.kind == "snapshots.report";
            if let Some(json) = line.json.filter(|_| gives_way)
                && let Ok(Decoded::Message(frame)) = decode_agent(json)
            {
                worth = Worth::of(&frame.message, json.len());
                found.reports.extend(report_of(&frame.message).map(|repo| (repo, head.seq)));
                found.lines.extend(lost_lines(&frame.message).map(|lines| (lines.job_id, lines.to)));
            }
            segment.count(head.seq, line.bytes.len(), worth);
        }
        Ok((segment, found))
    }

    /// Takes half a line off the end, for which no room is needed; damage before it stays, and is passed over.
    pub(super) fn cut_torn_end(&mut self) -> io::Result<()> {
        self.bytes = cut_torn_end(&self.path)?;
        Ok(())
    }

    /// Moves what is damaged to a file of its own, which it names.
    pub(super) fn set_aside(&self, damaged: &[u8]) -> io::Result<PathBuf> {
        let content = &std::fs::read(&self.path)?;
        let mut aside = self.path.with_extension("damaged");
        for n in 1.. {
            if !aside.exists() {
                break;
            }
            aside = self.path.with_extension(format!("damaged-{n}"));
        }
        write_atomically(&aside, damaged)?;
        let whole: Vec<u8> = journal::lines(content)
            .filter(|line| line.json.is_some_and(|json| serde_json::from_str::<Head<'_>>(json).is_ok()))
            .flat_map(|line| line.bytes.iter().copied())
            .collect();
        write_atomically(&self.path, &whole)?;
        Ok(aside)
    }

    fn count(&mut self, seq: u64, length: usize, worth: Worth) {
        self.last = Some(seq);
        self.bytes += length as u64;
        match worth {
            Worth::Duty => {}
            Worth::Edge => self.edge_bytes += length as u64,
            Worth::Lines => self.log_bytes += length as u64,
        }
    }

    /// Writes a message behind the others. A write that fails leaves nothing of it.
    pub(super) fn append(&mut self, file: &mut File, seq: u64, frame: &str, worth: Worth) -> io::Result<()> {
        let line = journal::line(frame);
        if let Err(error) = file.write_all(&line) {
            // Half a line must not stand before the next one; if even this fails, the checksum tells.
            let _ = file.set_len(self.bytes);
            let _ = file.seek(SeekFrom::Start(self.bytes));
            return Err(error);
        }
        self.count(seq, line.len(), worth);
        Ok(())
    }

    /// Opens it for appending.
    pub(super) fn open(&self) -> io::Result<File> {
        let mut file = OpenOptions::new().write(true).open(&self.path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(file)
    }

    /// Where its messages lie.
    pub(super) fn places(&self) -> io::Result<Vec<Place>> {
        let content = std::fs::read(&self.path)?;
        let place = |line: journal::Line<'_>| {
            let head = serde_json::from_str::<Head<'_>>(line.json?).ok()?;
            Some(Place { seq: head.seq, offset: line.offset as u64, length: line.bytes.len() })
        };
        Ok(journal::lines(&content).filter_map(place).collect())
    }

    /// The frame of one message.
    pub(super) fn read(&self, place: Place) -> io::Result<Option<String>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(place.offset))?;
        let mut bytes = vec![0; place.length];
        file.read_exact(&mut bytes)?;
        Ok(journal::lines(&bytes).next().and_then(|line| line.json.map(str::to_owned)))
    }

    /// Gives up log lines: each stretch of them becomes a `log.gap`.
    pub(super) fn give_way(&mut self, what: GiveWay<'_>) -> io::Result<()> {
        let content = std::fs::read(&self.path)?;
        let mut shrunk = Self {
            path: self.path.clone(),
            first: self.first,
            last: None,
            bytes: 0,
            log_bytes: 0,
            edge_bytes: 0,
        };
        let mut written = Vec::new();
        let mut gap: Option<(u64, usize, LogGap)> = None;
        let mut put = |seq: u64, frame: &str, worth: Worth| {
            let line = journal::line(frame);
            shrunk.count(seq, line.len(), worth);
            written.extend_from_slice(&line);
        };
        for json in journal::lines(&content).filter_map(|line| line.json) {
            let Ok(Decoded::Message(frame)) = decode_agent(json) else { continue };
            let Some(seq) = frame.seq else { continue };
            if let Some(repo) = report_of(&frame.message) {
                flush(&mut gap, &mut put);
                match what {
                    GiveWay::Middles(_) => put(seq, json, Worth::Edge),
                    GiveWay::Everything(newest) if newest.get(&repo) == Some(&seq) => {
                        put(seq, json, Worth::Duty);
                    }
                    GiveWay::Everything(_) => {}
                }
                continue;
            }
            let lost = lost_lines(&frame.message);
            let is_edge = lost.as_ref().is_some_and(|lost| {
                matches!(frame.message, AgentMessage::LogStream(_))
                    && what.spares(&frame.message, lost, json.len())
            });
            let Some(lost) = lost.filter(|_| !is_edge) else {
                flush(&mut gap, &mut put);
                put(seq, json, if is_edge { Worth::Edge } else { Worth::Duty });
                continue;
            };
            match &mut gap {
                Some((at, merged, open))
                    if open.job_id == lost.job_id && open.to == lost.from && *merged < MERGED =>
                {
                    *at = seq;
                    *merged += 1;
                    open.to = lost.to;
                }
                Some(_) | None => {
                    flush(&mut gap, &mut put);
                    gap = Some((seq, 1, lost));
                }
            }
        }
        flush(&mut gap, &mut put);
        write_atomically(&self.path, &written)?;
        *self = shrunk;
        Ok(())
    }
}

impl GiveWay<'_> {
    /// Whether a message of log lines stays.
    fn spares(self, message: &AgentMessage, lines: &LogGap, length: usize) -> bool {
        match self {
            Self::Everything(_) => false,
            Self::Middles(ended) => {
                let is_last = |all: &u64| lines.to + EDGE_LINES > *all && length <= EDGE_BYTES;
                Worth::of(message, length) == Worth::Edge || ended.get(&lines.job_id).is_some_and(is_last)
            }
        }
    }
}

fn flush(gap: &mut Option<(u64, usize, LogGap)>, put: &mut impl FnMut(u64, &str, Worth)) {
    if let Some((seq, _, gap)) = gap.take() {
        put(seq, &Frame::reliable(seq, AgentMessage::LogGap(gap)).to_text(), Worth::Duty);
    }
}

/// The lines that are lost with this message, if it is one of log lines or of a gap in them.
pub(super) fn lost_lines(message: &AgentMessage) -> Option<LogGap> {
    match message {
        AgentMessage::LogStream(batch) => {
            let (first, last) = (batch.lines.first()?, batch.lines.last()?);
            Some(LogGap { job_id: batch.job_id, from: first.n, to: last.n + 1 })
        }
        AgentMessage::LogGap(gap) => Some(gap.clone()),
        AgentMessage::Hello(_)
        | AgentMessage::Heartbeat(_)
        | AgentMessage::ScheduleFire(_)
        | AgentMessage::ScheduleAck(_)
        | AgentMessage::JobRefused(_)
        | AgentMessage::JobStarted(_)
        | AgentMessage::JobProgress(_)
        | AgentMessage::RepoStats(_)
        | AgentMessage::SnapshotsReport(_)
        | AgentMessage::JobFinished(_) => None,
    }
}

/// The repository whose snapshots this message lists.
pub(super) fn report_of(message: &AgentMessage) -> Option<RepoId> {
    match message {
        AgentMessage::SnapshotsReport(report) => Some(report.repo_id),
        AgentMessage::Hello(_)
        | AgentMessage::Heartbeat(_)
        | AgentMessage::ScheduleFire(_)
        | AgentMessage::ScheduleAck(_)
        | AgentMessage::JobRefused(_)
        | AgentMessage::JobStarted(_)
        | AgentMessage::JobProgress(_)
        | AgentMessage::LogStream(_)
        | AgentMessage::LogGap(_)
        | AgentMessage::RepoStats(_)
        | AgentMessage::JobFinished(_) => None,
    }
}

fn is_last_word(kind: &str) -> bool {
    matches!(kind, "job.finished" | "job.refused")
}
