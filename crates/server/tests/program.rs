//! The program itself: its configuration, its refusals, its start and its end.
#![cfg(feature = "web")]
#![allow(clippy::unwrap_used, reason = "the functions that the tests share are part of the tests")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Ends a test that would wait for ever; no test waits for it.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at something that is awaited.
const POLL: Duration = Duration::from_millis(5);

struct Place {
    root: tempfile::TempDir,
}

struct Running {
    child: Option<Child>,
    url: String,
}

impl Place {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn data(&self, name: &str) -> PathBuf {
        self.path("data").join(name)
    }

    /// The program, with nothing of this machine's environment and its files below the root.
    fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restic-manager-server"));
        command.env_clear().env("HOME", self.root.path()).stdin(Stdio::null());
        command.env("RM_DATA_DIR", self.path("data")).env("RM_KEY_FILE", self.path("server.key"));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.program().args(args).output().unwrap()
    }

    /// Starts on a free port and waits until it answers.
    fn start(&self) -> Running {
        let log = fs::File::create(self.path("log")).unwrap();
        let child = self.program().env("RM_LISTEN", "127.0.0.1:0").stderr(log).spawn().unwrap();
        let mut running = Running { child: Some(child), url: String::new() };
        let begun = Instant::now();
        while running.url.is_empty() {
            assert!(begun.elapsed() < DEADLINE, "no address file; the log: {}", self.log());
            assert!(
                running.child.as_mut().unwrap().try_wait().unwrap().is_none(),
                "it ended: {}",
                self.log()
            );
            if let Ok(url) = fs::read_to_string(self.data("address")) {
                url.trim().clone_into(&mut running.url);
            }
            std::thread::sleep(POLL);
        }
        running
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// A text with what differs from run to run taken out.
    fn plain(&self, bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap().replace(&self.root.path().display().to_string(), "<root>")
    }
}

impl Running {
    fn socket(&self) -> TcpStream {
        let address: SocketAddr = self.url.strip_prefix("http://").unwrap().parse().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    fn request(&self, line: &str, body: &str) -> String {
        self.request_as("", line, body)
    }

    fn request_as(&self, cookie: &str, line: &str, body: &str) -> String {
        let mut stream = self.socket();
        let host = self.url.strip_prefix("http://").unwrap();
        let length = body.len();
        write!(
            stream,
            "{line} HTTP/1.1\r\nhost: {host}\r\ncookie: {cookie}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Sends SIGTERM and answers the exit code.
    fn stop(mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < DEADLINE, "it does not end");
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

fn refused(output: &Output, code: i32) -> String {
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(output.stdout.is_empty());
    assert!(told.starts_with("error: ") && !told.contains("panicked"), "{told}");
    assert_eq!(told.lines().count(), 2, "one line of error and one of hint: {told}");
    assert!(told.lines().nth(1).unwrap().starts_with("hint: "), "{told}");
    told
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

#[test]
fn the_configuration_is_printed_with_the_source_of_each_value() {
    let place = Place::new();
    write(
        &place.path("server.toml"),
        "listen = '127.0.0.1:1'\nlog_format = 'json'\nlog_level = 'debug'\nsession_lifetime = '12h'\n",
    );
    let output = place
        .program()
        .env_remove("RM_KEY_FILE")
        .env("RM_CONFIG", place.path("server.toml"))
        .env("RM_LISTEN", "127.0.0.1:2")
        .env("RM_LOG_LEVEL", "warn")
        .env("RM_BEHIND_PROXY", "10.0.0.0/8,192.0.2.1")
        .args(["--print-config", "--listen", "127.0.0.1:3", "--public-url", "https://backup.example.org/"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", place.plain(&output.stderr));
    insta::assert_snapshot!(place.plain(&output.stdout), @r#"
    # The configuration in force; each comment says where the value comes from.
    listen = "127.0.0.1:3" # flag --listen
    data_dir = "<root>/data" # environment RM_DATA_DIR
    key_file = "<root>/server.key" # default
    public_url = "https://backup.example.org" # flag --public-url
    behind_proxy = ["10.0.0.0/8", "192.0.2.1/32"] # environment RM_BEHIND_PROXY
    log_format = "json" # file <root>/server.toml
    log_level = "warn" # environment RM_LOG_LEVEL
    session_lifetime = "12h" # file <root>/server.toml
    "#);
    // What it prints is a configuration that means the same.
    write(&place.path("server.toml"), &String::from_utf8(output.stdout).unwrap());
    let again = place.run(&["--print-config", "--config", &place.path("server.toml").display().to_string()]);
    assert!(place.plain(&again.stdout).contains("listen = \"127.0.0.1:3\" # file <root>/server.toml"));
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place_and_a_remedy() {
    let place = Place::new();
    let file = place.path("server.toml").display().to_string();
    write(&place.path("server.toml"), "lisen = '127.0.0.1:1'\n");
    let told = refused(&place.run(&["--config", &file]), 2);
    assert!(told.contains("server.toml, line 1: unknown field `lisen`"), "{told}");
    let told = refused(&place.run(&["--listen", "0.0.0.0:0"]), 2);
    assert!(told.contains("--behind-proxy"), "{told}");
    let inside = place.data("server.key").display().to_string();
    assert!(refused(&place.run(&["--key-file", &inside]), 2).contains("lies in the data folder"));
    let output = place.run(&["--session-lifetime", "soon"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(place.plain(&output.stderr).contains("`soon` is no time from 1m to 365d"));
    assert!(!place.path("data").exists(), "nothing was made");
}

#[test]
fn a_taken_port_and_a_foreign_folder_have_exit_codes_of_their_own() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let told = refused(&place.run(&["--listen", &address]), 3);
    assert!(told.contains(&format!("cannot listen on {address}: Address already in use")), "{told}");
    fs::create_dir(place.path("home")).unwrap();
    write(&place.path("home").join("thesis.tex"), "x");
    let told = refused(&place.run(&["--data-dir", &place.path("home").display().to_string()]), 4);
    assert!(told.contains("thesis.tex"), "{told}");
}

#[test]
fn it_starts_answers_and_stops_and_leaves_nothing_readable_by_others() {
    let place = Place::new();
    let running = place.start();
    assert!(running.request("GET /healthz", "").starts_with("HTTP/1.1 200 OK"));
    let token = fs::read_to_string(place.data("bootstrap-token")).unwrap();
    assert!(token.starts_with("rmb_"));
    for path in [place.data("bootstrap-token"), place.data("restic-manager.db"), place.path("server.key")] {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
    assert_eq!(fs::metadata(place.path("data")).unwrap().permissions().mode() & 0o777, 0o700);
    let told = refused(&place.run(&["--listen", "127.0.0.1:0"]), 4);
    assert!(told.contains("another server uses the data folder"), "{told}");
    assert_eq!(running.stop(), Some(0));
    assert!(!place.data("address").exists());
    assert!(!place.log().contains(token.trim()), "the token is not in the log");
    let second = place.start();
    assert_eq!(
        fs::read_to_string(place.data("bootstrap-token")).unwrap(),
        token,
        "a restart keeps the token"
    );
    assert_eq!(second.stop(), Some(0));
}

#[test]
fn a_missing_or_wrong_key_is_refused_and_no_new_one_is_made() {
    let (place, other) = (Place::new(), Place::new());
    assert_eq!(place.start().stop(), Some(0));
    assert_eq!(other.start().stop(), Some(0));
    fs::rename(place.path("server.key"), place.path("kept")).unwrap();
    let told = refused(&place.run(&["--listen", "127.0.0.1:0"]), 6);
    assert!(told.contains("server.key is missing") && !place.path("server.key").exists(), "{told}");
    fs::copy(other.path("server.key"), place.path("server.key")).unwrap();
    let told = refused(&place.run(&["--listen", "127.0.0.1:0"]), 6);
    assert!(told.contains("does not belong to this database"), "{told}");
    fs::rename(place.path("kept"), place.path("server.key")).unwrap();
    assert_eq!(place.start().stop(), Some(0));
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let place = Place::new();
    assert_eq!(place.start().stop(), Some(0));
    let database = place.data("restic-manager.db");
    let mut bytes = fs::read(&database).unwrap();
    // SQLite keeps `user_version`, our schema's number, at offset 60 of the header, big-endian.
    bytes[60..64].copy_from_slice(&9_999u32.to_be_bytes());
    fs::write(&database, &bytes).unwrap();
    let told = refused(&place.run(&["--listen", "127.0.0.1:0"]), 5);
    assert!(told.contains("the database has schema 9999"), "{told}");
    assert_eq!(fs::read(&database).unwrap(), bytes);
}

#[test]
fn the_owner_of_the_machine_gets_a_token_while_there_is_no_user() {
    let place = Place::new();
    let told = refused(&place.run(&["admin", "bootstrap-token"]), 4);
    assert!(told.contains("there is no data folder"), "{told}");
    let running = place.start();
    let first = fs::read_to_string(place.data("bootstrap-token")).unwrap();
    let output = place.run(&["admin", "bootstrap-token"]);
    assert_eq!(place.plain(&output.stdout), "<root>/data/bootstrap-token\n");
    assert_ne!(fs::read_to_string(place.data("bootstrap-token")).unwrap(), first);
    let told = refused(&place.run(&["admin", "reset-password", "nobody"]), 7);
    assert!(told.contains("there is no user `nobody`"), "{told}");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_password_can_be_reset_beside_the_running_server_and_ends_the_sessions() {
    let place = Place::new();
    let running = place.start();
    let token = fs::read_to_string(place.data("bootstrap-token")).unwrap();
    let user = |secret: &str| format!(r#""username":"root","password":"{secret}""#);
    let body = format!(r#"{{"token":"{}",{}}}"#, token.trim(), user("the first password"));
    let answer = running.request("POST /api/bootstrap", &body);
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    assert!(!place.data("bootstrap-token").exists(), "the token is used up");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let hosts = || running.request_as(cookie, "GET /api/hosts", "");
    assert!(hosts().starts_with("HTTP/1.1 200"), "the session is good");

    let told =
        place.program().args(["admin", "reset-password", "root", "--password-file", "/dev/null"]).output();
    assert!(refused(&told.unwrap(), 2).contains("the password has 0 characters"));
    let mut reset = place.program();
    reset.args(["admin", "reset-password", "root"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = reset.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"the second password\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && place.plain(&output.stdout).contains("root is set"));

    assert!(hosts().starts_with("HTTP/1.1 401"), "the session is ended");
    let login = |secret: &str| running.request("POST /api/auth/login", &format!("{{{}}}", user(secret)));
    assert!(login("the first password").starts_with("HTTP/1.1 401"));
    assert!(login("the second password").starts_with("HTTP/1.1 20"));
    assert!(refused(&place.run(&["admin", "bootstrap-token"]), 7).contains("there is a user already"));
    assert_eq!(running.stop(), Some(0));
    assert!(!place.log().contains("password\"") && !place.log().contains("the second password"));
}
