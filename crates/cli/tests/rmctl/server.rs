//! A server that gives canned answers and remembers what it was asked. It has no logic of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use tungstenite::Message;

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `GET /api/hosts?q=web1`.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// What one WebSocket connection says, and how it ends.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) messages: Vec<String>,
    pub(crate) end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A proper close.
    Close,
    /// The connection breaks.
    Break,
    /// It stays open until the other side leaves.
    Stay,
}

#[derive(Debug, Clone)]
struct Canned {
    line: String,
    status: u16,
    headers: String,
    body: String,
}

#[derive(Default)]
struct State {
    answers: Vec<Canned>,
    streams: Vec<Stream>,
    asked: Vec<Asked>,
}

pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        Self { state, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Answers this request line with JSON.
    pub(crate) fn json(self, line: &str, status: u16, body: &str) -> Self {
        self.raw(line, status, "content-type: application/json\r\n", body)
    }

    /// Answers this request line with any headers, each with its line end.
    pub(crate) fn raw(self, line: &str, status: u16, headers: &str, body: &str) -> Self {
        let canned = Canned { line: line.into(), status, headers: headers.into(), body: body.into() };
        self.state.lock().unwrap().answers.push(canned);
        self
    }

    /// The next WebSocket connection says this.
    pub(crate) fn stream(self, end: End, messages: &[&str]) -> Self {
        let messages = messages.iter().map(|text| (*text).to_owned()).collect();
        self.state.lock().unwrap().streams.push(Stream { messages, end });
        self
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut head = [0; 16 * 1024];
    // Peeked, so that a WebSocket handshake can still be read by its library.
    let end = loop {
        let read = stream.peek(&mut head).unwrap_or(0);
        if read == 0 {
            return;
        }
        if let Some(at) = head[..read].windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let asked = parse(&String::from_utf8_lossy(&head[..end]));
    if asked.headers.get("upgrade").is_some_and(|upgrade| upgrade == "websocket") {
        let next = {
            let mut state = state.lock().unwrap();
            state.asked.push(asked.clone());
            (!state.streams.is_empty()).then(|| state.streams.remove(0))
        };
        if let Some(next) = next {
            return speak(stream, next);
        }
    }
    answer(stream, end, asked, state);
}

fn parse(head: &str) -> Asked {
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let headers = lines.filter_map(|line| line.split_once(": "));
    Asked {
        line,
        headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        body: String::new(),
    }
}

fn answer(mut stream: TcpStream, head: usize, mut asked: Asked, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    reader.read_exact(&mut vec![0; head]).unwrap();
    let length = asked.headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    asked.body = String::from_utf8(body).unwrap();
    let canned = {
        let mut state = state.lock().unwrap();
        let known = state.asked.iter().any(|former| former.line == asked.line);
        let mut found = state.answers.iter().filter(|canned| canned.line == asked.line).cloned();
        let first = found.next();
        // Asked again, the second answer is given where there is one.
        let canned = if known { found.next().or(first) } else { first };
        state.asked.push(asked.clone());
        canned
    };
    let canned = canned.unwrap_or_else(|| Canned {
        line: String::new(),
        status: 404,
        headers: "content-type: application/json\r\n".into(),
        body: format!(
            r#"{{"code":"not_found","message":"there is no answer for {}"}}"#,
            asked.line.replace('"', "'")
        ),
    });
    let Canned { status, headers, body, .. } = canned;
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

fn speak(stream: TcpStream, script: Stream) {
    let mut socket = tungstenite::accept(stream).unwrap();
    for message in script.messages {
        socket.send(Message::text(message)).unwrap();
    }
    match script.end {
        End::Break => {}
        End::Close => {
            let _ = socket.close(None);
            while socket.read().is_ok() {}
        }
        End::Stay => while socket.read().is_ok() {},
    }
}

/// What the program did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program, with nothing from the environment of whoever runs the tests.
pub(crate) fn rmctl() -> std::process::Command {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("rmctl"));
    command.env_clear().env("HOME", "/nonexistent").env("TZ", "UTC").stdin(std::process::Stdio::null());
    command
}

pub(crate) fn done(command: &mut std::process::Command) -> Done {
    let output = command.output().unwrap();
    Done {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs with a token for the server.
pub(crate) fn ask(server: &Server, arguments: &[&str]) -> Done {
    done(rmctl().env("RM_SERVER", server.url()).env("RM_TOKEN", "rmt_token").args(arguments))
}

/// Reads from the program until a line holds the text.
pub(crate) fn wait_for(reader: impl Read, text: &str) -> String {
    let mut reader = BufReader::new(reader);
    let mut said = String::new();
    while !said.contains(text) {
        let before = said.len();
        reader.read_line(&mut said).unwrap();
        assert!(said.len() > before, "ended before `{text}`: {said}");
    }
    said
}
