//! What `forget --json` says.

use serde::Deserialize;

use super::snapshot::null_as_default;
use super::{OutputError, Snapshot, SnapshotId, SnapshotTime};

/// What a policy means for one group of snapshots.
///
/// `remove` is an intention: 0.18.0 exits with 0 although the repository refused. What is gone is known by listing again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ForgetGroup {
    /// The host of the group.
    #[serde(default, deserialize_with = "null_as_default")]
    pub host: String,
    /// The tags of the group; empty when not grouped by tags.
    #[serde(default, deserialize_with = "null_as_default")]
    pub tags: Vec<String>,
    /// The paths of the group; empty when not grouped by paths.
    #[serde(default, deserialize_with = "null_as_default")]
    pub paths: Vec<String>,
    /// What stays.
    #[serde(default, deserialize_with = "null_as_default")]
    pub keep: Vec<Snapshot>,
    /// What was to be removed.
    #[serde(default, deserialize_with = "null_as_default")]
    pub remove: Vec<Snapshot>,
    /// Why each kept one stays, in the order of `keep`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub reasons: Vec<KeepReason>,
}

/// Why a snapshot stays.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct KeepReason {
    /// Which snapshot, as far as it is named.
    pub snapshot: ReasonedSnapshot,
    /// Restic's words, such as `daily snapshot`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub matches: Vec<String>,
}

/// A snapshot as a reason names it: 0.14.0 leaves out its id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ReasonedSnapshot {
    /// Its id, where it is told.
    #[serde(default)]
    pub id: Option<SnapshotId>,
    /// When it was made.
    pub time: SnapshotTime,
}

impl ForgetGroup {
    /// Why a kept snapshot stays, in restic's words; nothing for one that goes.
    ///
    /// Where reasons carry no ids they stand in the order of `keep`; the time is compared all the same.
    pub fn reasons_of(&self, id: &SnapshotId) -> &[String] {
        let named = self.reasons.iter().find(|reason| reason.snapshot.id.as_ref() == Some(id));
        let placed = || {
            let place = self.keep.iter().position(|kept| kept.id == *id)?;
            let time = self.keep[place].time;
            let nameless =
                |reason: &&KeepReason| reason.snapshot.id.is_none() && reason.snapshot.time == time;
            let at_its_place = self.reasons.get(place).filter(nameless);
            at_its_place.or_else(|| self.reasons.iter().find(nameless))
        };
        named.or_else(placed).map_or(&[], |reason| &reason.matches)
    }
}

/// Reads the standard output of `forget --json`; nothing at all means that no snapshot matched.
///
/// Only the first line is read: with `--prune` text follows it on 0.14.0 and 0.18.0.
///
/// # Errors
///
/// The first line is no JSON array of groups.
pub fn parse_forget(stdout: &str) -> Result<Vec<ForgetGroup>, OutputError> {
    let first = stdout.lines().next().unwrap_or_default().trim();
    if first.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(first).map_err(|error| OutputError::new("forget", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_means_nothing_matched() {
        assert_eq!(parse_forget(""), Ok(vec![]));
        assert_eq!(parse_forget("\n"), Ok(vec![]));
    }

    #[test]
    fn reasons_are_found_by_id_and_by_place_where_they_carry_none() {
        let snapshot = |n: u8, time: &str| {
            let id = format!("{n:02x}").repeat(32);
            format!(r#""time":"{time}","id":"{id}","short_id":"{}""#, &id[..8])
        };
        let (a, b) = (snapshot(1, "2026-11-17T04:00:00Z"), snapshot(2, "2026-11-17T04:00:00Z"));
        let id = |n: u8| SnapshotId::new(format!("{n:02x}").repeat(32)).unwrap();
        let nameless = r#"{"snapshot":{"time":"2026-11-17T04:00:00Z"},"matches":["one"]},{"snapshot":{"time":"2026-11-17T04:00:00Z"},"matches":["two"]}"#;
        let named =
            format!(r#"{{"snapshot":{{{b}}},"matches":["two"]}},{{"snapshot":{{{a}}},"matches":["one"]}}"#);
        for reasons in [nameless, &named] {
            let text = format!(r#"[{{"keep":[{{{a}}},{{{b}}}],"remove":null,"reasons":[{reasons}]}}]"#);
            let groups = parse_forget(&text).unwrap();
            assert_eq!(groups[0].reasons_of(&id(1)), ["one"]);
            assert_eq!(groups[0].reasons_of(&id(2)), ["two"]);
            assert!(groups[0].reasons_of(&id(3)).is_empty());
        }
        // What is said by name of one is not said of another of the same time.
        let of_a = format!(r#"{{"snapshot":{{{a}}},"matches":["one"]}}"#);
        let text = format!(r#"[{{"keep":[{{{a}}},{{{b}}}],"remove":null,"reasons":[{of_a}]}}]"#);
        assert!(parse_forget(&text).unwrap()[0].reasons_of(&id(2)).is_empty());
    }

    #[test]
    fn null_lists_are_empty_and_later_lines_are_not_read() {
        let text = "[{\"tags\":null,\"host\":\"h\",\"paths\":null,\"keep\":null,\"remove\":null}]\nloading indexes...\n";
        let groups = parse_forget(text).unwrap();
        assert_eq!((groups.len(), groups[0].host.as_str()), (1, "h"));
        assert!(groups[0].keep.is_empty() && groups[0].remove.is_empty());
        assert!(parse_forget("loading indexes...").is_err());
    }
}
