//! Following a job over a WebSocket, through lost connections, until it is over or the user has seen enough.

use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use restic_manager_core::api::{ErrorBody, JobEventView, JobView};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::{HeaderValue, StatusCode};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};
use url::Url;

use crate::client::{Client, ClientError, Login};
use crate::error::CliError;
use crate::route::Route;
use crate::ui::{LogLines, Watch};

const CONNECT: Duration = Duration::from_secs(10);
/// After this silence a ping is sent; after as much again the connection counts as lost.
const SILENCE: Duration = Duration::from_secs(20);
/// Pauses before the connections that follow a lost one; after the last the server counts as unreachable.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
];
const LARGEST_MESSAGE: usize = 16 << 20;

/// What the follower hears, from the server, from the network and from the keyboard.
enum Heard {
    Event(Box<JobEventView>),
    Lost(String),
    Over(ClientError),
    Interrupted,
}

/// Follows jobs one after the other.
pub(crate) struct Follower {
    heard: Receiver<Heard>,
    sender: Sender<Heard>,
}

impl Follower {
    /// Takes Ctrl-C over for the rest of the program: it ends the following, not the job.
    pub(crate) fn new() -> Self {
        let (sender, heard) = mpsc::channel();
        let keyboard = sender.clone();
        // Where the signal cannot be had, Ctrl-C ends the program as always, and the job goes on all the same.
        let _ = ctrlc::set_handler(move || {
            let _ = keyboard.send(Heard::Interrupted);
        });
        Self { heard, sender }
    }

    /// Shows the job until it is over; the answer is its last state.
    ///
    /// # Errors
    ///
    /// The server refuses or stays away, or the user pressed Ctrl-C.
    pub(crate) fn follow(&self, client: &Client, job_id: &str, lines: LogLines) -> Result<JobView, CliError> {
        let reader = Reader::new(client, job_id)?;
        let sender = self.sender.clone();
        std::thread::spawn(move || reader.run(&sender));
        let mut watch = Watch::new(lines);
        let result = self.listen(&mut watch, job_id);
        watch.end();
        result
    }

    fn listen(&self, watch: &mut Watch, job_id: &str) -> Result<JobView, CliError> {
        let mut last: Option<JobView> = None;
        // The sender is kept in `self`, so the channel stays open.
        while let Ok(heard) = self.heard.recv() {
            match heard {
                Heard::Event(event) => match *event {
                    JobEventView::Job { job } => {
                        watch.job(&job);
                        last = Some(*job);
                    }
                    JobEventView::Log { lines } => watch.log(&lines)?,
                    JobEventView::Gap { from, to } => watch.gap(from, to),
                    JobEventView::Progress { progress } => watch.progress(&progress),
                    JobEventView::End => break,
                },
                Heard::Lost(why) => watch.reconnecting(&why),
                Heard::Over(error) => return Err(error.into()),
                Heard::Interrupted => return Err(CliError::Interrupted { job_id: job_id.to_owned() }),
            }
        }
        let silent =
            || ClientError::NotUnderstood { detail: "the stream ended without naming the job".to_owned() };
        Ok(last.ok_or_else(silent)?)
    }
}

/// Reads one job's events on a thread of its own.
struct Reader {
    url: Url,
    /// Asks about the job itself, where a refused handshake does not say why.
    client: Client,
    job: Route,
    next_line: u64,
}

/// How a connection ended.
enum Ended {
    /// The job is over, or nobody listens.
    Finished,
    /// It can be tried again; whether anything came before decides whether the patience starts anew.
    Broken { why: String, before: Before },
    /// It cannot.
    Refused(ClientError),
}

/// Whether a connection brought anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Something,
}

impl Reader {
    fn new(client: &Client, job_id: &str) -> Result<Self, ClientError> {
        let job = Route::new(["jobs", job_id]);
        let mut url = job.clone().below("stream").on(client.server());
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        url.set_scheme(scheme)
            .map_err(|()| ClientError::NotUnderstood { detail: format!("no {scheme} address in {url}") })?;
        Ok(Self { url, client: client.with_login(client.login().clone()), job, next_line: 0 })
    }

    fn run(mut self, heard: &Sender<Heard>) {
        let mut pauses = PAUSES.iter();
        loop {
            match self.connection(heard) {
                Ended::Finished => return,
                Ended::Refused(error) => {
                    let _ = heard.send(Heard::Over(error));
                    return;
                }
                Ended::Broken { why, before } => {
                    if before == Before::Something {
                        pauses = PAUSES.iter();
                    }
                    let Some(pause) = pauses.next() else {
                        let _ = heard.send(Heard::Over(self.unreachable(why)));
                        return;
                    };
                    if heard.send(Heard::Lost(why)).is_err() {
                        return;
                    }
                    std::thread::sleep(*pause);
                }
            }
        }
    }

    /// One connection, from its handshake to its end.
    fn connection(&mut self, heard: &Sender<Heard>) -> Ended {
        let mut socket = match self.connect() {
            Ok(socket) => socket,
            Err(ended) => return ended,
        };
        let mut before = Before::Nothing;
        let mut asked = false;
        loop {
            let broken = |why: String| Ended::Broken { why, before };
            let message = match socket.read() {
                Ok(message) => message,
                Err(tungstenite::Error::Io(e)) if is_silence(&e) => {
                    if asked {
                        return broken("the server says nothing".to_owned());
                    }
                    asked = true;
                    match socket.send(Message::Ping(Vec::new().into())) {
                        Ok(()) => continue,
                        Err(e) => return broken(e.to_string()),
                    }
                }
                Err(e) => return broken(e.to_string()),
            };
            asked = false;
            let Message::Text(text) = message else { continue };
            let event: JobEventView = match serde_json::from_str(&text) {
                Ok(event) => event,
                Err(e) => return Ended::Refused(ClientError::NotUnderstood { detail: e.to_string() }),
            };
            before = Before::Something;
            let over = matches!(event, JobEventView::End);
            let Some(event) = self.unseen(event) else { continue };
            if heard.send(Heard::Event(Box::new(event))).is_err() || over {
                let _ = socket.close(None);
                return Ended::Finished;
            }
        }
    }

    /// Drops lines that a former connection brought, and remembers where to go on.
    fn unseen(&mut self, event: JobEventView) -> Option<JobEventView> {
        match event {
            JobEventView::Log { mut lines } => {
                lines.retain(|line| line.n >= self.next_line);
                self.next_line = lines.last()?.n + 1;
                Some(JobEventView::Log { lines })
            }
            JobEventView::Gap { to, .. } if to <= self.next_line => None,
            JobEventView::Gap { from, to } => {
                let from = from.max(self.next_line);
                self.next_line = to;
                Some(JobEventView::Gap { from, to })
            }
            other @ (JobEventView::Job { .. } | JobEventView::Progress { .. } | JobEventView::End) => {
                Some(other)
            }
        }
    }

    fn connect(&self) -> Result<WebSocket<MaybeTlsStream<TcpStream>>, Ended> {
        let broken = |why: String| Ended::Broken { why, before: Before::Nothing };
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("from", &self.next_line.to_string());
        let mut request = url.as_str().into_client_request().map_err(|e| broken(e.to_string()))?;
        if let Login::Token(token) = self.client.login()
            && let Ok(value) = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        {
            request.headers_mut().insert("authorization", value);
        }
        let stream = dial(&url).map_err(|e| broken(e.to_string()))?;
        let config = WebSocketConfig::default().max_message_size(Some(LARGEST_MESSAGE));
        let handshake = tungstenite::client_tls_with_config(request, stream, Some(config), None);
        match handshake {
            Ok((socket, _)) => Ok(socket),
            Err(HandshakeError::Interrupted(_)) => {
                Err(broken("the server does not answer in time".to_owned()))
            }
            Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => Err(self.refused(&answer)),
            Err(HandshakeError::Failure(e)) => Err(broken(e.to_string())),
        }
    }

    fn refused(&self, answer: &tungstenite::http::Response<Option<Vec<u8>>>) -> Ended {
        let status = answer.status();
        let body = answer.body().as_deref().unwrap_or_default();
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(body) => Ended::Refused(ClientError::Refused { status: status.as_u16(), body }),
            // A proxy in front of a server that restarts.
            Err(_) if status.is_server_error() => {
                Ended::Broken { why: format!("HTTP {status}"), before: Before::Nothing }
            }
            Err(_) => Ended::Refused(self.unexplained(status)),
        }
    }

    /// Why a handshake was refused whose body says nothing: of the body, the WebSocket library keeps only what came in one
    /// packet with the head. The job's own address is refused for the same reason, and there all of it is read.
    fn unexplained(&self, status: StatusCode) -> ClientError {
        let asked = if status.is_client_error() { self.client.get(&self.job).err() } else { None };
        asked.unwrap_or_else(|| {
            let what = format!("HTTP {status} instead of a WebSocket");
            ClientError::Foreign { server: self.server(), what }
        })
    }

    fn unreachable(&self, reason: String) -> ClientError {
        ClientError::Unreachable {
            server: self.server(),
            reason,
            hint: "the job goes on; follow it again later with `rmctl job log -f`",
        }
    }

    fn server(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

fn is_silence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Connects with a deadline to whichever address of the host answers first.
fn dial(url: &Url) -> std::io::Result<TcpStream> {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or(443);
    let mut failure = std::io::Error::new(ErrorKind::NotFound, "no machine has this name");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(SILENCE))?;
                stream.set_write_timeout(Some(SILENCE))?;
                return Ok(stream);
            }
            Err(e) => failure = e,
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use restic_manager_core::model::{LogLine, LogStream};
    use restic_manager_core::time::Timestamp;

    use super::*;

    fn lines(range: std::ops::Range<u64>) -> JobEventView {
        let line = |n| LogLine {
            n,
            at: Timestamp::from_millis(0),
            stream: LogStream::Stdout,
            text: format!("line {n}"),
        };
        JobEventView::Log { lines: range.map(line).collect() }
    }

    #[test]
    fn a_new_connection_goes_on_where_the_lost_one_ended() {
        let client = Client::new(Url::parse("http://127.0.0.1/").unwrap(), Login::Nobody);
        let mut reader = Reader::new(&client, "1").unwrap();
        assert_eq!(reader.unseen(lines(0..3)), Some(lines(0..3)));
        assert_eq!(reader.unseen(lines(0..3)), None);
        assert_eq!(reader.unseen(lines(1..5)), Some(lines(3..5)));
        assert_eq!(reader.unseen(JobEventView::Gap { from: 2, to: 4 }), None);
        assert_eq!(
            reader.unseen(JobEventView::Gap { from: 4, to: 9 }),
            Some(JobEventView::Gap { from: 5, to: 9 })
        );
        assert_eq!(reader.next_line, 9);
        assert_eq!(reader.unseen(JobEventView::End), Some(JobEventView::End));
    }
}
