//! What the end of standard error says, whatever form a release gives it.

use super::line::{Line, Stream, parse_line};

/// Standard error as plain lines: objects are opened, names of unreadable files and Go stack traces left out.
pub(super) struct Diagnosis {
    lines: Vec<String>,
    verdict: String,
}

/// Why restic could not do its work with the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The storage does not answer, or not as it should.
    Unreachable,
    /// The storage answers and refuses the login or the act.
    Denied,
    /// The file system refuses access.
    Permission,
    /// The storage is full.
    NoSpace,
}

impl Diagnosis {
    pub(super) fn of(stderr: &str) -> Self {
        let mut lines = Vec::new();
        let mut last_word = None;
        for line in stderr.lines() {
            match parse_line(Stream::Stderr, line.as_bytes()) {
                Line::ItemError(_) | Line::Other => {}
                Line::Message(text) => extend(&mut lines, &text),
                Line::ExitError { message, .. } => {
                    extend(&mut lines, &message);
                    last_word = Some(message);
                }
                Line::Text(text) => extend(&mut lines, &text),
                // Written to standard output only.
                Line::Progress(_) | Line::Summary(_) => {}
            }
        }
        let verdict = match last_word {
            Some(message) => without_stack(&message),
            None => from_last_fatal(&lines),
        };
        Self { lines, verdict }
    }

    /// All lines, in order.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// Restic's last word: the message of its `exit_error`, else what stands from the last `Fatal:` on, else the last line.
    pub(super) fn verdict(&self) -> &str {
        &self.verdict
    }

    /// The first line of the verdict.
    pub(super) fn headline(&self) -> &str {
        self.verdict.lines().next().unwrap_or_default()
    }

    /// Whether restic said that a signal ended it.
    pub(super) fn was_interrupted(&self) -> bool {
        let said =
            |line: &str| line.starts_with("signal ") && line.trim_end().ends_with(" received, cleaning up");
        self.lines().any(said) && self.verdict.trim_end().ends_with("context canceled")
    }

    /// The trouble named by the last word, or by the last line that names one when restic was stopped before it spoke.
    pub(super) fn last_trouble(&self) -> Option<Trouble> {
        self.lines.iter().rev().find_map(|line| trouble(line))
    }
}

fn extend(lines: &mut Vec<String>, text: &str) {
    lines.extend(text.lines().filter(|line| !is_stack(line) && !line.trim().is_empty()).map(str::to_owned));
}

/// Go's stack traces: an indented file, or a function by its package.
fn is_stack(line: &str) -> bool {
    let packages = ["github.com/", "golang.org/", "runtime.", "main.", "runtime/"];
    line.starts_with('\t') || packages.iter().any(|package| line.starts_with(package))
}

fn without_stack(message: &str) -> String {
    let lines: Vec<&str> = message.lines().filter(|line| !is_stack(line)).collect();
    lines.join("\n")
}

fn from_last_fatal(lines: &[String]) -> String {
    let start = lines.iter().rposition(|line| line.starts_with("Fatal: ")).or(lines.len().checked_sub(1));
    start.map(|start| lines[start..].join("\n")).unwrap_or_default()
}

const UNREACHABLE: [&str; 24] = [
    "connection refused",
    "connection reset",
    "connection timed out",
    "connection lost",
    "no such host",
    "no route to host",
    "host is down",
    "network is unreachable",
    "i/o timeout",
    "timeout awaiting",
    "handshake timeout",
    "deadline exceeded",
    "client.timeout exceeded",
    "use of closed network connection",
    "server misbehaving",
    "temporary failure in name resolution",
    "could not resolve hostname",
    "unable to start the sftp session",
    "dial tcp",
    "tls: ",
    "x509: ",
    "http: server gave http response to https client",
    "slowdown",
    "service unavailable",
];

const DENIED: [&str; 9] = [
    "401 unauthorized",
    "403 forbidden",
    "access denied",
    "accessdenied",
    "access key id you provided does not exist",
    "signature we calculated does not match",
    "invalid_grant",
    "authenticationfailed",
    "permission denied (publickey",
];

const NO_SPACE: [&str; 5] = [
    "no space left on device",
    "disk quota exceeded",
    "507 insufficient storage",
    "quotaexceeded",
    "not enough space",
];

/// The trouble a line of restic's own names.
pub(super) fn trouble(line: &str) -> Option<Trouble> {
    // A damaged tree is reported with the names of its files, which may hold any words.
    if line.trim_start().starts_with("tree ") && line.contains("file \"") {
        return None;
    }
    let line = line.to_lowercase();
    let holds = |words: &[&str]| words.iter().any(|word| line.contains(word));
    if holds(&NO_SPACE) {
        return Some(Trouble::NoSpace);
    }
    if holds(&DENIED) {
        return Some(Trouble::Denied);
    }
    if holds(&UNREACHABLE) || server_error(&line) {
        return Some(Trouble::Unreachable);
    }
    line.ends_with("permission denied").then_some(Trouble::Permission)
}

/// `unexpected HTTP response (503)`, and `server response unexpected: 503 ... (503)` on 0.14.0.
fn server_error(line: &str) -> bool {
    let http = line.contains("http response (") || line.contains("server response");
    http && ["(429)", "(500)", "(502)", "(503)", "(504)"].iter().any(|code| line.contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_found_in_every_form() {
        let old =
            "Fatal: unable to open config file: x\nIs there a repository at the following location?\n/r\n";
        assert_eq!(Diagnosis::of(old).headline(), "Fatal: unable to open config file: x");
        let new = "Stat(<config/>) failed: 401\n{\"message_type\":\"exit_error\",\"code\":1,\"message\":\"a\\nb\"}\n";
        assert_eq!(Diagnosis::of(new).verdict(), "a\nb");
        let stack = "unable to open\nruntime.goexit\n\truntime/asm_amd64.s:1594\n";
        assert_eq!(Diagnosis::of(stack).verdict(), "unable to open");
        assert_eq!(Diagnosis::of("").verdict(), "");
    }

    #[test]
    fn names_of_unreadable_files_are_no_words_of_restic() {
        let item = "{\"message_type\":\"error\",\"error\":{},\"during\":\"scan\",\"item\":\"/a\\nconnection refused\"}\n";
        let said = Diagnosis::of(item);
        assert_eq!((said.lines().count(), said.last_trouble()), (0, None));
        assert_eq!(trouble("  tree 67de: file \"connection refused\" blob 40f5 not found in index"), None);
    }

    #[test]
    fn troubles_are_told_apart() {
        for (line, expected) in [
            (
                "Fatal: unable to open config file: unexpected HTTP response (401): 401 Unauthorized",
                Trouble::Denied,
            ),
            ("blob not removed, server response: 403 Forbidden (403)", Trouble::Denied),
            ("Fatal: server response unexpected: 507 Insufficient Storage (507)", Trouble::NoSpace),
            ("Fatal: write /r/data/x: no space left on device", Trouble::NoSpace),
            ("unexpected HTTP response (503): 503 Service Unavailable", Trouble::Unreachable),
            (
                "Head \"https://h/config\": x509: certificate signed by unknown authority",
                Trouble::Unreachable,
            ),
            ("open /r/locks/1: permission denied", Trouble::Permission),
        ] {
            assert_eq!(trouble(line), Some(expected), "{line}");
        }
        assert_eq!(trouble("unexpected HTTP response (404): 404 Not Found"), None);
        assert_eq!(trouble("tree 67de: connection refused"), Some(Trouble::Unreachable));
        assert_eq!(trouble("reading file \"a\": connection refused"), Some(Trouble::Unreachable));
        assert_eq!(trouble("ReadFull: unexpected EOF"), None);
    }

    #[test]
    fn a_server_that_is_overwhelmed_is_out_of_reach() {
        for line in ["unexpected HTTP response (429): x", "server response unexpected: x (504)"] {
            assert_eq!(trouble(line), Some(Trouble::Unreachable), "{line}");
        }
        for line in ["blob (503)", "unexpected HTTP response (418): x"] {
            assert_eq!(trouble(line), None, "{line}");
        }
    }

    #[test]
    fn an_interrupt_is_both_a_signal_and_a_cancelled_end() {
        let signal = "signal interrupt received, cleaning up\n";
        let interrupted = |text: &str| Diagnosis::of(text).was_interrupted();
        assert!(interrupted(&format!("{signal}Fatal: unable to save: context canceled\n")));
        assert!(!interrupted(&format!("{signal}Fatal: no space\n")));
        assert!(!interrupted("Fatal: unable to save: context canceled\n"));
        assert!(!interrupted("signal lost\nFatal: context canceled\n"));
        assert!(!interrupted("nothing received, cleaning up\nFatal: context canceled\n"));
    }
}
