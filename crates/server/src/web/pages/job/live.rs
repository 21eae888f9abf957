//! A job's page, told anew as the job goes on.
//!
//! The teller listens to the feed before it reads the store, so that nothing falls in between; lines are put in their place by their
//! number, and what was not heard is read from the store. A browser that is slow makes its teller lag, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use restic_manager_core::api::JobView;
use restic_manager_core::id::JobId;
use restic_manager_core::model::LogLine;
use restic_manager_core::secret::Secret;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::super::super::WebState;
use super::super::super::ask::Ask;
use super::super::super::stream::{BREATHE_EVERY, Event, Gone, Listener, events};
use super::super::super::table::Answer;
use super::super::fields::Fields;
use super::super::frame::Visitor;
use super::LivePart;
use super::log::LogLines;
use crate::app::AppError;
use crate::engine::{FeedEvent, chain};

/// The head of the page is told at most this often.
const HEAD_EVERY: Duration = Duration::from_millis(500);
/// Lines that are read at a time.
const SLICE: u32 = 500;

/// Why a teller stops.
enum Over {
    /// The job is over, and all of it was told.
    Told,
    Gone,
    Fault(AppError),
}

impl From<Gone> for Over {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<AppError> for Over {
    fn from(error: AppError) -> Self {
        Self::Fault(error)
    }
}

/// All that comes of a job, from line `from` of its log on; a stream that broke goes on where it was.
pub(super) async fn stream(visitor: Visitor, ask: Ask) -> Answer {
    let id: JobId = ask.id("id", "job")?;
    ask.state.app.job(id).await?;
    let fields = Fields::parse(ask.query_text().as_bytes());
    let last = ask.headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let next = last.and_then(|id| id.parse().ok()).or_else(|| fields.text("from").parse().ok()).unwrap_or(0);
    let csrf = Secret::new(visitor.frame.csrf());
    let state = Arc::clone(&ask.state);
    Ok(events(ask.state.shutdown.clone(), move |listener| async move {
        let mut teller = Teller { state, id, csrf, next, view: None, head_at: Instant::now(), listener };
        match teller.run().await {
            Ok(never) => match never {},
            Err(Over::Told) => teller.listener.tell(&Event { name: "rm-end", ..Event::default() }).await,
            Err(Over::Gone) => Err(Gone),
            Err(Over::Fault(error)) => {
                tracing::error!(job = %id, error = %chain(&error), "the page of a job could not be told further");
                Err(Gone)
            }
        }
    }))
}

struct Teller {
    state: Arc<WebState>,
    id: JobId,
    /// What a form in the head carries.
    csrf: Secret,
    /// The number of the first line that was not told yet.
    next: u64,
    /// The job as it was last heard of, while that was not told.
    view: Option<JobView>,
    /// When the head may be told again.
    head_at: Instant,
    listener: Listener,
}

impl Teller {
    async fn run(&mut self) -> Result<std::convert::Infallible, Over> {
        let mut feed = self.state.app.engine().feed().follow(self.id);
        let mut latest = self.catch_up().await?;
        loop {
            match self.hear(&mut feed).await? {
                Heard::Event(FeedEvent::Log(lines)) => self.live(&lines).await?,
                Heard::Event(FeedEvent::Progress(progress)) => {
                    latest.progress = Some((*progress).clone());
                    self.view = Some(latest.clone());
                }
                Heard::Event(FeedEvent::Changed) => latest = self.catch_up().await?,
                Heard::HeadIsDue => self.tell_head().await?,
                Heard::Nothing => {
                    self.listener.breathe().await?;
                    latest = self.catch_up().await?;
                }
            }
        }
    }

    async fn hear(&self, feed: &mut Receiver<FeedEvent>) -> Result<Heard, Over> {
        tokio::select! {
            () = self.listener.gone() => Err(Over::Gone),
            heard = feed.recv() => Ok(match heard {
                Ok(event) => Heard::Event(event),
                Err(RecvError::Lagged(_)) => Heard::Event(FeedEvent::Changed),
                // The feed lives as long as the engine.
                Err(RecvError::Closed) => return Err(Over::Gone),
            }),
            () = tokio::time::sleep_until(self.head_at), if self.view.is_some() => Ok(Heard::HeadIsDue),
            () = tokio::time::sleep(BREATHE_EVERY) => Ok(Heard::Nothing),
        }
    }

    /// Tells where the job stands and what the store has of its log. Lines are stored before the job's end is, so a job that is over
    /// when it is read has all of its log then.
    async fn catch_up(&mut self) -> Result<JobView, Over> {
        let view = self.state.app.job(self.id).await?;
        self.read_log().await?;
        self.view = Some(view.clone());
        self.tell_head().await?;
        if view.job.state.is_final() {
            return Err(Over::Told);
        }
        Ok(view)
    }

    async fn read_log(&mut self) -> Result<(), Over> {
        loop {
            let slice = self.state.app.job_log(self.id, self.next, SLICE).await?;
            self.tell_lines(&slice.lines).await?;
            if !slice.more || slice.lines.is_empty() {
                return Ok(());
            }
        }
    }

    /// Lines from the feed; when some before them were not heard, the store has them.
    async fn live(&mut self, lines: &[LogLine]) -> Result<(), Over> {
        if lines.first().is_some_and(|first| first.n > self.next) {
            self.read_log().await?;
        }
        self.tell_lines(lines).await
    }

    async fn tell_lines(&mut self, lines: &[LogLine]) -> Result<(), Over> {
        let news: Vec<LogLine> = lines.iter().filter(|line| line.n >= self.next).cloned().collect();
        let Some(last) = news.last().map(|line| line.n) else { return Ok(()) };
        let html = LogLines::new(news, Some(self.next)).to_string();
        self.next = last + 1;
        Ok(self.listener.tell(&Event { name: "rm-log", data: &html, id: Some(self.next) }).await?)
    }

    async fn tell_head(&mut self) -> Result<(), Over> {
        let Some(view) = self.view.take() else { return Ok(()) };
        self.head_at = Instant::now() + HEAD_EVERY;
        let now = self.state.app.clock().now();
        let part = LivePart::new(&self.state.app, &view, now, &self.csrf).await?;
        let Ok(html) = part.render() else { return Err(Over::Gone) };
        // Without a name: it takes the place of what it was.
        Ok(self.listener.tell(&Event { name: "", data: &html, id: Some(self.next) }).await?)
    }
}

enum Heard {
    Event(FeedEvent),
    HeadIsDue,
    Nothing,
}
