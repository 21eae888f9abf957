//! What open pages are told as it happens.

use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use restic_manager_core::model::{FinalState, JobKind, JobSummary, LogStream};
use restic_manager_core::restic::{OutcomeClass, Progress};
use restic_manager_core::wire::{AgentMessage, JobFinished, LogBatch};

use restic_manager_core::id::JobId;

use super::views::{Fleet, line};
use super::*;
use crate::engine::{FeedEvent, Incoming};

/// A stream of events as a browser reads it.
struct Stream {
    body: UnsyncBoxBody<Bytes, warp::Error>,
    text: String,
}

impl Stream {
    async fn open(browser: &Browser<'_>, path: &str) -> Self {
        let request = get(path).header("cookie", &browser.cookie);
        let response = request.filter(&browser.house.web).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(!response.headers().contains_key("content-encoding"));
        Self { body: response.into_body().boxed_unsync(), text: String::new() }
    }

    /// Reads until an event of this name came; answers its data, and what came before it.
    async fn until(&mut self, name: &str) -> (String, Vec<String>) {
        let mut before = Vec::new();
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |field: &str| {
                    let lines = event.lines().filter_map(|line| line.strip_prefix(field));
                    lines.collect::<Vec<_>>().join("\n")
                };
                if field("event: ") == name && event.lines().any(|line| line.starts_with("data:")) {
                    return (field("data: "), before);
                }
                before.push(event);
            }
            let frame = self.body.frame().await.expect("the stream goes on").unwrap();
            self.text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }

    async fn ends(mut self) {
        while let Some(frame) = self.body.frame().await {
            frame.unwrap();
        }
    }
}

fn lines(job_id: JobId, from: u64, count: u64) -> AgentMessage {
    let lines = (from..from + count).map(|n| line(n, LogStream::Stdout, &format!("line <{n}>"))).collect();
    AgentMessage::LogStream(LogBatch { job_id, lines })
}

fn finished(job_id: JobId, at: Timestamp) -> AgentMessage {
    AgentMessage::JobFinished(Box::new(JobFinished {
        job_id,
        at,
        state: FinalState::Failed,
        class: OutcomeClass::Unreachable,
        exit_code: Some(1),
        message: "the storage of `web1` does not answer".to_owned(),
        hint: None,
        summary: JobSummary::default(),
        run: None,
    }))
}

#[tokio::test]
async fn two_hundred_browsers_at_one_job_cost_its_agent_nothing() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    let id = fleet.running(JobKind::Backup).await;
    let path = format!("/jobs/{id}/stream?from=0");
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(Stream::open(&browser, &path).await);
    }
    let mut reader = Stream::open(&browser, &path).await;
    reader.until("").await;
    let engine = house.state.app.engine();
    let (batches, size) = (200, 25);
    for batch in 0..batches {
        let message = lines(id, batch * size, size);
        let incoming = vec![Incoming::Message { seq: fleet.next_seq(), message }];
        // Done at the first poll: nothing of it ever waits for a browser.
        let taken = engine.ingest(fleet.host, fleet.spool, incoming).now_or_never();
        assert_eq!(taken.expect("the agent's loop does not wait").unwrap(), []);
        engine.show(fleet.host, progress(id));
        tokio::task::yield_now().await;
    }
    let over = vec![Incoming::Message { seq: fleet.next_seq(), message: finished(id, house.clock.now()) }];
    engine.ingest(fleet.host, fleet.spool, over).now_or_never().expect("nor does the end").unwrap();
    let (_, before) = reader.until("rm-end").await;
    let told: Vec<&str> = before
        .iter()
        .filter(|event| event.contains("event: rm-log"))
        .flat_map(|event| numbers(event))
        .collect();
    let expected: Vec<String> = (1..=batches * size).map(|n| n.to_string()).collect();
    assert_eq!(told, expected, "each line once, in its place");
    reader.ends().await;
    house.state.shutdown.cancel();
    for stream in silent {
        stream.ends().await;
    }
}

fn progress(job_id: JobId) -> AgentMessage {
    let progress = Progress { percent: 12.5, bytes_done: 1 << 20, ..Progress::default() };
    AgentMessage::JobProgress(restic_manager_core::wire::JobProgress { job_id, progress })
}

/// The numbers of the lines in an event.
fn numbers(event: &str) -> Vec<&str> {
    let marker = r#"<span class="n">"#;
    event.split(marker).skip(1).filter_map(|rest| rest.split('<').next()).collect()
}

#[tokio::test]
async fn the_page_of_a_job_is_told_anew_and_a_stream_that_broke_goes_on_where_it_was() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    let id = fleet.running(JobKind::Backup).await;
    let page = browser.look(&format!("/jobs/{id}")).await.html;
    assert!(page.contains(&format!(r#"hx-sse:connect="/jobs/{id}/stream?from=0""#)), "{page}");
    let mut stream = Stream::open(&browser, &format!("/jobs/{id}/stream?from=0")).await;
    let (head, _) = stream.until("").await;
    assert!(head.starts_with(r#"<div id="job-live""#) && !head.contains("12.5 %"), "{head}");
    let engine = house.state.app.engine();
    let done = Progress { percent: 12.5, bytes_done: 6 << 20, ..Progress::default() };
    engine.feed().publish(id, FeedEvent::Progress(Arc::new(done)));
    let (head, _) = stream.until("").await;
    assert!(
        head.contains("12.5 %") && head.contains("102.4 KiB/s") && head.contains("not known yet"),
        "{head}"
    );
    let incoming = vec![Incoming::Message { seq: fleet.next_seq(), message: lines(id, 0, 3) }];
    engine.ingest(fleet.host, fleet.spool, incoming).await.unwrap();
    let (rows, before) = stream.until("rm-log").await;
    assert_eq!(numbers(&rows), ["1", "2", "3"]);
    assert!(rows.contains("line &#60;0&#62;"), "{rows}");
    assert!(before.iter().all(|event| !event.contains("rm-end")));
    drop(stream);
    let again = get(&format!("/jobs/{id}/stream?from=0")).header("cookie", &browser.cookie);
    let again = again.header("last-event-id", "2").filter(&house.web).await.unwrap();
    let mut again = Stream { body: again.into_body().boxed_unsync(), text: String::new() };
    let (rows, _) = again.until("rm-log").await;
    assert_eq!(numbers(&rows), ["3"], "what was told is not told again");
    let over = vec![Incoming::Message { seq: fleet.next_seq(), message: finished(id, house.clock.now()) }];
    engine.ingest(fleet.host, fleet.spool, over).await.unwrap();
    let (_, before) = again.until("rm-end").await;
    assert!(
        before.last().unwrap().contains("The storage of <code>web1</code> does not answer"),
        "{before:?}"
    );
    again.ends().await;
}

#[tokio::test(start_paused = true)]
async fn every_page_hears_of_what_changed_and_of_what_went_wrong() {
    let house = House::new();
    let browser = house.browser().await;
    assert!(browser.look("/repos").await.html.contains(r#"hx-sse:connect="/live""#));
    let mut fleet = Fleet::new(&house, "web<1>").await;
    let mut stream = Stream::open(&browser, "/live").await;
    house.state.app.engine().feed().contact(fleet.host);
    stream.until("rm-changed").await;
    let failed = fleet.ended(JobKind::Check, FinalState::Failed, "no `storage`", JobSummary::default()).await;
    house.state.app.engine().feed().finished(failed);
    let (toast, _) = stream.until("rm-toast").await;
    assert!(toast.contains(&format!("/jobs/{failed}")) && toast.contains("web&#60;1&#62;"), "{toast}");
    assert!(toast.starts_with(r#"<div class="bad""#) && toast.contains("No storage"), "{toast}");
    house.state.shutdown.cancel();
    stream.ends().await;
}

#[tokio::test]
async fn nobody_without_a_session_hears_anything() {
    let house = House::new();
    house.browser().await;
    for path in ["/live", "/jobs/01900000-0000-7000-8000-000000000000/stream"] {
        let refused = house.answer(get(path).header("hx-request", "true")).await;
        assert_eq!(
            (refused.status, refused.header("hx-refresh"), refused.html.as_str()),
            (401, "true", ""),
            "{path}"
        );
        assert_eq!(house.answer(get(path)).await.status, 303, "{path}");
    }
}
