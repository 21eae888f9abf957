//! The log of one job: numbered, redacted, in batches, and exactly continued by a later agent.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use restic_manager_core::id::JobId;
use restic_manager_core::model::{LogLine, LogStream};
use restic_manager_core::wire::{AgentMessage, LogBatch};
use tokio::sync::mpsc;

use super::redact::Redactor;
use crate::journal;
use crate::process::{RawLine, now};

/// Bytes of text after which a batch is sent at once.
const BATCH: usize = 64 * 1024;
/// What a line costs besides its text, about: a batch of empty lines must fit a frame too.
const LINE_COST: usize = 96;
/// The longest text of one line; what follows is named in a note.
const LONGEST: usize = 64 * 1024;
const CHECKPOINTS: &str = "log.checkpoints";

/// How far both outputs of restic were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Of which main command of the job, from 1; 0 before the first.
    pub(crate) run: u32,
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
}

impl Position {
    /// That of a main command of which everything was told.
    pub(crate) const fn everything(run: u32) -> Self {
        Self { run, stdout: u64::MAX, stderr: u64::MAX }
    }
}

/// The log of one job.
#[derive(Debug)]
pub(crate) struct JobLog {
    job_id: JobId,
    out: mpsc::Sender<AgentMessage>,
    redactor: Redactor,
    next: u64,
    lines: Vec<LogLine>,
    cost: usize,
    position: Position,
    checkpoints: Option<File>,
}

impl JobLog {
    /// A log that begins with line 0.
    pub(crate) fn new(job_id: JobId, redactor: Redactor, out: mpsc::Sender<AgentMessage>) -> Self {
        let position = Position::default();
        Self { job_id, out, redactor, next: 0, lines: Vec::new(), cost: 0, position, checkpoints: None }
    }

    /// Keeps checkpoints in the job's folder from here on. Without them (a full disk) the log goes on; a later agent
    /// then repeats some lines.
    pub(crate) fn keep_checkpoints(&mut self, dir: &Path) {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(dir.join(CHECKPOINTS));
        self.checkpoints = file.ok();
    }

    /// Goes on with line `next`, and says how far the outputs were read when that line was reached.
    pub(crate) fn resume(&mut self, dir: &Path, next: u64) -> Position {
        self.next = next;
        self.position = read_checkpoint(dir, next);
        self.position
    }

    /// Takes in a line of restic's. `read_to` is how far both outputs were read with it.
    pub(crate) async fn restic(&mut self, stream: LogStream, line: &RawLine, read_to: Position) {
        self.position = read_to;
        let text = self.text_of(line);
        self.push(stream, text).await;
    }

    /// A main command begins, or its outputs were read so far.
    pub(crate) const fn reached(&mut self, read_to: Position) {
        self.position = read_to;
    }

    /// Takes in a line of a process whose output is not continued by a later agent.
    pub(crate) async fn restic_aside(&mut self, stream: LogStream, line: &RawLine) {
        let text = self.text_of(line);
        self.push(stream, text).await;
    }

    /// The agent's own word.
    pub(crate) async fn agent(&mut self, text: impl AsRef<str>) {
        let text = self.redact(text.as_ref());
        self.push(LogStream::Agent, text).await;
    }

    /// A text without secrets.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.redactor.redact(text)
    }

    /// Sends what there is.
    pub(crate) async fn flush(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        self.checkpoint();
        self.cost = 0;
        let lines = std::mem::take(&mut self.lines);
        // Nobody listens any more: the agent is leaving, and a later one reads the files again.
        let _ = self.out.send(AgentMessage::LogStream(LogBatch { job_id: self.job_id, lines })).await;
    }

    fn text_of(&self, line: &RawLine) -> String {
        let text = String::from_utf8_lossy(&line.bytes);
        // Redacted before it is cut, so that no half of a secret stays at the end.
        let mut text = self.redactor.redact(without_terminal(&text));
        let cut = (0..=text.len().min(LONGEST)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let dropped = (text.len() - cut) as u64 + line.dropped;
        if dropped > 0 {
            text.truncate(cut);
            text.push_str(&format!(" [cut here: {dropped} more bytes]"));
        }
        text
    }

    async fn push(&mut self, stream: LogStream, text: String) {
        self.cost += text.len() + LINE_COST;
        self.lines.push(LogLine { n: self.next, at: now(), stream, text });
        self.next += 1;
        if self.cost >= BATCH {
            self.flush().await;
        }
    }

    /// Written before the batch is handed over: whoever stored the batch finds where the next one begins.
    fn checkpoint(&mut self) {
        let Some(file) = &mut self.checkpoints else { return };
        let Position { run, stdout, stderr } = self.position;
        let line = journal::line(&format!("{} {run} {stdout} {stderr}", self.next));
        // On a line of its own, also behind one that a full disk tore.
        if file.write_all(&[b"\n", &line[..]].concat()).is_err() {
            self.checkpoints = None;
        }
    }
}

/// What restic writes in front of a line to clear the terminal's, and the end of a line from elsewhere.
fn without_terminal(text: &str) -> &str {
    let mut text = text.trim_end_matches('\r');
    while let Some(rest) = text.strip_prefix("\u{1b}[2K").or_else(|| text.strip_prefix('\r')) {
        text = rest;
    }
    text
}

/// The checkpoint of line `next`, or the newest before it: then some lines are told twice, and none is left out.
fn read_checkpoint(dir: &Path, next: u64) -> Position {
    let bytes = std::fs::read(dir.join(CHECKPOINTS)).unwrap_or_default();
    let parsed = journal::lines(&bytes).filter_map(|line| {
        let mut numbers = line.json?.split(' ').map(str::parse::<u64>);
        let mut number = || numbers.next()?.ok();
        let (n, run) = (number()?, u32::try_from(number()?).ok()?);
        Some((n, Position { run, stdout: number()?, stderr: number()? }))
    });
    let before = parsed.filter(|(n, _)| *n <= next).max_by_key(|(n, _)| *n);
    before.map(|(_, position)| position).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use restic_manager_core::model::CredentialSecret;
    use restic_manager_core::secret::Secret;
    use restic_manager_core::time::Timestamp;

    use super::*;

    fn log() -> (JobLog, mpsc::Receiver<AgentMessage>) {
        let (out, messages) = mpsc::channel(1000);
        let credential = CredentialSecret {
            url: "/r".into(),
            password: Secret::new("geheim"),
            rest_user: None,
            rest_password: None,
            env: BTreeMap::new(),
        };
        let job_id = JobId::mint(Timestamp::from_millis(1), [1; 10]);
        (JobLog::new(job_id, Redactor::new(&credential), out), messages)
    }

    fn raw(bytes: &[u8]) -> RawLine {
        RawLine { bytes: bytes.to_vec(), dropped: 0 }
    }

    fn batches(messages: &mut mpsc::Receiver<AgentMessage>) -> Vec<Vec<LogLine>> {
        std::iter::from_fn(|| messages.try_recv().ok())
            .map(|message| match message {
                AgentMessage::LogStream(batch) => batch.lines,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[tokio::test]
    async fn a_line_is_numbered_redacted_and_readable_whatever_bytes_it_had() {
        let (mut log, mut messages) = log();
        log.agent("the password is geheim").await;
        log.restic(LogStream::Stderr, &raw(b"\x1b[2K\xff \xf0\x9f\xa6\x80\r"), Position::default()).await;
        log.flush().await;
        log.flush().await;
        let batches = batches(&mut messages);
        assert_eq!(batches.len(), 1, "nothing to say is not said");
        let seen: Vec<_> = batches[0].iter().map(|line| (line.n, line.stream, line.text.as_str())).collect();
        let expected = [(0, LogStream::Agent, "the password is ***"), (1, LogStream::Stderr, "\u{fffd} 🦀")];
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn a_secret_at_the_cut_of_a_long_line_does_not_stay_in_half() {
        let (mut log, mut messages) = log();
        let mut bytes = vec![b'x'; LONGEST - 3];
        bytes.extend_from_slice(b"geheim and more");
        log.restic(LogStream::Stdout, &RawLine { bytes, dropped: 10 }, Position::default()).await;
        log.flush().await;
        let text = batches(&mut messages).remove(0).remove(0).text;
        assert!(text.ends_with("xxx*** [cut here: 19 more bytes]"), "{}", &text[LONGEST - 20..]);
    }

    #[tokio::test]
    async fn a_batch_fits_a_frame_even_when_its_lines_are_empty() {
        let (mut log, mut messages) = log();
        for _ in 0..20_000 {
            log.restic(LogStream::Stdout, &raw(b""), Position::default()).await;
        }
        log.flush().await;
        let batches = batches(&mut messages);
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 20_000);
        for batch in batches {
            let frame = serde_json::to_string(&batch).unwrap();
            assert!(frame.len() < restic_manager_core::wire::MAX_FRAME_BYTES / 4, "{}", frame.len());
        }
    }

    #[tokio::test]
    async fn a_later_agent_goes_on_behind_the_last_batch_that_was_stored() {
        let temp = tempfile::tempdir().unwrap();
        let (mut first, _messages) = log();
        first.keep_checkpoints(temp.path());
        for n in 1..=3 {
            let read_to = Position { run: 1, stdout: n * 10, stderr: n };
            first.restic(LogStream::Stdout, &raw(b"x"), read_to).await;
            first.flush().await;
        }
        let (mut later, _messages) = log();
        assert_eq!(later.resume(temp.path(), 2), Position { run: 1, stdout: 20, stderr: 2 });
        assert_eq!(later.next, 2);
        assert_eq!(later.resume(temp.path(), 0), Position::default());
        assert_eq!(later.resume(temp.path(), 9), Position { run: 1, stdout: 30, stderr: 3 });
    }

    #[tokio::test]
    async fn a_torn_checkpoint_leaves_no_line_of_restics_out() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(CHECKPOINTS);
        let (mut first, _messages) = log();
        first.keep_checkpoints(temp.path());
        for n in 1..=2 {
            first
                .restic(LogStream::Stdout, &raw(b"x"), Position { run: 1, stdout: n * 100, stderr: 0 })
                .await;
            first.flush().await;
        }
        let whole = std::fs::read(&path).unwrap();
        let second = whole.len() / 2;
        for cut in second + 1..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut later, _messages) = log();
            assert_eq!(later.resume(temp.path(), 2).stdout, 100, "cut at {cut}");
            later.keep_checkpoints(temp.path());
            later.restic(LogStream::Stdout, &raw(b"y"), Position { run: 1, stdout: 300, stderr: 0 }).await;
            later.flush().await;
            assert_eq!(log().0.resume(temp.path(), 3).stdout, 300, "what follows counts, cut at {cut}");
        }
    }
}
