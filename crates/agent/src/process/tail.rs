//! Reading a file that grows, line by line.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The longest line that is kept, in bytes: 1 MiB. What follows is counted and dropped.
pub const MAX_LINE: usize = 1 << 20;

const CHUNK: usize = 64 * 1024;

/// A line as it was written, without its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawLine {
    /// Its bytes, at most [`MAX_LINE`].
    pub bytes: Vec<u8>,
    /// How many further bytes it had.
    pub dropped: u64,
}

/// A file that grows, read line by line in bounded memory. It need not exist yet.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    file: Option<File>,
    chunk: Vec<u8>,
    at: usize,
    line: Vec<u8>,
    /// Bytes of the unfinished line, kept or not.
    pending: u64,
    consumed: u64,
}

impl Tail {
    /// Begins at `offset`, the [`consumed`](Self::consumed) of an earlier tail, or 0.
    pub fn new(path: &Path, offset: u64) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
            chunk: Vec::new(),
            at: 0,
            line: Vec::new(),
            pending: 0,
            consumed: offset,
        }
    }

    /// Reads an open file from its beginning.
    ///
    /// # Errors
    ///
    /// It cannot be read from its beginning.
    pub fn of(mut file: File) -> io::Result<Self> {
        file.rewind()?;
        Ok(Self { file: Some(file), ..Self::new(Path::new(""), 0) })
    }

    /// Where the first line that was not returned yet begins.
    pub const fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The next complete line, if there is one by now.
    ///
    /// # Errors
    ///
    /// Those of reading; the next call tries again.
    pub fn next_line(&mut self) -> io::Result<Option<RawLine>> {
        loop {
            let rest = self.chunk.get(self.at..).unwrap_or_default();
            let (end, length) = (rest.iter().position(|byte| *byte == b'\n'), rest.len());
            self.keep(end.unwrap_or(length));
            if end.is_some() {
                self.at += 1;
                return Ok(Some(self.take_line(1)));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// What stands behind the last line end: the last line of a process that ended without one.
    pub fn last_line(&mut self) -> Option<RawLine> {
        (self.pending > 0).then(|| self.take_line(0))
    }

    /// Moves `count` bytes of the chunk to the line.
    fn keep(&mut self, count: usize) {
        let kept = count.min(MAX_LINE.saturating_sub(self.line.len()));
        self.line.extend_from_slice(&self.chunk[self.at..self.at + kept]);
        self.at += count;
        self.pending += count as u64;
    }

    fn take_line(&mut self, line_end: u64) -> RawLine {
        let bytes = std::mem::take(&mut self.line);
        let dropped = self.pending - bytes.len() as u64;
        self.consumed += self.pending + line_end;
        self.pending = 0;
        RawLine { bytes, dropped }
    }

    fn fill(&mut self) -> io::Result<bool> {
        if self.file.is_none() {
            let mut file = match File::open(&self.path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            };
            file.seek(SeekFrom::Start(self.consumed + self.pending))?;
            self.file = Some(file);
        }
        let Some(file) = &mut self.file else { return Ok(false) };
        self.chunk.resize(CHUNK, 0);
        self.at = 0;
        let read = file.read(&mut self.chunk);
        self.chunk.truncate(*read.as_ref().unwrap_or(&0));
        Ok(read? > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn texts(tail: &mut Tail) -> Vec<String> {
        std::iter::from_fn(|| tail.next_line().unwrap())
            .map(|line| String::from_utf8(line.bytes).unwrap())
            .collect()
    }

    #[test]
    fn lines_come_when_they_are_complete_and_a_new_tail_goes_on_where_the_old_one_was() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("out");
        let mut tail = Tail::new(&path, 0);
        assert_eq!(tail.next_line().unwrap(), None, "the file is not there yet");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\n\ntw").unwrap();
        assert_eq!(texts(&mut tail), ["one", ""]);
        assert_eq!(tail.consumed(), 5);
        file.write_all(b"o\nend").unwrap();
        let mut later = Tail::new(&path, tail.consumed());
        for tail in [&mut tail, &mut later] {
            assert_eq!(texts(tail), ["two"]);
            assert_eq!(tail.last_line().unwrap().bytes, b"end");
            assert_eq!((tail.last_line(), tail.consumed()), (None, 12));
        }
    }

    #[test]
    fn a_line_of_many_mebibytes_is_cut_and_what_follows_is_read() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("out");
        let mut bytes = vec![b'x'; 5 * MAX_LINE];
        bytes.extend_from_slice(b"\nnext\n");
        std::fs::write(&path, &bytes).unwrap();
        let mut tail = Tail::new(&path, 0);
        let line = tail.next_line().unwrap().unwrap();
        assert_eq!((line.bytes.len(), line.dropped), (MAX_LINE, 4 * MAX_LINE as u64));
        assert!(line.bytes.capacity() <= 2 * MAX_LINE);
        assert_eq!(texts(&mut tail), ["next"]);
        assert_eq!(tail.consumed(), bytes.len() as u64);
    }

    proptest::proptest! {
        #[test]
        fn no_byte_is_lost_however_the_file_grows(parts in proptest::collection::vec(proptest::collection::vec(proptest::sample::select(b"ab\n".to_vec()), 0..40), 0..12)) {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join("out");
            let mut file = File::create(&path).unwrap();
            let mut tail = Tail::new(&path, 0);
            let mut read = Vec::new();
            for part in &parts {
                file.write_all(part).unwrap();
                while let Some(line) = tail.next_line().unwrap() {
                    read.extend_from_slice(&line.bytes);
                    read.push(b'\n');
                    proptest::prop_assert_eq!(tail.consumed(), read.len() as u64);
                }
            }
            read.extend(tail.last_line().map(|line| line.bytes).unwrap_or_default());
            proptest::prop_assert_eq!(read, parts.concat());
        }
    }
}
