//! Time zones by their IANA names.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use super::error::quoted;
use crate::time::Timestamp;

/// A time zone of the IANA database that is built into the program, or `UTC`.
///
/// The machine's own database is never asked, so that the same version of the program computes the same slots
/// everywhere. Names are read in any case; `Display` and serde give the database's spelling.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, example = "Europe/Berlin"))]
pub struct Zone(TimeZone);

/// A name that is no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no known time zone; write an IANA name such as `{example}`, or `UTC`")]
pub struct ZoneError {
    /// The name.
    pub name: String,
    /// A name that exists: the one that was probably meant, if there is one.
    pub example: String,
}

impl Zone {
    /// Coordinated universal time, which has no clock changes.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The name in the database's spelling.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The instant on a wall clock of the zone, with the offset that then holds, e.g. `2026-10-25T02:30:00+01:00[Europe/Vienna]`.
    ///
    /// The form is that of RFC 9557; both passes of an hour that a clock change repeats can be told apart. Instants outside the years
    /// -9999..9999 are clamped.
    pub fn civil(&self, at: Timestamp) -> String {
        at.to_jiff().to_zoned_datetime(self.0.clone()).to_string()
    }

    /// The zone for calendar arithmetic.
    pub const fn as_jiff(&self) -> &TimeZone {
        &self.0
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, ZoneError> {
        let name = name.trim();
        let found = TimeZoneDatabase::bundled().get(name).ok();
        // The zone that stands for an unknown one has no name of the database.
        match found.filter(|zone| zone.iana_name().is_some()) {
            Some(zone) => Ok(Self(zone)),
            None => Err(ZoneError { name: quoted(name), example: probably_meant(name) }),
        }
    }
}

/// The zone whose city was named alone or below another region, else an example.
fn probably_meant(name: &str) -> String {
    let city = |name: &str| name.rsplit('/').next().map(|city| city.replace(' ', "_").to_ascii_lowercase());
    let wanted = city(name);
    let database = TimeZoneDatabase::bundled();
    let meant = database.available().find(|known| city(known.as_str()) == wanted);
    meant.map_or_else(|| "Europe/Berlin".to_owned(), |known| known.to_string())
}

impl Default for Zone {
    fn default() -> Self {
        Self::UTC
    }
}

impl TryFrom<String> for Zone {
    type Error = ZoneError;

    fn try_from(name: String) -> Result<Self, ZoneError> {
        name.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name().to_owned()
    }
}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Zone").field(&self.name()).finish()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_written_as_the_database_spells_them() {
        for (text, name) in [("europe/BERLIN", "Europe/Berlin"), ("utc", "UTC"), (" UTC ", "UTC")] {
            let zone: Zone = text.parse().unwrap();
            assert_eq!(zone.to_string(), name);
            assert_eq!(serde_json::to_string(&zone).unwrap(), format!("\"{name}\""));
            assert_eq!(format!("{zone:?}"), format!("Zone(\"{name}\")"));
        }
        assert_eq!("UTC".parse::<Zone>().unwrap(), Zone::UTC);
    }

    #[test]
    fn both_passes_of_a_repeated_hour_are_told_apart() {
        let vienna: Zone = "Europe/Vienna".parse().unwrap();
        // 2026-10-25: at 01:00 UTC the clocks go back from 03:00 to 02:00.
        for (utc, civil) in [
            ("2026-10-25T00:30:00Z", "2026-10-25T02:30:00+02:00[Europe/Vienna]"),
            ("2026-10-25T01:30:00Z", "2026-10-25T02:30:00+01:00[Europe/Vienna]"),
            ("2026-10-25T02:30:00.250Z", "2026-10-25T03:30:00.25+01:00[Europe/Vienna]"),
        ] {
            assert_eq!(vienna.civil(utc.parse().unwrap()), civil);
        }
        assert_eq!(Zone::UTC.civil(Timestamp::from_millis(0)), "1970-01-01T00:00:00+00:00[UTC]");
        for end in [i64::MIN, i64::MAX] {
            assert!(vienna.civil(Timestamp::from_millis(end)).ends_with("[Europe/Vienna]"));
        }
    }

    #[test]
    fn zones_have_the_hashes_of_their_names() {
        let hash = |zone: &str| {
            let mut hasher = std::hash::DefaultHasher::new();
            zone.parse::<Zone>().unwrap().hash(&mut hasher);
            hasher.finish()
        };
        assert_eq!(hash("europe/berlin"), hash("Europe/Berlin"));
        assert_ne!(hash("Europe/Berlin"), hash("UTC"));
    }

    #[test]
    fn every_name_of_the_database_reads_back_as_itself() {
        for name in TimeZoneDatabase::bundled().available() {
            let Ok(zone) = name.as_str().parse::<Zone>() else {
                assert_eq!(name.as_str(), "Etc/Unknown");
                continue;
            };
            assert_eq!(zone.name(), name.as_str());
        }
    }

    #[test]
    fn what_is_no_zone_is_named_with_a_name_that_exists() {
        let texts = [
            "Mars/Olympus",
            "berlin",
            "US/New York",
            "CET-1CEST",
            "Etc/Unknown",
            "",
            "../../etc/passwd",
            "a\nb",
        ];
        let told: Vec<String> =
            texts.iter().map(|text| text.parse::<Zone>().unwrap_err().to_string()).collect();
        insta::assert_snapshot!(told.join("\n"));
    }
}
