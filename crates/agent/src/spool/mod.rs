//! Reliable messages on disk, from the moment they are said until the server acknowledged them.
//!
//! Segment files of checksummed lines, each a whole frame with its number. In memory there is only an index of the files.
//! What decides a job (started, refused, finished) and what fires is synced before [`Spool::append`] returns; log
//! lines are synced by [`Spool::sync`], at the latest after [`UNSYNCED`] messages. A power failure may therefore take the
//! last few log lines that the server has already seen; their numbers are never given out again, because after a start
//! the numbering goes on [`UNSYNCED`] later.
//!
//! Calls block for as long as the disk takes; one is a few hundred microseconds where `fsync` is fast.

mod bounds;
mod segment;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use restic_manager_core::id::{JobId, RepoId, ScheduleId, SpoolId};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{AgentMessage, Frame, LogGap, MAX_FRAME_BYTES};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::random;
use crate::state::{sync_dir, write_atomically};
use bounds::repair;
use segment::{Place, Segment, Worth, lost_lines, report_of};

/// The largest frame that is kept, in bytes: when it is sent, the number of the one before it is added.
const LARGEST_BYTES: usize = MAX_FRAME_BYTES - r#""after":18446744073709551615,"#.len();
/// How many messages may wait for their `fsync`.
pub const UNSYNCED: u64 = 64;
/// How many bytes a spool holds unless told otherwise: 64 MiB.
pub const DEFAULT_LIMIT: u64 = 64 << 20;

const SEGMENT_BYTES: u64 = 1 << 20;
/// An acknowledged segment of this size is replaced by an empty one.
const RENEW_BYTES: u64 = 64 << 10;

/// What is wrong with the spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The operating system said no.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// No frame holds a message of this size.
    #[error("a message of {bytes} bytes fits in no frame; at most {LARGEST_BYTES} do")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
}

/// The spool of one agent. Only one process may have it open.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    id: SpoolId,
    limit: u64,
    /// Never empty; the last one is written to.
    segments: VecDeque<Segment>,
    active: File,
    next: u64,
    last: u64,
    forgotten: u64,
    unsynced: u64,
    /// Jobs whose last word is still here, by its number.
    ended: BTreeMap<u64, JobId>,
    /// How many log lines those had.
    ended_lines: BTreeMap<JobId, u64>,
    /// The newest list of snapshots of each repository, by its number.
    reports: BTreeMap<RepoId, u64>,
    /// The newest fire of each schedule, by number and slot.
    fires: BTreeMap<ScheduleId, (u64, Timestamp)>,
    /// Log lines of jobs that are not over: the number behind the last one written.
    lines: BTreeMap<JobId, u64>,
    /// Log lines that could not be written.
    lost: BTreeMap<JobId, LogGap>,
    /// The places of the segment that is being read.
    reading: Option<(u64, Vec<Place>)>,
}

#[derive(Serialize, Deserialize)]
struct Life {
    spool_id: SpoolId,
}

impl Spool {
    /// Opens the spool of a folder, which must exist; one that is new, or was lost, gets a new [`SpoolId`].
    ///
    /// Lines that a crash tore are set aside in a file beside their segment, which is named in the log.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn open(folder: &Path, limit: u64, now: Timestamp) -> Result<Self, SpoolError> {
        let mut ended = BTreeMap::new();
        let mut fires = BTreeMap::new();
        let mut reports = BTreeMap::new();
        let mut lines = BTreeMap::new();
        let mut segments = VecDeque::new();
        for (first, path) in segment_files(folder).map_err(failed("read", folder))? {
            let (mut segment, found) = Segment::scan(path.clone(), first).map_err(failed("read", &path))?;
            if !found.damaged.is_empty() {
                repair(folder, &mut segment, &found.damaged)?;
            }
            ended.extend(found.ended);
            fires.extend(found.fires);
            reports.extend(found.reports);
            lines.extend(found.lines);
            segments.push_back(segment);
        }
        let ended_lines = ended_lines(&ended, &mut lines);
        let was_lost = segments.is_empty();
        if was_lost {
            segments.push_back(Segment::create(folder, 1).map_err(failed("create a file in", folder))?);
        }
        let id = life(folder, was_lost, now)?;
        let newest =
            segments.iter().filter_map(|segment| segment.last.or(segment.first.checked_sub(1))).max();
        let last = newest.unwrap_or(0);
        let forgotten = segments.front().map_or(0, |segment| segment.first.saturating_sub(1));
        let Some(tail) = segments.back() else { unreachable!("a spool has a segment") };
        let active = tail.open().map_err(failed("open", &tail.path))?;
        let next = if was_lost { 1 } else { last + 1 + UNSYNCED };
        let mut spool = Self {
            folder: folder.to_owned(),
            id,
            limit,
            segments,
            active,
            next,
            last,
            forgotten,
            unsynced: 0,
            ended,
            ended_lines,
            fires,
            reports,
            lines,
            lost: BTreeMap::new(),
            reading: None,
        };
        spool.keep_reserve();
        Ok(spool)
    }

    /// The life of this spool.
    pub const fn id(&self) -> SpoolId {
        self.id
    }

    /// The number of the newest message ever written; 0 when none.
    pub const fn last_seq(&self) -> u64 {
        self.last
    }

    /// The number that the next message gets.
    pub const fn next_seq(&self) -> u64 {
        self.next
    }

    /// Everything up to this number is acknowledged or was never there.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// How many numbers wait for their acknowledgement.
    pub const fn waiting(&self) -> u64 {
        self.last.saturating_sub(self.forgotten)
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Jobs whose last word is not acknowledged yet.
    pub fn spooled_jobs(&self) -> Vec<JobId> {
        let mut jobs: Vec<JobId> = self.ended.range(self.forgotten + 1..).map(|(_, job)| *job).collect();
        jobs.sort_unstable();
        jobs.dedup();
        jobs
    }

    /// Schedules whose newest fire is not acknowledged yet, each with the slot.
    pub fn unacknowledged_fires(&self) -> impl Iterator<Item = (ScheduleId, Timestamp)> {
        let waits = |(schedule, (seq, slot)): (&ScheduleId, &(u64, Timestamp))| {
            (*seq > self.forgotten).then_some((*schedule, *slot))
        };
        self.fires.iter().filter_map(waits)
    }

    /// The number behind the last log line of a job that this spool saw; none when it saw none, or forgot.
    pub fn lines_of(&self, job: JobId) -> Option<u64> {
        self.lines.get(&job).copied()
    }

    /// Whether [`Self::forget`] would take messages off the disk.
    pub fn would_delete(&self, seq: u64) -> bool {
        let all = seq >= self.last;
        let is_old = |segment: &Segment| segment.last.is_some_and(|last| last <= seq);
        (self.segments.len() > 1 && self.segments.front().is_some_and(is_old))
            || (all && self.bytes() >= RENEW_BYTES)
    }

    /// Whether [`Self::sync`] has something to do.
    pub const fn is_dirty(&self) -> bool {
        self.unsynced > 0
    }

    /// Writes a reliable message down and answers the newest number.
    ///
    /// Log lines for which there is no room become a gap; everything else that cannot be written is an error.
    ///
    /// # Errors
    ///
    /// A full or broken disk, or a message that fits in no frame. Nothing of the message is in the spool then.
    pub fn append(&mut self, message: &AgentMessage) -> Result<u64, SpoolError> {
        if let Some(job_id) = message.job_id()
            && let Some(gap) = self.lost.remove(&job_id)
            && let Err(error) = self.write(&AgentMessage::LogGap(gap.clone()))
        {
            self.lost.insert(job_id, gap);
            warn!(%error, "the gap in a job's log is not written down yet");
        }
        let gives_way = lost_lines(message);
        if let Some(gap) = gives_way.as_ref().filter(|_| self.is_full_of_duties()) {
            self.write(&AgentMessage::LogGap(gap.clone()))?;
            return Ok(self.last);
        }
        match (self.write(message), gives_way) {
            (Ok(()), _) => {}
            (Err(error), Some(gap)) => self.lose(&gap, &error),
            (Err(error @ SpoolError::TooLong { .. }), None) => return Err(error),
            (Err(error), None) => {
                warn!(%error, "the disk is full or broken; the spool's reserve is used");
                let _ = std::fs::remove_file(self.reserve());
                self.write(message)?;
            }
        }
        if must_be_synced(message) || self.unsynced >= UNSYNCED {
            self.sync()?;
        }
        self.keep_bounded()?;
        Ok(self.last)
    }

    /// The frame of a message, ready to be sent; none where the number stands for nothing.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn read(&mut self, seq: u64) -> Result<Option<String>, SpoolError> {
        let Some(at) = self.segments.iter().rposition(|segment| segment.first <= seq) else {
            return Ok(None);
        };
        let segment = &self.segments[at];
        let stale = |(first, places): &(u64, Vec<Place>)| {
            *first != segment.first || places.last().map(|place| place.seq) != segment.last
        };
        if self.reading.as_ref().is_none_or(stale) {
            let places = segment.places().map_err(failed("read", &segment.path))?;
            self.reading = Some((segment.first, places));
        }
        let Some((_, places)) = &self.reading else { return Ok(None) };
        let Ok(found) = places.binary_search_by_key(&seq, |place| place.seq) else { return Ok(None) };
        segment.read(places[found]).map_err(failed("read", &segment.path))
    }

    /// The server has everything up to this number; whole segments of it are deleted.
    ///
    /// # Errors
    ///
    /// Those of the operating system; what could not be deleted is deleted later.
    pub fn forget(&mut self, seq: u64) -> Result<(), SpoolError> {
        self.forgotten = self.forgotten.max(seq.min(self.last));
        let untold = self.ended.split_off(&(self.forgotten + 1));
        for job in std::mem::replace(&mut self.ended, untold).values() {
            self.ended_lines.remove(job);
        }
        if self.forgotten == self.last {
            self.reading = None;
            if self.segments.back().is_some_and(|segment| segment.bytes >= RENEW_BYTES) {
                self.begin_segment()?;
            }
        }
        let mut deleted = false;
        while self.segments.len() > 1
            && self
                .segments
                .front()
                .is_some_and(|segment| segment.last.is_none_or(|last| last <= self.forgotten))
        {
            let Some(segment) = self.segments.pop_front() else { break };
            std::fs::remove_file(&segment.path).map_err(failed("delete", &segment.path))?;
            deleted = true;
        }
        if deleted {
            sync_dir(&self.folder).map_err(failed("sync", &self.folder))?;
            self.keep_reserve();
        }
        Ok(())
    }

    /// Makes all that was written survive a power failure.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        if self.unsynced > 0 {
            self.active.sync_data().map_err(failed("sync", &self.folder))?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Begins a new life of the spool: the server knows of numbers that this one does not, so it is an older copy.
    ///
    /// What is not acknowledged is kept and said again under the new [`SpoolId`].
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn begin_new_life(&mut self, now: Timestamp) -> Result<(), SpoolError> {
        self.id = life(&self.folder, true, now)?;
        Ok(())
    }

    fn write(&mut self, message: &AgentMessage) -> Result<(), SpoolError> {
        let frame = Frame::reliable(self.next, message).to_text();
        if frame.len() > LARGEST_BYTES {
            return Err(SpoolError::TooLong { bytes: frame.len() });
        }
        if self.segments.back().is_some_and(|segment| segment.bytes >= SEGMENT_BYTES) {
            self.begin_segment()?;
        }
        let Some(segment) = self.segments.back_mut() else { unreachable!("a spool has a segment") };
        segment
            .append(&mut self.active, self.next, &frame, Worth::of(message, frame.len()))
            .map_err(failed("write to", &segment.path))?;
        if let AgentMessage::JobFinished(_) | AgentMessage::JobRefused(_) = message
            && let Some(job) = message.job_id()
        {
            self.ended.insert(self.next, job);
            self.ended_lines.extend(self.lines.remove(&job).map(|lines| (job, lines)));
        }
        if let Some(repo) = report_of(message) {
            self.reports.insert(repo, self.next);
        }
        if let AgentMessage::ScheduleFire(fire) = message {
            self.fires.insert(fire.schedule_id, (self.next, fire.slot));
        }
        if let Some(lines) = lost_lines(message) {
            self.lines.insert(lines.job_id, lines.to);
        }
        self.last = self.next;
        self.next += 1;
        self.unsynced += 1;
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), SpoolError> {
        self.sync()?;
        let segment =
            Segment::create(&self.folder, self.next).map_err(failed("create a file in", &self.folder))?;
        self.active = segment.open().map_err(failed("open", &segment.path))?;
        self.segments.push_back(segment);
        Ok(())
    }
}

/// Whether losing it to a power failure would make the agent forget what it did.
const fn must_be_synced(message: &AgentMessage) -> bool {
    match message {
        AgentMessage::ScheduleFire(_)
        | AgentMessage::ScheduleAck(_)
        | AgentMessage::JobRefused(_)
        | AgentMessage::JobStarted(_)
        | AgentMessage::JobFinished(_) => true,
        AgentMessage::Hello(_)
        | AgentMessage::Heartbeat(_)
        | AgentMessage::JobProgress(_)
        | AgentMessage::LogStream(_)
        | AgentMessage::LogGap(_)
        | AgentMessage::RepoStats(_)
        | AgentMessage::SnapshotsReport(_) => false,
    }
}

fn segment_files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(first) = Segment::number(&path) {
            files.push((first, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Takes the lines of jobs that are over out of those of all.
fn ended_lines(ended: &BTreeMap<u64, JobId>, lines: &mut BTreeMap<JobId, u64>) -> BTreeMap<JobId, u64> {
    ended.values().filter_map(|job| Some((*job, lines.remove(job)?))).collect()
}

/// The spool's id: the stored one, or a new one where there is none to trust.
fn life(folder: &Path, was_lost: bool, now: Timestamp) -> Result<SpoolId, SpoolError> {
    let path = folder.join("spool.json");
    let stored = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice::<Life>(&bytes).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed("read", &path)(error)),
    };
    if let Some(life) = stored.filter(|_| !was_lost) {
        return Ok(life.spool_id);
    }
    let life = Life { spool_id: SpoolId::mint(now, random::bytes()) };
    let text = format!("{{\"spool_id\":\"{}\"}}", life.spool_id);
    write_atomically(&path, text.as_bytes()).map_err(failed("write", &path))?;
    Ok(life.spool_id)
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Io { what, path, source }
}

#[cfg(test)]
mod tests;
