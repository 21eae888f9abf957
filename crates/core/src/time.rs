//! Time: milliseconds UTC since 1970 everywhere but on the screen.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// One second in milliseconds.
pub const SECOND: i64 = 1_000;
/// One minute in milliseconds.
pub const MINUTE: i64 = 60 * SECOND;
/// One hour in milliseconds.
pub const HOUR: i64 = 60 * MINUTE;
/// One day of 24 hours in milliseconds.
pub const DAY: i64 = 24 * HOUR;

/// An instant: whole milliseconds UTC since 1970-01-01.
///
/// Serialised as that number. `Display` writes RFC 3339 in UTC. Adding and subtracting, be it milliseconds or a [`Duration`], saturates; what
/// is finer than a millisecond is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = i64, example = 1_795_000_000_000_i64))]
pub struct Timestamp(i64);

impl Timestamp {
    /// Makes an instant from milliseconds since 1970-01-01 UTC.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Milliseconds from `earlier` to this instant; negative when `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The same instant for calendar arithmetic; instants outside the years -9999..9999 are clamped.
    pub fn to_jiff(self) -> jiff::Timestamp {
        let min = jiff::Timestamp::MIN.as_millisecond();
        let max = jiff::Timestamp::MAX.as_millisecond();
        jiff::Timestamp::from_millisecond(self.0.clamp(min, max)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// The instant so many milliseconds from this one, or the last there is in that direction.
    fn moved(self, millis: i128) -> Self {
        let end = if millis < 0 { i64::MIN } else { i64::MAX };
        Self(i64::try_from(i128::from(self.0).saturating_add(millis)).unwrap_or(end))
    }
}

/// A text that is no instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no instant such as 2026-11-18T09:26:40Z")]
pub struct NoInstant {
    text: String,
}

/// Reads an instant as it is displayed, or in any other form of RFC 3339; what is finer than a millisecond is cut off.
impl FromStr for Timestamp {
    type Err = NoInstant;

    fn from_str(text: &str) -> Result<Self, NoInstant> {
        let read: Result<jiff::Timestamp, _> = text.parse();
        read.map(|at| Self(at.as_millisecond()))
            .map_err(|_| NoInstant { text: text.chars().take(64).collect() })
    }
}

impl Add<i64> for Timestamp {
    type Output = Self;
    fn add(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

impl Sub<i64> for Timestamp {
    type Output = Self;
    fn sub(self, millis: i64) -> Self {
        Self(self.0.saturating_sub(millis))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        self.moved(millis(duration))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        self.moved(-millis(duration))
    }
}

/// Whole milliseconds: below 2^74, so that they can be counted backwards too.
fn millis(duration: Duration) -> i128 {
    i128::try_from(duration.as_millis()).unwrap_or(i128::MAX)
}

/// The instant that a system's clock showed, before 1970 too. Nothing here reads that clock: that is the caller's to do.
impl From<SystemTime> for Timestamp {
    fn from(at: SystemTime) -> Self {
        match at.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self(0) + since,
            Err(before) => Self(0) - before.duration(),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_in_utc_and_kept_as_milliseconds() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        assert_eq!(at.to_string(), "2023-11-14T22:13:20.123Z");
        assert_eq!(at.to_string().parse(), Ok(at));
        assert!(
            "yesterday"
                .parse::<Timestamp>()
                .unwrap_err()
                .to_string()
                .starts_with("`yesterday` is no instant")
        );
        assert_eq!(serde_json::to_string(&at).unwrap(), "1700000000123");
    }

    #[test]
    fn arithmetic_saturates_and_display_is_total() {
        let far = Timestamp::from_millis(i64::MAX) + DAY;
        assert_eq!(far.as_millis(), i64::MAX);
        assert!(!far.to_string().is_empty());
        assert_eq!(Timestamp::from_millis(i64::MIN).millis_since(Timestamp::from_millis(5)), i64::MIN);
    }

    #[test]
    fn durations_are_added_and_subtracted_to_the_ends_of_the_range() {
        let (first, last) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
        let whole = Duration::from_millis(u64::MAX);
        assert_eq!((first + whole, last - whole), (last, first));
        assert_eq!((first + whole - Duration::from_millis(1)).as_millis(), i64::MAX - 1);
        assert_eq!((last + Duration::from_millis(1), first - Duration::from_millis(1)), (last, first));
        assert_eq!((first + Duration::MAX, last - Duration::MAX), (last, first));
        assert_eq!((first + Duration::ZERO, last - Duration::ZERO), (first, last));
        let at = Timestamp::from_millis(10);
        assert_eq!(at + Duration::from_micros(5_999), Timestamp::from_millis(15));
        assert_eq!(at - Duration::from_micros(15_999), Timestamp::from_millis(-5));
    }

    #[test]
    fn the_time_of_a_system_is_taken_over_before_1970_too() {
        let epoch = SystemTime::UNIX_EPOCH;
        for (at, millis) in [
            (epoch, 0),
            (epoch + Duration::from_micros(1_700_000_000_123_999), 1_700_000_000_123),
            (epoch - Duration::from_millis(1), -1),
            (epoch - Duration::from_secs(86_400), -DAY),
            (epoch - Duration::from_micros(999), 0),
        ] {
            assert_eq!(Timestamp::from(at).as_millis(), millis, "{at:?}");
        }
    }
}
