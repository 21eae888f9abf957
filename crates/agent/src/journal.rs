//! Lines of JSON with a checksum each: what was appended and torn by a crash is told from what is whole.
//!
//! A line is 16 hex digits of SHA-256 over the JSON, a space, the JSON, a line feed.

use sha2::{Digest, Sha256};

use crate::random;

const SUM: usize = 16;

/// A record as a line.
pub(crate) fn line(json: &str) -> Vec<u8> {
    let mut line = Vec::with_capacity(SUM + 2 + json.len());
    line.extend_from_slice(sum(json.as_bytes()).as_bytes());
    line.push(b' ');
    line.extend_from_slice(json.as_bytes());
    line.push(b'\n');
    line
}

/// A stretch of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Where it starts, in bytes.
    pub(crate) offset: usize,
    /// Its bytes, line feed included where there is one.
    pub(crate) bytes: &'a [u8],
    /// The record, if the line is whole.
    pub(crate) json: Option<&'a str>,
}

/// The lines of a journal, whole ones and others.
pub(crate) fn lines(journal: &[u8]) -> impl Iterator<Item = Line<'_>> {
    journal.split_inclusive(|byte| *byte == b'\n').scan(0, |offset, bytes| {
        let line = Line { offset: *offset, bytes, json: whole(bytes) };
        *offset += bytes.len();
        Some(line)
    })
}

fn whole(line: &[u8]) -> Option<&str> {
    let line = line.strip_suffix(b"\n")?;
    let (head, json) = line.split_at_checked(SUM + 1)?;
    let told = head.strip_suffix(b" ")?;
    if told != sum(json).as_bytes() {
        return None;
    }
    std::str::from_utf8(json).ok()
}

fn sum(json: &[u8]) -> String {
    random::hex(&Sha256::digest(json)[..SUM / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_whole_only_as_it_was_written() {
        let written = line(r#"{"a":1}"#);
        assert_eq!(lines(&written).next().unwrap().json, Some(r#"{"a":1}"#));
        for cut in 0..written.len() {
            assert!(lines(&written[..cut]).all(|line| line.json.is_none()), "cut at {cut}");
        }
        for at in 0..written.len() {
            let mut damaged = written.clone();
            damaged[at] ^= 1;
            assert!(lines(&damaged).all(|line| line.json.is_none()), "damaged at {at}");
        }
    }

    #[test]
    fn a_damaged_line_does_not_hide_its_neighbours() {
        let mut journal = line("1");
        journal.extend_from_slice(b"garbage\n");
        journal.extend(line("2"));
        let found: Vec<_> = lines(&journal).map(|line| (line.offset, line.json)).collect();
        assert_eq!(found, [(0, Some("1")), (19, None), (27, Some("2"))]);
    }
}
