//! What happened elsewhere, told to every browser: read and written once, however many listen.

use std::sync::{Arc, Weak};
use std::time::Duration;

use askama::Template;
use restic_manager_core::api::JobView;
use restic_manager_core::humane::{capitalised, does};
use restic_manager_core::id::JobId;
use restic_manager_core::model::JobState;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use super::ask::Ask;
use super::stream::{BREATHE_EVERY, Event, Gone, Listener, events};
use super::table::Answer;
use crate::app::App;
use crate::engine::{FleetEvent, chain};

/// How many news a browser may lag behind before it is only told that something changed.
const BACKLOG: usize = 64;
/// What changes within so much time is told once.
const GATHER: Duration = Duration::from_millis(800);

/// A piece of news, ready to be shown.
#[derive(Debug, Clone)]
enum News {
    /// Something is not as it was: look again.
    Changed,
    /// Something that people want to hear of, as HTML.
    Toast(Arc<str>),
}

/// Where the news of all browsers come from.
#[derive(Debug)]
pub(super) struct Newsroom {
    news: Sender<News>,
}

impl Newsroom {
    /// Opens it; it works as long as the façade lives and until the shutdown.
    pub(super) fn open(app: &Arc<App>, shutdown: CancellationToken) -> Self {
        let news = channel(BACKLOG).0;
        let work = gather(Arc::downgrade(app), app.engine().feed().follow_fleet(), news.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = work => {}
            }
        });
        Self { news }
    }

    /// The stream of one browser.
    pub(super) fn listen(&self, ask: &Ask) -> Answer {
        let (app, news) = (Arc::clone(&ask.state.app), self.news.subscribe());
        Ok(events(ask.state.shutdown.clone(), move |listener| tell(listener, news, app)))
    }
}

/// Turns events of the engine into news. Nothing is read while nobody listens.
async fn gather(app: Weak<App>, mut fleet: Receiver<FleetEvent>, news: Sender<News>) {
    loop {
        let over = match fleet.recv().await {
            Ok(FleetEvent::JobOver(job_id)) => Some(job_id),
            Ok(FleetEvent::JobMoved(_) | FleetEvent::Contact(_)) | Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => return,
        };
        if news.receiver_count() == 0 {
            continue;
        }
        // An error means that the last listener just left.
        let _ = news.send(News::Changed);
        if let Some(job_id) = over {
            let Some(app) = app.upgrade() else { return };
            if let Some(toast) = toast_of(&app, job_id).await {
                let _ = news.send(News::Toast(toast));
            }
        }
    }
}

async fn tell(listener: Listener, mut news: Receiver<News>, app: Arc<App>) -> Result<(), Gone> {
    loop {
        let next = tokio::select! {
            () = listener.gone() => return Err(Gone),
            next = tokio::time::timeout(BREATHE_EVERY, news.recv()) => next,
        };
        match next {
            Err(_) => listener.breathe().await?,
            Ok(Err(RecvError::Closed)) => return Ok(()),
            Ok(Ok(News::Toast(html))) => toast(&listener, &html).await?,
            Ok(Ok(News::Changed) | Err(RecvError::Lagged(_))) => {
                while told_of_changes(&listener, &mut news, &app).await? {}
            }
        }
    }
}

/// Gathers what comes within a moment and tells of it by one word; answers whether more changed meanwhile.
async fn told_of_changes(listener: &Listener, news: &mut Receiver<News>, app: &App) -> Result<bool, Gone> {
    let heard_at = app.clock().now();
    tokio::time::sleep(GATHER).await;
    let (mut toasts, mut more) = (Vec::new(), false);
    while let Ok(next) = news.try_recv() {
        match next {
            News::Toast(html) => toasts.push(html),
            News::Changed => more = true,
        }
    }
    // Whoever is told looks at once, and must not be shown the fleet as it was before.
    if let Err(error) = app.glance_since(heard_at).await {
        tracing::warn!(error = %chain(&error), "the fleet could not be looked over");
    }
    listener.tell(&Event { name: "rm-changed", data: "fleet", id: None }).await?;
    for html in toasts {
        toast(listener, &html).await?;
    }
    Ok(more)
}

async fn toast(listener: &Listener, html: &str) -> Result<(), Gone> {
    listener.tell(&Event { name: "rm-toast", data: html, id: None }).await
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<div class="{{ tone }}" data-job="{{ id }}"><p><a href="/jobs/{{ id }}"><strong>{{ title }}</strong></a></p>{% if !message.is_empty() %}<p>{{ message }}</p>{% endif %}</div>"#
)]
struct Toast {
    tone: &'static str,
    id: String,
    title: String,
    message: String,
}

/// What is told of a job that is over; nothing of what went as it should, save what a person asked for.
async fn toast_of(app: &App, id: JobId) -> Option<Arc<str>> {
    let view = match app.job(id).await {
        Ok(view) => view,
        Err(error) => {
            tracing::debug!(job = %id, error = %chain(&error), "a job that is over could not be told of");
            return None;
        }
    };
    let toast = Toast::of(&view)?;
    toast.render().ok().map(Arc::from)
}

impl Toast {
    fn of(view: &JobView) -> Option<Self> {
        let job = &view.job;
        let tone = match job.state {
            JobState::Failed | JobState::Lost => "bad",
            JobState::Warning => "warn",
            JobState::Succeeded if job.actor.kind == restic_manager_core::model::ActorKind::User => "ok",
            JobState::Succeeded
            | JobState::Queued
            | JobState::Dispatched
            | JobState::Running
            | JobState::Cancelled
            | JobState::Superseded
            | JobState::Withdrawn => return None,
        };
        let what = match &view.group_name {
            Some(group) => format!("{} of {group} on {}", job.kind.as_str(), view.host_name),
            None => format!("{} of {} on {}", job.kind.as_str(), view.repo_name, view.host_name),
        };
        let message = if job.state == JobState::Succeeded { None } else { job.message.as_deref() };
        Some(Self {
            tone,
            id: job.id.to_string(),
            title: format!("{} {}", capitalised(&what), does(job.state)),
            message: message.map(|text| capitalised(&text.replace('`', ""))).unwrap_or_default(),
        })
    }
}
