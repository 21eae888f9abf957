//! What can be wrong with a cron text.

use std::fmt;

/// One of the five fields of a cron text, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CronField {
    /// The first field.
    Minute,
    /// The second field.
    Hour,
    /// The third field.
    DayOfMonth,
    /// The fourth field.
    Month,
    /// The fifth field.
    DayOfWeek,
}

impl CronField {
    /// The values that the field takes, in words.
    pub const fn allowed(self) -> &'static str {
        match self {
            Self::Minute => "0-59",
            Self::Hour => "0-23",
            Self::DayOfMonth => "1-31",
            Self::Month => "1-12 or jan-dec",
            Self::DayOfWeek => "0-7 or sun-sat (0 and 7 are Sunday)",
        }
    }
}

impl fmt::Display for CronField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day-of-month",
            Self::Month => "month",
            Self::DayOfWeek => "day-of-week",
        })
    }
}

/// What is wrong with one item of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldProblem {
    /// Nothing stands between two commas, or before or after a dash or a slash.
    #[error("has an empty item")]
    Empty,
    /// Neither a number nor a name of this field.
    #[error("is not understood")]
    NotUnderstood,
    /// A number beyond the field's values.
    #[error("is out of range")]
    OutOfRange,
    /// The range ends before it begins.
    #[error("is a range that runs backwards")]
    Backwards,
    /// A step of 0.
    #[error("has a step of 0, which never advances (steps go from 1 to {max})")]
    ZeroStep {
        /// The greatest step that is accepted.
        max: u8,
    },
    /// The step is no number between 1 and the number of values of the field.
    #[error("has a step that is not a number from 1 to {max}")]
    BadStep {
        /// The greatest step that is accepted.
        max: u8,
    },
    /// A step after a single value, which cron programs read in different ways.
    #[error("has a step but no range (write `{start}-{max}/{step}` or `*/{step}`)")]
    StepWithoutRange {
        /// The single value.
        start: u8,
        /// The greatest value of the field.
        max: u8,
        /// The step.
        step: u8,
    },
}

/// A cron text that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CronError {
    /// There is no text.
    #[error(
        "the cron text is empty; write five fields, minute hour day-of-month month day-of-week, \
         e.g. `0 3 * * *` for every day at 03:00"
    )]
    Empty,
    /// The text is longer than any real one.
    #[error("the cron text has {length} characters; at most {max} are accepted")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The greatest length that is accepted.
        max: usize,
    },
    /// More or fewer than five fields.
    #[error(
        "a cron text has five fields, minute hour day-of-month month day-of-week, but this one has {found}; \
         seconds, years and commands are not part of it"
    )]
    FieldCount {
        /// How many there are.
        found: usize,
    },
    /// A word beginning with `@` that is no macro.
    #[error("`{text}` is no macro; allowed: {}", super::cron::MACRO_NAMES)]
    UnknownMacro {
        /// The word.
        text: String,
    },
    /// One field is wrong.
    #[error("{field}: `{text}` {problem}; allowed: {}", field.allowed())]
    Field {
        /// Which field.
        field: CronField,
        /// The part of it that is wrong.
        text: String,
        /// Why it is wrong.
        problem: FieldProblem,
    },
    /// No month of the text has a day of the text.
    #[error("this never fires: there is no day-of-month `{day_of_month}` in month `{month}`")]
    NeverFires {
        /// The day-of-month field.
        day_of_month: String,
        /// The month field.
        month: String,
    },
}

/// The longest piece of a person's text that an error repeats, in characters.
const QUOTED: usize = 40;

/// Repeats a person's text in an error: control characters escaped, long texts cut.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTED).is_some() {
        shown.push('…');
    }
    shown
}
