//! The only part that prints. stdout is data, stderr is what is said about it.

mod humane;
mod view;
mod watch;

use std::io::{IsTerminal, Read, Write};

use anstream::ColorChoice;
use jiff::tz::TimeZone;
use restic_manager_core::api::Page;
use restic_manager_core::time::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use crate::client::Body;
use crate::error::CliError;

pub(crate) use humane::{ago, capitalised, clean, count, does, instant, size, took};
pub(crate) use view::{Cell, Grid, Tone, View};
pub(crate) use watch::{LogLines, Watch, far};

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// The body of the server's answer, as it was sent
    Json,
}

/// What decides how a view looks.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// The present time: ages are counted from it.
    pub(crate) now: Timestamp,
    /// The zone of the terminal.
    pub(crate) zone: TimeZone,
    /// Columns of the terminal; none where there is no terminal and lines may be of any length.
    pub(crate) width: Option<u16>,
    /// Whether colours are welcome.
    pub(crate) colour: bool,
}

impl Look {
    fn of_terminal() -> Self {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        Self {
            now: present(),
            zone: TimeZone::system(),
            width: terminal.then(|| comfy_table::Table::new().width()).flatten().and_then(usable),
            colour: anstream::AutoStream::choice(&stdout) != ColorChoice::Never,
        }
    }
}

/// What the user wants to see.
#[derive(Debug)]
pub(crate) struct Ui {
    format: Format,
    field: Option<String>,
    look: Look,
}

impl Ui {
    pub(crate) fn new(format: Format, field: Option<String>) -> Self {
        Self { format, field, look: Look::of_terminal() }
    }

    /// Whether a person reads the answer: only then are names looked up for it.
    pub(crate) fn is_for_people(&self) -> bool {
        self.field.is_none() && self.format == Format::Table
    }

    /// Shows an answer: as it came, one field of it, or as a view.
    pub(crate) fn show<T: DeserializeOwned>(
        &self,
        body: &Body,
        view: impl FnOnce(&T, &Look) -> View,
    ) -> Result<(), CliError> {
        if let Some(path) = &self.field {
            return self.show_field(body, path);
        }
        let text = match self.format {
            Format::Json => line(body.text()),
            Format::Table => {
                // A followed job ends long after the program began.
                let look = Look { now: present(), ..self.look.clone() };
                view(&body.read()?, &look).render(&look)
            }
        };
        print(&text)
    }

    /// As [`Self::show`] for a page, saying when there are more.
    pub(crate) fn show_page<T: DeserializeOwned>(
        &self,
        body: &Body,
        view: impl FnOnce(&Page<T>, &Look) -> View,
    ) -> Result<(), CliError> {
        self.show(body, view)?;
        if !self.is_for_people() {
            return Ok(());
        }
        let page: Page<IgnoredAny> = body.read()?;
        if let Some(cursor) = page.next_cursor {
            note(&format!("there are more: --all shows them, --cursor {} the next ones", clean(&cursor)));
        }
        Ok(())
    }

    /// Says that something was done; data is only what the server answered.
    pub(crate) fn done(&self, body: &Body, sentence: &str) -> Result<(), CliError> {
        if self.is_for_people() {
            note(sentence);
            return Ok(());
        }
        if body.text().is_empty() {
            return Ok(());
        }
        self.show::<Value>(body, |_, _| View::Text(String::new()))
    }

    fn show_field(&self, body: &Body, path: &str) -> Result<(), CliError> {
        let whole: Value = body.read()?;
        let text = field(&whole, path)?;
        if std::io::stdout().is_terminal() { print(&line(&clean(&text))) } else { print(&line(&text)) }
    }
}

/// The width, unless it is no width: a terminal that was never told its size (a serial line, a bare pty) says 0 columns.
fn usable(width: u16) -> Option<u16> {
    const NARROWEST: u16 = 20;
    (width >= NARROWEST).then_some(width)
}

/// The present time.
pub(crate) fn present() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}

/// One field of an answer: texts without quotes, everything else as JSON.
fn field(whole: &Value, path: &str) -> Result<String, CliError> {
    let mut here = whole;
    for step in path.split('.') {
        let next = match here {
            Value::Object(map) => map.get(step),
            Value::Array(items) => step.parse::<usize>().ok().and_then(|n| items.get(n)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        here = next.ok_or_else(|| CliError::NoField { path: path.to_owned(), known: known(here) })?;
    }
    Ok(match here {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => here.to_string(),
    })
}

fn known(here: &Value) -> String {
    match here {
        Value::Object(map) => map.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(items) => format!("0 to {}", items.len() - 1),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => "nothing below it".to_owned(),
    }
}

fn line(text: &str) -> String {
    format!("{}\n", text.trim_end_matches('\n'))
}

/// Writes data.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes data of any length. A terminal gets no control characters: a log holds whatever file names hold.
pub(crate) fn copy(from: &mut impl Read) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    if !out.is_terminal() {
        std::io::copy(from, &mut out)?;
        out.flush()?;
        return Ok(());
    }
    let mut lines = std::io::BufReader::new(from);
    let mut raw = Vec::new();
    loop {
        raw.clear();
        if std::io::BufRead::read_until(&mut lines, b'\n', &mut raw)? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&raw);
        writeln!(out, "{}", clean(text.trim_end_matches(['\r', '\n'])))?;
    }
}

/// Says something about what was done.
pub(crate) fn note(text: &str) {
    say(anstyle::Style::new(), "", text);
}

/// Says something that may be wrong.
pub(crate) fn warn(text: &str) {
    say(anstyle::AnsiColor::Yellow.on_default().bold(), "warning: ", text);
}

/// Says why a command was not done, and what helps.
pub(crate) fn error(error: &CliError) {
    match error {
        // What was asked for was done: to stop watching.
        CliError::Interrupted { .. } => note(&error.chain()),
        CliError::Client(_)
        | CliError::Connection(_)
        | CliError::Context(_)
        | CliError::Resolve(_)
        | CliError::Input(_)
        | CliError::Output(_)
        | CliError::NoField { .. }
        | CliError::Usage { .. }
        | CliError::Job(_) => say(anstyle::AnsiColor::Red.on_default().bold(), "error: ", &error.chain()),
    }
    say(anstyle::AnsiColor::Cyan.on_default().bold(), "hint: ", &error.hint());
}

/// Asks on the terminal; the cursor stays in the line.
pub(crate) fn ask(what: &str) {
    let mut out = anstream::stderr().lock();
    // A closed stderr is no reason to fail.
    let _ = write!(out, "{}: ", clean(what)).and_then(|()| out.flush());
}

/// Writes what clap has to say: help to stdout, wrong usage to stderr.
pub(crate) fn usage(error: &clap::Error) {
    let text = error.render();
    let _ = if error.use_stderr() {
        write!(anstream::stderr().lock(), "{}", text.ansi())
    } else {
        write!(anstream::stdout().lock(), "{}", text.ansi())
    };
}

fn say(style: anstyle::Style, label: &str, text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{style}{label}{style:#}{}", clean(text));
}

#[cfg(test)]
pub(crate) fn fixed_look() -> Look {
    Look { now: Timestamp::from_millis(1_795_000_000_000), zone: TimeZone::UTC, width: None, colour: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_reached_by_names_and_numbers() {
        let whole = serde_json::json!({"items": [{"id": "x", "n": 3, "none": null, "deep": {"a": [true]}}]});
        assert_eq!(field(&whole, "items.0.id").unwrap(), "x");
        assert_eq!(field(&whole, "items.0.n").unwrap(), "3");
        assert_eq!(field(&whole, "items.0.none").unwrap(), "");
        assert_eq!(field(&whole, "items.0.deep").unwrap(), r#"{"a":[true]}"#);
        assert_eq!(field(&whole, "items.0.deep.a.0").unwrap(), "true");
    }

    #[test]
    fn a_terminal_without_a_size_is_as_wide_as_it_takes() {
        assert_eq!([0, 1, 19, 20, 80].map(usable), [None, None, None, Some(20), Some(80)]);
    }

    #[test]
    fn a_missing_field_names_what_is_there() {
        let whole = serde_json::json!({"items": [], "next_cursor": null});
        let hint = |path: &str| field(&whole, path).unwrap_err().hint();
        assert_eq!(hint("item"), "there is: items, next_cursor");
        assert_eq!(hint("items.0"), "there is: an empty list");
        assert_eq!(hint("next_cursor.x"), "there is: nothing below it");
    }
}
