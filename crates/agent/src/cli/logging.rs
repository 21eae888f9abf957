//! The log: to standard error, as text or JSON.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;

use super::settings::{LogFormat, LogLevel, Settings};

/// Begins to log. A second call changes nothing.
pub(crate) fn begin(settings: &Settings) {
    let level = match settings.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    let begun = match settings.log_format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    // Whoever embeds this program's parts may log already.
    drop(begun);
}
