//! A job, followed live over a WebSocket.
//!
//! The follower listens to the feed before it reads the store, so that nothing falls in between; whatever comes live is put in its
//! place by the number of its lines. When anything is missing, the store has it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use restic_manager_core::api::{JobEventView, JobView};
use restic_manager_core::id::JobId;
use restic_manager_core::model::LogLine;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::super::WebState;
use super::log::SLICE_LINES;
use crate::app::AppError;
use crate::engine::{FeedEvent, chain};

/// A follower that does not take a message for so long is gone.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// How often the store is asked although nothing was heard; a ping then keeps proxies from closing the connection.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Followers have nothing to say.
const MAX_INCOMING: usize = 4096;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Why following is over.
enum Over {
    /// The job is over, and all of it was told.
    Told,
    /// The follower left, or does not keep up.
    Gone,
    /// The server stops.
    Stopping,
    /// The store failed.
    Fault(AppError),
}

impl From<AppError> for Over {
    fn from(error: AppError) -> Self {
        Self::Fault(error)
    }
}

/// Tells all there is of a job and all that comes, from line `from` of its log on; ends with the job.
pub(super) async fn follow(state: Arc<WebState>, job_id: JobId, from: u64, upgrade: OnUpgrade) {
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "a follower left before its connection stood");
            return;
        }
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_INCOMING))
        .max_frame_size(Some(MAX_INCOMING));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let mut follower = Follower { state, job_id, next: from, told: None, socket };
    let Err(over) = follower.run().await;
    follower.part(over).await;
}

struct Follower {
    state: Arc<WebState>,
    job_id: JobId,
    /// The number of the first line that was not told yet.
    next: u64,
    /// The job as it was last told.
    told: Option<JobView>,
    socket: Socket,
}

impl Follower {
    async fn run(&mut self) -> Result<std::convert::Infallible, Over> {
        let mut feed = self.state.app.engine().feed().follow(self.job_id);
        self.catch_up().await?;
        loop {
            match self.wait(&mut feed).await? {
                Some(FeedEvent::Log(lines)) => self.live(&lines).await?,
                Some(FeedEvent::Progress(progress)) => {
                    self.send(&JobEventView::Progress { progress: (*progress).clone() }).await?;
                }
                Some(FeedEvent::Changed) | None => self.catch_up().await?,
            }
        }
    }

    /// The next piece of news; none when the store is to be asked.
    async fn wait(&mut self, feed: &mut Receiver<FeedEvent>) -> Result<Option<FeedEvent>, Over> {
        let shutdown = self.state.shutdown.clone();
        let look = tokio::time::sleep(LOOK_EVERY);
        tokio::pin!(look);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Err(Over::Stopping),
                event = feed.recv() => return match event {
                    Ok(event) => Ok(Some(event)),
                    Err(RecvError::Lagged(_)) => Ok(None),
                    // The feed lives as long as the engine.
                    Err(RecvError::Closed) => Err(Over::Stopping),
                },
                said = self.socket.next() => match said {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Over::Gone),
                    Some(Ok(Message::Ping(_))) => self.flush().await?,
                    Some(Ok(Message::Pong(_) | Message::Text(_) | Message::Binary(_) | Message::Frame(_))) => {}
                },
                () = &mut look => {
                    self.put(Message::Ping(bytes::Bytes::new())).await?;
                    return Ok(None);
                }
            }
        }
    }

    /// Tells where the job stands and what the store has of its log. Lines are stored before the job's end is, so a job that
    /// is over when it is read has all of its log then.
    async fn catch_up(&mut self) -> Result<(), Over> {
        let job = self.state.app.job(self.job_id).await?;
        let is_final = job.job.state.is_final();
        if self.told.as_ref().is_none_or(|told| told.job != job.job || told.hold != job.hold) {
            self.send(&JobEventView::Job { job: Box::new(job.clone()) }).await?;
            self.told = Some(job);
        }
        self.read_log().await?;
        if is_final {
            self.send(&JobEventView::End).await?;
            return Err(Over::Told);
        }
        Ok(())
    }

    async fn read_log(&mut self) -> Result<(), Over> {
        loop {
            let slice = self.state.app.job_log(self.job_id, self.next, SLICE_LINES).await?;
            self.tell(&slice.lines).await?;
            if !slice.more || slice.lines.is_empty() {
                return Ok(());
            }
        }
    }

    /// Lines from the feed: those that were told are left out, and when some before them were not heard, the store has them.
    async fn live(&mut self, lines: &[LogLine]) -> Result<(), Over> {
        if lines.iter().any(|line| line.n >= self.next)
            && lines.first().is_some_and(|first| first.n > self.next)
        {
            self.read_log().await?;
        }
        self.tell(lines).await
    }

    /// Tells lines in order, each once, and names the gaps between them.
    async fn tell(&mut self, lines: &[LogLine]) -> Result<(), Over> {
        for event in in_place(lines, &mut self.next) {
            self.send(&event).await?;
        }
        Ok(())
    }

    async fn send(&mut self, event: &JobEventView) -> Result<(), Over> {
        let text = serde_json::to_string(event).map_err(|error| {
            tracing::error!(%error, "an event of a job could not be written as JSON");
            Over::Gone
        })?;
        self.put(Message::text(text)).await
    }

    async fn put(&mut self, message: Message) -> Result<(), Over> {
        match tokio::time::timeout(SEND_WITHIN, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Over::Gone),
        }
    }

    async fn flush(&mut self) -> Result<(), Over> {
        match tokio::time::timeout(SEND_WITHIN, self.socket.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Over::Gone),
        }
    }

    /// Closes politely, within a bounded time.
    async fn part(mut self, over: Over) {
        let (code, reason) = match over {
            Over::Gone => return,
            Over::Told => (CloseCode::Normal, "the job is over"),
            Over::Stopping => (CloseCode::Away, "the server stops"),
            Over::Fault(error) => {
                tracing::error!(job_id = %self.job_id, error = %chain(&error), "a job could not be followed further");
                (CloseCode::Error, "the server could not go on")
            }
        };
        let farewell = async {
            self.socket.close(Some(CloseFrame { code, reason: reason.into() })).await?;
            // The other side's close frame, so that the last words are not cut off by a reset.
            while let Some(Ok(_)) = self.socket.next().await {}
            Ok::<(), tokio_tungstenite::tungstenite::Error>(())
        };
        let _unheard = tokio::time::timeout(Duration::from_secs(2), farewell).await;
    }
}

/// The lines from number `next` on as events, with the gaps between them; moves `next` behind them.
fn in_place(lines: &[LogLine], next: &mut u64) -> Vec<JobEventView> {
    let mut events = Vec::new();
    let mut run: Vec<LogLine> = Vec::new();
    for line in lines {
        if line.n < *next {
            continue;
        }
        if line.n > *next {
            if !run.is_empty() {
                events.push(JobEventView::Log { lines: std::mem::take(&mut run) });
            }
            events.push(JobEventView::Gap { from: *next, to: line.n });
        }
        *next = line.n + 1;
        run.push(line.clone());
    }
    if !run.is_empty() {
        events.push(JobEventView::Log { lines: run });
    }
    events
}

#[cfg(test)]
mod tests {
    use restic_manager_core::model::LogStream;
    use restic_manager_core::time::Timestamp;

    use super::*;

    fn lines(numbers: &[u64]) -> Vec<LogLine> {
        let line = |n: &u64| LogLine {
            n: *n,
            at: Timestamp::from_millis(0),
            stream: LogStream::Stdout,
            text: format!("line {n}"),
        };
        numbers.iter().map(line).collect()
    }

    #[test]
    fn lines_are_told_once_in_order_with_the_gaps_between_them() {
        let mut next = 2;
        let events = in_place(&lines(&[0, 1, 2, 3, 7, 8]), &mut next);
        let expected = [
            JobEventView::Log { lines: lines(&[2, 3]) },
            JobEventView::Gap { from: 4, to: 7 },
            JobEventView::Log { lines: lines(&[7, 8]) },
        ];
        assert_eq!(events, expected);
        assert_eq!(next, 9);
        assert_eq!(in_place(&lines(&[7, 8]), &mut next), []);
        assert_eq!(in_place(&lines(&[11]), &mut next)[0], JobEventView::Gap { from: 9, to: 11 });
    }
}
