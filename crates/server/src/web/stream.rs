//! Server-sent events: a stream that ends when the server stops, and that a slow or silent browser cannot make expensive.
//!
//! What tells the news runs in a task of its own and hands pieces over through a short queue. Where the browser does not take them for
//! [`TAKE_WITHIN`], the task ends and with it the stream; the browser comes again when it can.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::HeaderValue;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use warp::reply::Response;

use super::answer;

/// How many pieces wait for a browser at most.
const QUEUE: usize = 4;
/// How long a piece may wait for room in the queue.
const TAKE_WITHIN: Duration = Duration::from_secs(15);
/// How long a stream lasts: the browser comes again, and whoever was logged out meanwhile is not let in.
const LIFE: Duration = Duration::from_secs(15 * 60);
/// Silence is broken by a comment, so that proxies keep the stream and a browser that went away is noticed.
pub(super) const BREATHE_EVERY: Duration = Duration::from_secs(20);

/// The stream is over: the browser is gone or does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// Where the news go.
#[derive(Debug)]
pub(super) struct Listener {
    pieces: mpsc::Sender<Bytes>,
}

impl Listener {
    /// Tells an event; waits a bounded time for a browser that is slow.
    pub(super) async fn tell(&self, event: &Event<'_>) -> Result<(), Gone> {
        self.put(event.to_text().into()).await
    }

    /// Breaks the silence.
    pub(super) async fn breathe(&self) -> Result<(), Gone> {
        self.put(Bytes::from_static(b":\n\n")).await
    }

    /// Ends when the browser is gone.
    pub(super) async fn gone(&self) {
        self.pieces.closed().await;
    }

    async fn put(&self, piece: Bytes) -> Result<(), Gone> {
        self.pieces.send_timeout(piece, TAKE_WITHIN).await.map_err(|_| Gone)
    }
}

/// An event: a name (none for what takes its place in the page), a text of any number of lines, and the place from which a stream that broke goes on.
#[derive(Debug, Default)]
pub(super) struct Event<'a> {
    pub(super) name: &'a str,
    pub(super) data: &'a str,
    pub(super) id: Option<u64>,
}

impl Event<'_> {
    fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.data.len() + 64);
        // Writing to a string cannot fail.
        if !self.name.is_empty() {
            let _ = writeln!(text, "event: {}", self.name);
        }
        if let Some(id) = self.id {
            let _ = writeln!(text, "id: {id}");
        }
        // A carriage return ends a line of the stream too.
        for line in self.data.split(['\n', '\r']) {
            let _ = writeln!(text, "data: {line}");
        }
        text.push('\n');
        text
    }
}

/// A stream of what a teller tells; `shutdown` ends both, and so does [`LIFE`].
pub(super) fn events<F>(shutdown: CancellationToken, teller: impl FnOnce(Listener) -> F) -> Response
where
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (pieces, taken) = mpsc::channel(QUEUE);
    let telling = teller(Listener { pieces });
    tokio::spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(LIFE) => {}
            _over = telling => {}
        }
    });
    let body = stream::unfold(taken, |mut taken| async move {
        let piece = taken.recv().await?;
        Some((Ok::<_, Infallible>(piece), taken))
    });
    let mut response = answer::stream("text/event-stream", body);
    // Proxies that gather answers before they pass them on would hold the news back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn an_event_carries_every_line_and_no_line_can_end_it() {
        let event = Event { name: "log", data: "a\n\nevent: evil\rb", id: Some(7) };
        assert_eq!(event.to_text(), "event: log\nid: 7\ndata: a\ndata: \ndata: event: evil\ndata: b\n\n");
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_server() {
        let stop = CancellationToken::new();
        let response = events(stop.clone(), |listener| async move {
            listener.tell(&Event { name: "hello", ..Event::default() }).await?;
            std::future::pending().await
        });
        let mut body = response.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "event: hello\ndata: \n\n");
        stop.cancel();
        assert!(body.frame().await.is_none(), "the stream ends");
    }

    #[tokio::test(start_paused = true)]
    async fn a_browser_that_takes_nothing_costs_a_bounded_time_and_a_few_pieces() {
        let (told, heard) = tokio::sync::oneshot::channel();
        let response = events(CancellationToken::new(), |listener| async move {
            let mut pieces = 0;
            while listener.tell(&Event { name: "x", ..Event::default() }).await.is_ok() {
                pieces += 1;
            }
            told.send(pieces).map_err(|_| Gone)
        });
        assert_eq!(heard.await.unwrap(), QUEUE);
        drop(response);
    }

    #[tokio::test]
    async fn a_browser_that_leaves_is_noticed() {
        let (told, heard) = tokio::sync::oneshot::channel();
        let response = events(CancellationToken::new(), |listener| async move {
            listener.gone().await;
            told.send(()).map_err(|()| Gone)
        });
        drop(response);
        heard.await.unwrap();
    }
}
