//! Lines of a log as one compressed value.
//!
//! A chunk is a version byte and an LZ4 block (with its size before compression) of lines, each written as: how many numbers lie
//! between it and the line before, milliseconds since the line before (zigzag), its stream, the length of its text, its text. Numbers
//! are LEB128.

use restic_manager_core::model::{LogLine, LogStream};
use restic_manager_core::time::Timestamp;

/// The only format there is.
const VERSION: u8 = 1;

/// A chunk that is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChunkError {
    #[error("the chunk has format {0:?}, this build knows {VERSION}")]
    Version(Option<u8>),
    #[error("the chunk cannot be decompressed: {0}")]
    Compression(#[from] lz4_flex::block::DecompressError),
    #[error("the chunk ends in the middle of a line")]
    Short,
    #[error("the chunk names the stream {0}")]
    Stream(u8),
    #[error("the chunk holds a text that is no UTF-8")]
    Text(#[from] std::string::FromUtf8Error),
}

/// Writes lines, in order of their numbers, as a chunk.
pub(super) fn encode(lines: &[&LogLine]) -> Vec<u8> {
    let text: usize = lines.iter().map(|line| line.text.len()).sum();
    let mut plain = Vec::with_capacity(text + lines.len() * 8);
    let mut next = 0;
    let mut before = 0;
    for line in lines {
        put(&mut plain, line.n.saturating_sub(next));
        put(&mut plain, zigzag(line.at.as_millis().wrapping_sub(before)));
        plain.push(stream_to_byte(line.stream));
        put(&mut plain, line.text.len() as u64);
        plain.extend_from_slice(line.text.as_bytes());
        next = line.n.saturating_add(1);
        before = line.at.as_millis();
    }
    let mut chunk = vec![VERSION];
    chunk.extend_from_slice(&lz4_flex::compress_prepend_size(&plain));
    chunk
}

/// Reads the lines of a chunk.
///
/// # Errors
///
/// The chunk was not written by [`encode`].
pub(super) fn decode(chunk: &[u8]) -> Result<Vec<LogLine>, ChunkError> {
    let Some((&VERSION, block)) = chunk.split_first() else {
        return Err(ChunkError::Version(chunk.first().copied()));
    };
    let plain = lz4_flex::decompress_size_prepended(block)?;
    let mut rest = plain.as_slice();
    let mut lines = Vec::new();
    let mut next = 0u64;
    let mut before = 0i64;
    while !rest.is_empty() {
        let n = next.saturating_add(take(&mut rest)?);
        let at = before.wrapping_add(unzigzag(take(&mut rest)?));
        let stream = stream_of_byte(take_bytes(&mut rest, 1)?[0])?;
        let length = usize::try_from(take(&mut rest)?).map_err(|_| ChunkError::Short)?;
        let text = String::from_utf8(take_bytes(&mut rest, length)?.to_vec())?;
        lines.push(LogLine { n, at: Timestamp::from_millis(at), stream, text });
        next = n.saturating_add(1);
        before = at;
    }
    Ok(lines)
}

const fn stream_to_byte(stream: LogStream) -> u8 {
    match stream {
        LogStream::Stdout => 0,
        LogStream::Stderr => 1,
        LogStream::Agent => 2,
    }
}

const fn stream_of_byte(byte: u8) -> Result<LogStream, ChunkError> {
    match byte {
        0 => Ok(LogStream::Stdout),
        1 => Ok(LogStream::Stderr),
        2 => Ok(LogStream::Agent),
        other => Err(ChunkError::Stream(other)),
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(rest: &mut &[u8]) -> Result<u64, ChunkError> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take_bytes(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(ChunkError::Short)
}

fn take_bytes<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], ChunkError> {
    let (taken, left) = rest.split_at_checked(count).ok_or(ChunkError::Short)?;
    *rest = left;
    Ok(taken)
}

const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: u64, at: i64, stream: LogStream, text: &str) -> LogLine {
        LogLine { n, at: Timestamp::from_millis(at), stream, text: text.to_owned() }
    }

    #[test]
    fn lines_come_back_as_they_were_written() {
        let lines = [
            line(0, 1_700_000_000_000, LogStream::Stdout, "scan finished"),
            line(1, 1_699_999_999_000, LogStream::Stderr, ""),
            line(900, i64::MAX, LogStream::Agent, "käse \u{fffd} 🦀"),
            line(u64::from(u32::MAX), i64::MIN, LogStream::Stdout, &"x".repeat(70_000)),
        ];
        let refs: Vec<&LogLine> = lines.iter().collect();
        assert_eq!(decode(&encode(&refs)).unwrap(), lines);
        assert_eq!(decode(&encode(&[])).unwrap(), []);
    }

    #[test]
    fn a_damaged_chunk_is_told_and_never_a_panic() {
        let whole = encode(&[&line(7, 5, LogStream::Stdout, "text")]);
        for end in 0..whole.len() {
            assert!(decode(&whole[..end]).is_err(), "cut at {end}");
        }
        assert!(matches!(decode(&[9, 0, 0]), Err(ChunkError::Version(Some(9)))));
        let strange = [vec![VERSION], lz4_flex::compress_prepend_size(&[0, 0, 7, 0])].concat();
        assert!(matches!(decode(&strange), Err(ChunkError::Stream(7))));
    }
}
