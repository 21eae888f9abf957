//! The time a snapshot carries.

use std::fmt;

use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use serde::{Deserialize, Deserializer};

use crate::time::Timestamp;

/// When a snapshot was made: an instant of nanoseconds, and the offset from UTC of the clock that it was read from.
///
/// Restic counts days, weeks and years on that clock, not in UTC, and compares nanoseconds: see
/// [`retention::preview`](crate::retention::preview). Ordered by the instant, then by the offset. `Display` is RFC 3339 with the offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotTime {
    instant: jiff::Timestamp,
    offset: Offset,
}

impl SnapshotTime {
    /// The instant, its fraction of a millisecond cut off.
    pub fn at(self) -> Timestamp {
        Timestamp::from_millis(self.instant.as_millisecond())
    }

    /// Seconds that the clock was ahead of UTC; negative in the west.
    pub const fn utc_offset_seconds(self) -> i32 {
        self.offset.seconds()
    }

    pub(crate) const fn instant(self) -> jiff::Timestamp {
        self.instant
    }

    /// What the clock showed.
    pub(crate) fn civil(self) -> DateTime {
        self.offset.to_datetime(self.instant)
    }
}

/// That instant, read from a clock of UTC.
impl From<Timestamp> for SnapshotTime {
    fn from(at: Timestamp) -> Self {
        Self { instant: at.to_jiff(), offset: Offset::UTC }
    }
}

impl fmt::Display for SnapshotTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.instant.display_with_offset(self.offset).fmt(f)
    }
}

impl<'de> Deserialize<'de> for SnapshotTime {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let instant: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        let pieces = Pieces::parse(&text).map_err(serde::de::Error::custom)?;
        Ok(Self { instant, offset: pieces.to_numeric_offset().unwrap_or(Offset::UTC) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> SnapshotTime {
        serde_json::from_value(text.into()).unwrap()
    }

    #[test]
    fn the_instant_and_the_clock_are_both_kept() {
        let time = read("2026-11-23T16:36:57.655296587+02:00");
        assert_eq!(time.at(), Timestamp::from_millis(1_795_444_617_655));
        assert_eq!(time.utc_offset_seconds(), 7_200);
        assert_eq!(time.to_string(), "2026-11-23T16:36:57.655296587+02:00");
        assert_eq!(read("2026-11-23T14:36:57Z").utc_offset_seconds(), 0);
        assert_eq!(read("2026-11-23T05:06:57-09:30").civil().to_string(), "2026-11-23T05:06:57");
    }

    #[test]
    fn the_instant_orders_before_the_offset() {
        assert!(read("2026-11-23T16:00:00+02:00") < read("2026-11-23T14:00:00.000000001Z"));
        assert!(read("2026-11-23T14:00:00Z") < read("2026-11-23T16:00:00+02:00"));
        let at = Timestamp::from_millis(1_795_444_617_655);
        assert_eq!(SnapshotTime::from(at).at(), at);
    }
}
