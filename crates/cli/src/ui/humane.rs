//! Numbers, times and texts as a terminal shows them.

use jiff::tz::TimeZone;
pub(crate) use restic_manager_core::humane::{ago, capitalised, count, does, size, took};
use restic_manager_core::time::Timestamp;

/// An instant in the terminal's zone: `2026-11-18 10:26:40 CET`.
pub(crate) fn instant(at: Timestamp, zone: &TimeZone) -> String {
    at.to_jiff().to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// The text without what a terminal would obey: control characters are written as their escapes.
pub(crate) fn clean(text: &str) -> String {
    let obeyed = |c: char| {
        (c.is_control() && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(obeyed) {
        return text.to_owned();
    }
    text.chars().map(|c| if obeyed(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_nothing_to_obey() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\td🦀"), "a\\u{1b}[2Jb\\nc\td🦀");
        assert_eq!(clean("evil\u{202e}gpj.exe"), "evil\\u{202e}gpj.exe");
    }
}
