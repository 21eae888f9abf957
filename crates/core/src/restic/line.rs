//! One line of restic's output.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BackupSummary, ItemError, Progress};

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What one line of restic's output says.
///
/// Objects count only on the stream restic writes them to; elsewhere they are text.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// How far a backup is (standard output).
    Progress(Progress),
    /// What a backup did (standard output): its last line.
    Summary(BackupSummary),
    /// A file that could not be read (standard error).
    ItemError(ItemError),
    /// Restic's own words as an object: a finding of `check`, a warning (standard error).
    Message(String),
    /// Restic's last word (standard error, from 0.18.0 with `--json`).
    ExitError {
        /// The exit code to come.
        code: i32,
        /// What went wrong; several lines at times.
        message: String,
    },
    /// An object that carries nothing for us, such as what `-vv` says of each file.
    Other,
    /// Anything else, without its line end and without terminal control at its begin.
    Text(String),
}

/// Reads one line, with or without its line end.
///
/// Total: bytes that are no UTF-8 stand as U+FFFD, and whatever is no object of restic's is [`Line::Text`].
pub fn parse_line(stream: Stream, bytes: &[u8]) -> Line {
    let text = String::from_utf8_lossy(bytes);
    let text = strip_terminal(&text);
    if text.starts_with('{')
        && let Ok(value) = serde_json::from_str::<Value>(text)
        && let Some(line) = from_object(stream, &value)
    {
        return line;
    }
    Line::Text(text.to_owned())
}

/// Strips the line end, and what restic writes in front of a line to clear the terminal's (`ESC [2K`, CR).
pub(super) fn strip_terminal(line: &str) -> &str {
    let mut line = line.trim_end_matches(['\n', '\r']);
    loop {
        let stripped = line.strip_prefix("\u{1b}[2K").or_else(|| line.strip_prefix('\r'));
        match stripped {
            Some(rest) => line = rest,
            None => return line,
        }
    }
}

fn from_object(stream: Stream, value: &Value) -> Option<Line> {
    let kind = value.get("message_type")?.as_str()?;
    match (stream, kind) {
        // 0.14.0 gives what newer ones call `verbose_status` the type `status`; only `action` tells them apart.
        (Stream::Stdout, "status") if value.get("action").is_some() => Some(Line::Other),
        (Stream::Stdout, "verbose_status") => Some(Line::Other),
        (Stream::Stdout, "status") => Progress::from_json(value).map(Line::Progress),
        (Stream::Stdout, "summary") => BackupSummary::from_json(value).map(Line::Summary),
        (Stream::Stderr, "error") => Some(match ItemError::from_json(value) {
            Some(error) => Line::ItemError(error),
            None => Line::Message(value.get("message")?.as_str()?.to_owned()),
        }),
        (Stream::Stderr, "exit_error") => {
            let code = value.get("code")?.as_i64().and_then(|code| i32::try_from(code).ok())?;
            let message = value.get("message")?.as_str()?.trim_end().to_owned();
            Some(Line::ExitError { code, message })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_in_percent_with_omitted_zeros() {
        let line = parse_line(
            Stream::Stdout,
            b"{\"message_type\":\"status\",\"percent_done\":0.25,\"files_done\":1}\n",
        );
        let Line::Progress(progress) = line else { panic!("{line:?}") };
        assert!((progress.percent - 25.0).abs() < 1e-9);
        assert_eq!((progress.files_done, progress.files_total, progress.seconds_remaining), (1, 0, None));
    }

    #[test]
    fn a_percentage_out_of_range_is_brought_into_it() {
        for (given, expected) in [("7.5", 100.0), ("-1", 0.0), ("\"x\"", 0.0), ("null", 0.0)] {
            let text = format!("{{\"message_type\":\"status\",\"percent_done\":{given}}}");
            let line = parse_line(Stream::Stdout, text.as_bytes());
            let Line::Progress(progress) = line else { panic!("{line:?}") };
            assert!((progress.percent - expected).abs() < 1e-9, "{given}");
        }
    }

    #[test]
    fn the_old_status_objects_with_an_action_are_no_progress() {
        let text = br#"{"message_type":"status","action":"unchanged","item":"/src/a","duration":0.1}"#;
        assert_eq!(parse_line(Stream::Stdout, text), Line::Other);
        let text = br#"{"message_type":"verbose_status","action":"unchanged","item":"/src/a"}"#;
        assert_eq!(parse_line(Stream::Stdout, text), Line::Other);
    }

    #[test]
    fn objects_count_only_on_their_own_stream() {
        let summary = br#"{"message_type":"summary","snapshot_id":"abababab"}"#;
        assert!(matches!(parse_line(Stream::Stdout, summary), Line::Summary(_)));
        assert!(matches!(parse_line(Stream::Stderr, summary), Line::Text(_)));
        let exit = br#"{"message_type":"exit_error","code":11,"message":"x\n"}"#;
        assert_eq!(parse_line(Stream::Stderr, exit), Line::ExitError { code: 11, message: "x".into() });
        assert!(matches!(parse_line(Stream::Stdout, exit), Line::Text(_)));
    }

    #[test]
    fn an_unreadable_file_is_named_with_or_without_a_reason() {
        let new = br#"{"message_type":"error","error":{"message":"open /p: permission denied"},"during":"scan","item":"/p"}"#;
        let Line::ItemError(error) = parse_line(Stream::Stderr, new) else { panic!() };
        assert_eq!((error.item.as_str(), error.during.as_str()), ("/p", "scan"));
        assert_eq!(error.message.as_deref(), Some("open /p: permission denied"));
        let old = br#"{"message_type":"error","error":{"Op":"open","Path":"/p","Err":13},"during":"archival","item":"/p"}"#;
        let Line::ItemError(error) = parse_line(Stream::Stderr, old) else { panic!() };
        assert_eq!(error.message.as_deref(), Some("open /p: permission denied"));
        let empty = br#"{"message_type":"error","error":{},"during":"archival","item":"/p"}"#;
        let Line::ItemError(error) = parse_line(Stream::Stderr, empty) else { panic!() };
        assert_eq!(error.message, None);
    }

    #[test]
    fn text_loses_its_line_end_and_terminal_control() {
        for raw in ["\u{1b}[2Ksignal interrupt received\n", "\rsignal interrupt received\r\n"] {
            assert_eq!(
                parse_line(Stream::Stderr, raw.as_bytes()),
                Line::Text("signal interrupt received".into())
            );
        }
        assert_eq!(parse_line(Stream::Stdout, b"\xff\n"), Line::Text("\u{fffd}".into()));
        assert_eq!(parse_line(Stream::Stdout, b"{broken"), Line::Text("{broken".into()));
    }

    #[test]
    fn a_line_of_a_mebibyte_is_survived() {
        let mut bytes = br#"{"message_type":"status","percent_done":0.5,"current_files":[""#.to_vec();
        bytes.resize(1 << 20, b'x');
        assert!(matches!(parse_line(Stream::Stdout, &bytes), Line::Text(text) if text.len() == 1 << 20));
        bytes.extend_from_slice(b"\"]}");
        assert!(matches!(parse_line(Stream::Stdout, &bytes), Line::Progress(_)));
        let nested = vec![b'['; 1 << 20];
        let nested = [br#"{"message_type":"#.as_slice(), &nested].concat();
        assert!(matches!(parse_line(Stream::Stdout, &nested), Line::Text(_)));
    }
}
