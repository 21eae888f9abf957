//! The logs of jobs: chunks of lines, head and tail kept.

use std::collections::BTreeMap;

use restic_manager_core::id::JobId;
use restic_manager_core::model::LogLine;
use restic_manager_core::time::Timestamp;
use sqlx::{QueryBuilder, SqliteConnection};

use super::SqliteStore;
use super::fault::Doing;
use super::log_chunk::{decode, encode};
use super::rows::{Fields, integer, json};
use crate::{LOG_CAP_BYTES, LogSlice, Result, StoreError};

/// Text at the beginning of a log that is never given up: what restic was told to do, and how it began. The tail, where restic says
/// how it ended, has twice as much.
const HEAD_BYTES: usize = LOG_CAP_BYTES / 3;
/// Text of one chunk: what a reader decompresses at least, and what the middle is given up by.
const CHUNK_BYTES: usize = 256 * 1024;
/// Lines of one chunk.
const CHUNK_LINES: usize = 2048;
/// Rows of one statement: few enough that each number of rows keeps a prepared statement.
const CHUNK_ROWS: usize = 32;
/// Chunks read at a time.
const READ_CHUNKS: i64 = 16;
/// Logs forgotten in one transaction, so that writers do not wait for a large clean-up.
const FORGET_LOGS: usize = 500;

/// What a batch of reports says of one log.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// These lines.
    Lines(&'a [LogLine]),
    /// Nothing up to this number.
    SkipTo(u64),
}

/// The counters of a log.
struct Counters {
    log_id: i64,
    next_n: u64,
    text_bytes: usize,
    head_bytes: usize,
    head_end: Option<u64>,
}

/// A chunk to be written.
struct Chunk {
    log_id: i64,
    first_n: u64,
    last_n: u64,
    line_count: usize,
    text_bytes: usize,
    lines: Vec<u8>,
}

/// Appends to the logs of many jobs, which must be there: a chunk a job, unless it is too large for one.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    parts: &BTreeMap<JobId, Vec<Part<'_>>>,
) -> Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    let mut logs = counters(connection, parts).await?;
    let mut chunks = Vec::new();
    for (job_id, parts) in parts {
        if let Some(log) = logs.get_mut(job_id) {
            chunk(log, parts, &mut chunks);
        }
    }
    write_chunks(connection, &chunks).await?;
    for log in logs.values_mut() {
        give_up_middle(connection, log).await?;
    }
    write_counters(connection, logs.values()).await
}

/// Lines of a log from a number on, in whole chunks.
pub(super) async fn slice(store: &SqliteStore, job_id: JobId, from: u64, max_lines: u32) -> Result<LogSlice> {
    let doing = "read the log of a job";
    let mut tx = store.read(doing).await?;
    let wanted = usize::try_from(max_lines.max(1)).unwrap_or(usize::MAX);
    let mut slice = LogSlice::default();
    let mut behind: Option<i64> = None;
    loop {
        let found = sqlx::query(
            "select c.first_n, c.lines, l.job_id from logs l join log_chunks c on c.log_id = l.log_id \
             where l.job_id = ?1 and c.first_n > coalesce(?2, -1) and c.first_n >= coalesce((select max(b.first_n) \
             from log_chunks b where b.log_id = l.log_id and b.first_n <= ?3), 0) order by c.first_n limit ?4",
        )
        .bind(job_id.to_string())
        .bind(behind)
        .bind(integer(from))
        .bind(READ_CHUNKS)
        .fetch_all(&mut *tx)
        .await
        .doing(doing)?;
        if found.is_empty() {
            return Ok(slice);
        }
        for row in &found {
            if slice.lines.len() >= wanted {
                slice.more = true;
                return Ok(slice);
            }
            let fields = Fields::new(row, "log of the job", "job_id");
            let lines = decode(fields.get("lines")?).map_err(|error| StoreError::Unreadable {
                what: "log of the job",
                id: job_id.to_string(),
                why: error.to_string(),
            })?;
            slice.lines.extend(lines.into_iter().filter(|line| line.n >= from));
            behind = fields.get("first_n")?;
        }
    }
}

/// Forgets the logs of jobs whose ends were learned before an instant; answers how many.
pub(super) async fn forget(store: &SqliteStore, ended_before: Timestamp) -> Result<u64> {
    let doing = "forget old logs";
    let old: Vec<i64> = sqlx::query_scalar(
        "select l.log_id from logs l join jobs j on j.id = l.job_id where j.ended_here_at < ?1",
    )
    .bind(ended_before.as_millis())
    .fetch_all(&store.readers)
    .await
    .doing(doing)?;
    let mut forgotten = 0;
    for some in old.chunks(FORGET_LOGS) {
        let mut tx = store.write(doing).await?;
        let gone = sqlx::query("delete from logs where log_id in (select value from json_each(?1))")
            .bind(json("ids", some)?)
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        tx.commit().await.doing(doing)?;
        forgotten += gone.rows_affected();
    }
    Ok(forgotten)
}

async fn counters(
    connection: &mut SqliteConnection,
    parts: &BTreeMap<JobId, Vec<Part<'_>>>,
) -> Result<BTreeMap<JobId, Counters>> {
    let doing = "read the counters of logs";
    let jobs = json("ids", &parts.keys().collect::<Vec<_>>())?;
    sqlx::query(
        "insert into logs (job_id, next_n, text_bytes, head_bytes) select value, 0, 0, 0 from json_each(?1) \
         where true on conflict do nothing",
    )
    .bind(&jobs)
    .execute(&mut *connection)
    .await
    .doing(doing)?;
    let found = sqlx::query("select * from logs where job_id in (select value from json_each(?1))")
        .bind(&jobs)
        .fetch_all(connection)
        .await
        .doing(doing)?;
    let counters = found.iter().map(|row| {
        let fields = Fields::new(row, "log of the job", "job_id");
        let counters = Counters {
            log_id: fields.get("log_id")?,
            next_n: fields.number("next_n")?,
            text_bytes: fields.number("text_bytes")?,
            head_bytes: fields.number("head_bytes")?,
            head_end: fields.number_opt("head_end")?,
        };
        Ok((fields.parsed("job_id")?, counters))
    });
    counters.collect()
}

/// Cuts what is new of a log into chunks. Lines at or below the newest number known of are repeats.
fn chunk(log: &mut Counters, parts: &[Part<'_>], chunks: &mut Vec<Chunk>) {
    let mut pending: Vec<&LogLine> = Vec::new();
    let mut bytes = 0;
    for part in parts {
        let lines = match part {
            Part::SkipTo(next) => {
                log.next_n = log.next_n.max(*next).min(LAST_N);
                continue;
            }
            Part::Lines(lines) => lines,
        };
        for line in *lines {
            // A number beyond what SQLite can order is no line of any log.
            if line.n < log.next_n || line.n >= LAST_N {
                continue;
            }
            log.next_n = line.n + 1;
            if pending.len() == CHUNK_LINES || (bytes + line.text.len() > CHUNK_BYTES && !pending.is_empty())
            {
                chunks.push(close(log, &pending, bytes));
                pending.clear();
                bytes = 0;
            }
            bytes += line.text.len();
            pending.push(line);
        }
    }
    if !pending.is_empty() {
        chunks.push(close(log, &pending, bytes));
    }
}

/// The bound of line numbers: SQLite's integers end at 2^63 - 1.
const LAST_N: u64 = i64::MAX as u64;

fn close(log: &mut Counters, lines: &[&LogLine], text_bytes: usize) -> Chunk {
    let first_n = lines.first().map_or(0, |line| line.n);
    log.text_bytes += text_bytes;
    if log.head_end.is_none() {
        if log.head_bytes + text_bytes <= HEAD_BYTES {
            log.head_bytes += text_bytes;
        } else {
            log.head_end = Some(first_n);
        }
    }
    Chunk {
        log_id: log.log_id,
        first_n,
        last_n: lines.last().map_or(first_n, |line| line.n),
        line_count: lines.len(),
        text_bytes,
        lines: encode(lines),
    }
}

async fn write_chunks(connection: &mut SqliteConnection, chunks: &[Chunk]) -> Result<()> {
    for some in chunks.chunks(CHUNK_ROWS) {
        let mut query = QueryBuilder::new(
            "insert into log_chunks (log_id, first_n, last_n, line_count, text_bytes, lines) ",
        );
        query.push_values(some, |mut row, chunk| {
            row.push_bind(chunk.log_id)
                .push_bind(integer(chunk.first_n))
                .push_bind(integer(chunk.last_n))
                .push_bind(integer(chunk.line_count as u64))
                .push_bind(integer(chunk.text_bytes as u64))
                .push_bind(&chunk.lines[..]);
        });
        query.build().execute(&mut *connection).await.doing("write the log of a job")?;
    }
    Ok(())
}

/// Gives up the oldest chunks behind the head until the rest fits.
async fn give_up_middle(connection: &mut SqliteConnection, log: &mut Counters) -> Result<()> {
    let doing = "give up the middle of a log";
    let Some(head_end) = log.head_end else { return Ok(()) };
    while log.text_bytes > LOG_CAP_BYTES {
        let oldest = sqlx::query(
            "select first_n, text_bytes, log_id from log_chunks where log_id = ?1 and first_n >= ?2 order by first_n limit 64",
        )
        .bind(log.log_id)
        .bind(integer(head_end))
        .fetch_all(&mut *connection)
        .await
        .doing(doing)?;
        let mut last = None;
        for row in &oldest {
            if log.text_bytes <= LOG_CAP_BYTES {
                break;
            }
            let fields = Fields::new(row, "log", "log_id");
            log.text_bytes = log.text_bytes.saturating_sub(fields.number("text_bytes")?);
            last = Some(fields.get::<i64>("first_n")?);
        }
        let Some(last) = last else { return Ok(()) };
        sqlx::query("delete from log_chunks where log_id = ?1 and first_n between ?2 and ?3")
            .bind(log.log_id)
            .bind(integer(head_end))
            .bind(last)
            .execute(&mut *connection)
            .await
            .doing(doing)?;
    }
    Ok(())
}

async fn write_counters(
    connection: &mut SqliteConnection,
    logs: impl Iterator<Item = &Counters>,
) -> Result<()> {
    let counters: Vec<_> =
        logs.map(|log| (log.log_id, log.next_n, log.text_bytes, log.head_bytes, log.head_end)).collect();
    sqlx::query(
        "update logs set next_n = v.value->>1, text_bytes = v.value->>2, head_bytes = v.value->>3, head_end = v.value->>4 \
         from json_each(?1) v where logs.log_id = v.value->>0",
    )
    .bind(json("counters", &counters)?)
    .execute(connection)
    .await
    .doing("write the counters of logs")?;
    Ok(())
}
