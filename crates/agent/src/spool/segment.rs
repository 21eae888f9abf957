//! One file of the spool.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use restic_manager_core::id::JobId;
use restic_manager_core::wire::{AgentMessage, Decoded, Frame, LogGap, decode_agent};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::journal;
use crate::state::{sync_dir, write_atomically};

/// The number of given-up messages that one gap may stand for; far below the link's window, so that a stretch of
/// numbers without a message never fills it.
const MERGED: usize = 64;

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
    /// Log lines of jobs: the number behind the last one.
    pub(super) lines: Vec<(JobId, u64)>,
    /// Damaged bytes were moved to this file.
    pub(super) set_aside: Option<PathBuf>,
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
        Ok(Self { path, first, last: None, bytes: 0, log_bytes: 0 })
    }

    /// The number in a segment's file name.
    pub(super) fn number(path: &Path) -> Option<u64> {
        if path.extension()? != "seg" {
            return None;
        }
        path.file_stem()?.to_str()?.parse().ok()
    }

    /// Reads one that is there. Damaged bytes are set aside in a file of their own, and the segment goes on without.
    pub(super) fn scan(path: PathBuf, first: u64) -> io::Result<(Self, Found)> {
        let content = std::fs::read(&path)?;
        let mut segment = Self { path, first, last: None, bytes: 0, log_bytes: 0 };
        let mut found = Found::default();
        let mut damaged = Vec::new();
        for line in journal::lines(&content) {
            let Some(head) = line.json.and_then(|json| serde_json::from_str::<Head<'_>>(json).ok()) else {
                damaged.extend_from_slice(line.bytes);
                continue;
            };
            if is_last_word(&head.kind)
                && let Ok(of) = serde_json::from_str::<OfJob>(head.payload.get())
            {
                found.ended.push((head.seq, of.job_id));
            }
            if let Some(json) = line.json.filter(|_| head.kind.starts_with("log."))
                && let Ok(Decoded::Message(frame)) = decode_agent(json)
                && let Some(lines) = lost_lines(&frame.message)
            {
                found.lines.push((lines.job_id, lines.to));
            }
            segment.count(head.seq, line.bytes.len(), head.kind == "log.stream");
        }
        if !damaged.is_empty() {
            found.set_aside = Some(segment.set_aside(&content, &damaged)?);
        }
        Ok((segment, found))
    }

    fn set_aside(&self, content: &[u8], damaged: &[u8]) -> io::Result<PathBuf> {
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

    fn count(&mut self, seq: u64, length: usize, is_log: bool) {
        self.last = Some(seq);
        self.bytes += length as u64;
        if is_log {
            self.log_bytes += length as u64;
        }
    }

    /// Writes a message behind the others. A write that fails leaves nothing of it.
    pub(super) fn append(&mut self, file: &mut File, seq: u64, frame: &str, is_log: bool) -> io::Result<()> {
        let line = journal::line(frame);
        if let Err(error) = file.write_all(&line) {
            // Half a line must not stand before the next one; if even this fails, the checksum tells.
            let _ = file.set_len(self.bytes);
            let _ = file.seek(SeekFrom::Start(self.bytes));
            return Err(error);
        }
        self.count(seq, line.len(), is_log);
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

    /// Gives up its log lines: each stretch of them becomes a `log.gap`.
    pub(super) fn give_way(&mut self) -> io::Result<()> {
        let content = std::fs::read(&self.path)?;
        let mut shrunk =
            Self { path: self.path.clone(), first: self.first, last: None, bytes: 0, log_bytes: 0 };
        let mut written = Vec::new();
        let mut gap: Option<(u64, usize, LogGap)> = None;
        let mut put = |seq: u64, frame: &str| {
            let line = journal::line(frame);
            shrunk.count(seq, line.len(), false);
            written.extend_from_slice(&line);
        };
        for json in journal::lines(&content).filter_map(|line| line.json) {
            let Ok(Decoded::Message(frame)) = decode_agent(json) else { continue };
            let Some(seq) = frame.seq else { continue };
            let Some(lost) = lost_lines(&frame.message) else {
                flush(&mut gap, &mut put);
                put(seq, json);
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

fn flush(gap: &mut Option<(u64, usize, LogGap)>, put: &mut impl FnMut(u64, &str)) {
    if let Some((seq, _, gap)) = gap.take() {
        put(seq, &Frame::reliable(seq, AgentMessage::LogGap(gap)).to_text());
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

fn is_last_word(kind: &str) -> bool {
    matches!(kind, "job.finished" | "job.refused")
}
