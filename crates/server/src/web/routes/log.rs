//! A job's log as a download: read in slices, as the client takes it, so that no log is ever in memory as a whole.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use restic_manager_core::id::JobId;
use restic_manager_core::model::LogLine;
use tokio::sync::mpsc;

use super::super::WebState;
use super::super::answer;
use super::super::table::Answer;
use crate::engine::chain;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// About how many lines are read at a time.
pub(super) const SLICE_LINES: u32 = 1000;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Its text.
    Text,
    /// All of it, as JSON.
    Ndjson,
}

impl Form {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    fn write(self, lines: &[LogLine]) -> Result<Bytes, serde_json::Error> {
        let mut out = Vec::with_capacity(lines.iter().map(|line| line.text.len() + 80).sum());
        for line in lines {
            match self {
                Self::Text => out.extend_from_slice(line.text.as_bytes()),
                Self::Ndjson => serde_json::to_writer(&mut out, line)?,
            }
            out.push(b'\n');
        }
        Ok(out.into())
    }
}

/// The log from line `from` on, as far as it goes now.
pub(super) async fn download(state: &Arc<WebState>, id: JobId, from: u64, form: Form) -> Answer {
    state.app.job(id).await?;
    // One piece waits while the client takes another; when the client is gone, so is the reader.
    let (pieces, mut taken) = mpsc::channel(1);
    tokio::spawn(read(Arc::clone(state), id, from, form, pieces));
    Ok(answer::stream(form.content_type(), stream::poll_fn(move |context| taken.poll_recv(context))))
}

async fn read(
    state: Arc<WebState>,
    id: JobId,
    from: u64,
    form: Form,
    pieces: mpsc::Sender<Result<Bytes, Fault>>,
) {
    let mut next = Some(from);
    while let Some(from) = next {
        let piece = match piece(&state, id, from, form).await {
            Ok((piece, after)) => {
                next = after;
                Ok(piece)
            }
            Err(error) => {
                tracing::error!(job_id = %id, error = %chain(&*error), "a log that is being read broke off");
                next = None;
                Err(error)
            }
        };
        if pieces.send(piece).await.is_err() {
            return;
        }
    }
}

/// A slice of the log, and where the next one begins.
async fn piece(state: &WebState, id: JobId, from: u64, form: Form) -> Result<(Bytes, Option<u64>), Fault> {
    let slice = state.app.job_log(id, from, SLICE_LINES).await?;
    let next = slice.lines.last().filter(|_| slice.more).map(|line| line.n + 1);
    Ok((form.write(&slice.lines)?, next))
}
