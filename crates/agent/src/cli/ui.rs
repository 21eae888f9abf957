//! Printing: results to standard output, everything else to standard error.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

/// Prints a line of the result. A reader that went away is no error.
pub(crate) fn say(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout(), "{}", line.as_ref());
}

/// Says what goes on, on standard error.
pub(crate) fn note(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr(), "{}", line.as_ref());
}

/// Prints an error with its causes, and what to do about it.
pub(crate) fn fail(error: &dyn Error, hint: Option<String>, code: u8) -> ExitCode {
    let mut text = format!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    if let Some(hint) = hint {
        text.push_str("\nhint: ");
        text.push_str(&hint);
    }
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::from(code)
}
