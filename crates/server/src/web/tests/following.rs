//! A job's log, downloaded and followed, over a real connection on loopback where one is needed.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use restic_manager_core::api::JobEventView;
use restic_manager_core::id::{HostId, JobId, RepoId, SpoolId};
use restic_manager_core::model::{Actor, JobKind, JobState, LogLine, LogStream};
use restic_manager_store::{Effect, NumberedEffect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::*;
use crate::engine::FeedEvent;
use crate::shell::{Limits, bind, serve};

/// Ends a test that would wait for ever; no test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A house with a job that waits, and the lines of its log.
struct Work {
    house: House,
    token: String,
    host_id: HostId,
    job_id: JobId,
    seq: u64,
}

impl Work {
    async fn new() -> Self {
        let house = House::new();
        let token = house.token().await;
        let made = house.answer(bearer(post("/api/enrollment-tokens"), &token).json(&json!({}))).await;
        let enroll = json!({
            "token": body::<Value>(&made)["token"], "machine_id": "m", "os_hostname": "web1",
            "agent_version": "0.1.0", "os": "linux", "arch": "x86_64",
        });
        let host: Value = body(&house.answer(post("/api/agents/enroll").json(&enroll)).await);
        let host_id: HostId = host["host_id"].as_str().unwrap().parse().unwrap();
        let path = format!("/api/hosts/{host_id}/repo-credentials");
        let credential = json!({"credential": {"url": "/srv/repo", "password": "secret of the repository"}});
        let put = house.answer(bearer(ask("PUT", &path), &token).json(&credential)).await;
        assert_eq!(put.status(), 200, "{:?}", put.body());
        let repo_id: RepoId = body::<Value>(&put)["repo_id"].as_str().unwrap().parse().unwrap();
        let engine = house.state.app.engine();
        let job = engine.new_job(JobKind::Stats, host_id, repo_id, Actor::system());
        let job_id = job.id;
        let audit = engine.audit(Actor::system(), "job.asked", ("job", job_id.to_string()), []);
        house.state.app.store().enqueue(job, audit).await.unwrap();
        Self { house, token, host_id, job_id, seq: 0 }
    }

    /// Lines as an agent reports them: stored, and nothing else.
    async fn store(&mut self, lines: &[LogLine]) {
        self.seq += 1;
        let effect = Effect::Log { job_id: self.job_id, lines: lines.to_vec() };
        let effects = vec![NumberedEffect { seq: self.seq, effect }];
        let spool_id = SpoolId::mint(Timestamp::from_millis(1), [1; 10]);
        let store = self.house.state.app.store();
        store.apply(self.host_id, spool_id, effects, self.house.clock.now()).await.unwrap();
    }

    fn publish(&self, lines: &[LogLine]) {
        let event = FeedEvent::Log(Arc::new(lines.to_vec()));
        self.house.state.app.engine().feed().publish(self.job_id, event);
    }

    async fn cancel(&self) {
        let path = format!("/api/jobs/{}/cancel", self.job_id);
        let answer = self.house.answer(bearer(post(&path), &self.token)).await;
        assert_eq!(answer.status(), 202, "{:?}", answer.body());
    }

    /// Serves on loopback until the test ends.
    async fn listen(&self) -> SocketAddr {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = self.house.state.shutdown.clone();
        tokio::spawn(serve(listener, self.house.api.clone(), Limits::default(), stop));
        address
    }

    async fn follow(&self, from: u64) -> Follower {
        let address = self.listen().await;
        let url = format!("ws://{address}/api/jobs/{}/stream?from={from}", self.job_id);
        let mut request = url.into_client_request().unwrap();
        let token = format!("Bearer {}", self.token).parse().unwrap();
        request.headers_mut().insert("authorization", token);
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, answer) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        assert_eq!(answer.status(), 101);
        Follower { socket }
    }
}

struct Follower {
    socket: WebSocketStream<TcpStream>,
}

impl Follower {
    async fn message(&mut self) -> Message {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a message comes");
            match message.expect("the connection stands").unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    async fn event(&mut self) -> JobEventView {
        let message = self.message().await;
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }

    async fn lines(&mut self) -> Vec<u64> {
        match self.event().await {
            JobEventView::Log { lines } => lines.iter().map(|line| line.n).collect(),
            other => panic!("{other:?}"),
        }
    }

    async fn closed(&mut self) -> CloseCode {
        match self.message().await {
            Message::Close(Some(frame)) => frame.code,
            other => panic!("{other:?}"),
        }
    }
}

fn lines(numbers: std::ops::Range<u64>) -> Vec<LogLine> {
    let at = Timestamp::from_millis(5);
    numbers.map(|n| LogLine { n, at, stream: LogStream::Stdout, text: format!("line {n}") }).collect()
}

#[tokio::test]
async fn a_follower_gets_what_was_what_comes_and_the_end_without_holes_or_doubles() {
    let mut work = Work::new().await;
    work.store(&lines(0..3)).await;
    let mut follower = work.follow(1).await;
    let JobEventView::Job { job } = follower.event().await else { panic!("the job comes first") };
    assert_eq!((job.job.id, job.job.state), (work.job_id, JobState::Queued));
    assert_eq!(follower.lines().await, [1, 2]);
    work.store(&lines(3..5)).await;
    work.publish(&lines(2..5));
    assert_eq!(follower.lines().await, [3, 4], "line 2 was told before");
    work.store(&lines(5..7)).await;
    work.store(&lines(7..8)).await;
    work.publish(&lines(7..8));
    assert_eq!(follower.lines().await, [5, 6, 7], "lines that were not heard are read from the store");
    work.publish(&lines(5..8));
    work.store(&lines(8..9)).await;
    work.cancel().await;
    let JobEventView::Job { job } = follower.event().await else { panic!("its new state comes") };
    assert_eq!(job.job.state, JobState::Cancelled);
    assert_eq!(follower.lines().await, [8]);
    assert_eq!(follower.event().await, JobEventView::End);
    assert_eq!(follower.closed().await, CloseCode::Normal);
}

#[tokio::test]
async fn a_follower_that_lags_reads_the_store() {
    let mut work = Work::new().await;
    let mut follower = work.follow(0).await;
    assert!(matches!(follower.event().await, JobEventView::Job { .. }));
    work.store(&lines(0..2000)).await;
    // One thread runs this test: the follower hears nothing until all are published, which is more than the feed keeps.
    for n in 0..2000 {
        work.publish(&lines(n..n + 1));
    }
    let mut seen = Vec::new();
    while seen.len() < 2000 {
        seen.extend(follower.lines().await);
    }
    assert!(seen.iter().copied().eq(0..2000), "{} lines", seen.len());
}

#[tokio::test]
async fn a_job_that_is_over_is_told_and_ends() {
    let mut work = Work::new().await;
    work.store(&lines(0..1500)).await;
    work.cancel().await;
    let mut follower = work.follow(0).await;
    assert!(matches!(follower.event().await, JobEventView::Job { .. }));
    let mut seen = Vec::new();
    while seen.len() < 1500 {
        seen.extend(follower.lines().await);
    }
    assert!(seen.iter().copied().eq(0..1500));
    assert_eq!(follower.event().await, JobEventView::End);
}

#[tokio::test]
async fn a_server_that_stops_tells_its_followers() {
    let work = Work::new().await;
    let mut follower = work.follow(0).await;
    assert!(matches!(follower.event().await, JobEventView::Job { .. }));
    work.house.state.shutdown.cancel();
    assert_eq!(follower.closed().await, CloseCode::Away);
}

#[tokio::test]
async fn a_log_is_downloaded_as_text_and_as_json_from_any_line_on() {
    let mut work = Work::new().await;
    work.store(&lines(0..1200)).await;
    work.store(&lines(1200..2500)).await;
    let text =
        work.house.answer(bearer(get(&format!("/api/jobs/{}/log.txt", work.job_id)), &work.token)).await;
    assert_eq!(text.headers()["content-type"], "text/plain; charset=utf-8");
    let text = String::from_utf8(text.body().to_vec()).unwrap();
    let expected: String = (0..2500).map(|n| format!("line {n}\n")).collect();
    assert!(text == expected, "{} bytes", text.len());
    let path = format!("/api/jobs/{}/log.ndjson?from=2498", work.job_id);
    let rows = work.house.answer(bearer(get(&path), &work.token)).await;
    assert_eq!(rows.headers()["content-type"], "application/x-ndjson");
    let rows = String::from_utf8(rows.body().to_vec()).unwrap();
    let rows: Vec<LogLine> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert_eq!(rows, lines(2498..2500));
    let none = JobId::mint(Timestamp::from_millis(9), [9; 10]);
    let answer = work.house.answer(bearer(get(&format!("/api/jobs/{none}/log.txt")), &work.token)).await;
    assert_eq!(refused(&answer), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused_before_the_protocol_changes() {
    let work = Work::new().await;
    let path = format!("/api/jobs/{}/stream", work.job_id);
    let open = || bearer(get(&path), &work.token);
    let upgrade = || open().header("upgrade", "websocket").header("connection", "keep-alive, Upgrade");
    let cases = [
        (open(), 426, "websocket_expected"),
        (open().header("upgrade", "websocket"), 426, "websocket_expected"),
        (upgrade(), 426, "websocket_version"),
        (upgrade().header("sec-websocket-version", "12"), 426, "websocket_version"),
        (upgrade().header("sec-websocket-version", "13"), 400, "websocket_handshake"),
    ];
    for (request, status, code) in cases {
        assert_eq!(refused(&work.house.answer(request).await), (status, code.to_owned()));
    }
}

#[tokio::test]
async fn two_hosts_in_one_request_are_no_host() {
    let work = Work::new().await;
    let address = work.listen().await;
    for (head, status) in [
        (format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\n"), "200"),
        (format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nhost: evil.example\r\n"), "421"),
        (format!("GET http://evil.example/healthz HTTP/1.1\r\nhost: {address}\r\n"), "421"),
        (format!("GET http://{address}/healthz HTTP/1.1\r\nhost: {address}\r\n"), "200"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{head}{answer}");
    }
}
