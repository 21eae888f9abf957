//! What a repository's maintenance policy says.

use serde::{Deserialize, Serialize};

use crate::model::JobKind;
use crate::schedule::{Cadence, CronExpr, Zone};
use crate::time::MINUTE;

/// The three kinds of maintenance, in the order in which they run when they are due together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum MaintenanceKind {
    /// Forgets snapshots by the policies of the source groups.
    Forget,
    /// Removes data that no snapshot needs.
    Prune,
    /// Verifies the repository.
    Check,
}

impl MaintenanceKind {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::Forget, Self::Prune, Self::Check];

    /// The kind of job that does it.
    pub const fn job_kind(self) -> JobKind {
        match self {
            Self::Forget => JobKind::Forget,
            Self::Prune => JobKind::Prune,
            Self::Check => JobKind::Check,
        }
    }

    /// Its name in SQL, wire, JSON and CLI.
    pub const fn as_str(self) -> &'static str {
        self.job_kind().as_str()
    }
}

/// When a kind of maintenance fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CadenceSetting {
    /// Whether it fires at all.
    pub enabled: bool,
    /// Five cron fields.
    pub cron: CronExpr,
}

/// The maintenance policy of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MaintenancePolicy {
    /// When snapshots are forgotten.
    pub forget: CadenceSetting,
    /// When data is removed.
    pub prune: CadenceSetting,
    /// When the repository is verified.
    pub check: CadenceSetting,
    /// The time zone in which the cadences are read.
    pub timezone: Zone,
    /// How much of the data a check reads, in percent: 0 (structure only) to 100.
    pub check_subset_pct: u8,
    /// Over how many minutes after a slot the repositories of a fleet spread: 0 to 720.
    pub spread_minutes: u16,
}

/// All that is set for the maintenance of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MaintenanceSettings {
    /// When what is done.
    pub policy: MaintenancePolicy,
    /// Whether stale locks of our own ended runs are removed without asking.
    pub auto_unlock: bool,
    /// Whether the runner keeps the admin credential on its disk; when not given: only if it is the only host attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_admin_credential: Option<bool>,
}

impl MaintenanceSettings {
    /// The settings of a new repository.
    pub fn standard(timezone: Zone) -> Self {
        Self { policy: MaintenancePolicy::standard(timezone), auto_unlock: true, keep_admin_credential: None }
    }
}

/// A policy that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not a percentage.
    #[error("`check_subset_pct`: {0} is not between 0 and 100")]
    Subset(u8),
    /// Too long.
    #[error("`spread_minutes`: {0} is more than 720")]
    Spread(u16),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    forget: CadenceSetting,
    prune: CadenceSetting,
    check: CadenceSetting,
    timezone: Zone,
    check_subset_pct: u8,
    spread_minutes: u16,
}

impl TryFrom<Unchecked> for MaintenancePolicy {
    type Error = PolicyError;

    fn try_from(raw: Unchecked) -> Result<Self, PolicyError> {
        if raw.check_subset_pct > 100 {
            return Err(PolicyError::Subset(raw.check_subset_pct));
        }
        if raw.spread_minutes > 720 {
            return Err(PolicyError::Spread(raw.spread_minutes));
        }
        let Unchecked { forget, prune, check, timezone, check_subset_pct, spread_minutes } = raw;
        Ok(Self { forget, prune, check, timezone, check_subset_pct, spread_minutes })
    }
}

impl MaintenancePolicy {
    /// The policy of a new repository: forget daily at 03:00, prune on Sundays at 04:00, check with 5 % of the data on the first of each
    /// month at 05:00, spread over an hour.
    pub fn standard(timezone: Zone) -> Self {
        // The texts are constants; a test reads each of them.
        let on = |cron: &str| CadenceSetting { enabled: true, cron: constant(cron) };
        Self {
            forget: on("0 3 * * *"),
            prune: on("0 4 * * 0"),
            check: on("0 5 1 * *"),
            timezone,
            check_subset_pct: 5,
            spread_minutes: 60,
        }
    }

    /// The setting of a kind.
    pub const fn setting(&self, kind: MaintenanceKind) -> &CadenceSetting {
        match kind {
            MaintenanceKind::Forget => &self.forget,
            MaintenanceKind::Prune => &self.prune,
            MaintenanceKind::Check => &self.check,
        }
    }

    /// The cadence of a kind.
    pub fn cadence(&self, kind: MaintenanceKind) -> Cadence {
        Cadence { cron: self.setting(kind).cron.clone(), zone: self.timezone.clone() }
    }

    /// The spread in milliseconds.
    pub fn spread_for(&self) -> u64 {
        u64::from(self.spread_minutes) * MINUTE.unsigned_abs()
    }
}

#[allow(clippy::expect_used)]
fn constant(cron: &str) -> CronExpr {
    cron.parse().expect("a constant that a test reads")
}

#[cfg(test)]
mod policy_tests {
    use super::*;

    #[test]
    fn the_standard_policy_is_the_one_that_is_promised() {
        let policy = MaintenancePolicy::standard(Zone::UTC);
        let crons: Vec<String> =
            MaintenanceKind::ALL.iter().map(|kind| policy.setting(*kind).cron.to_string()).collect();
        assert_eq!(crons, ["0 3 * * *", "0 4 * * 0", "0 5 1 * *"]);
        assert_eq!((policy.check_subset_pct, policy.spread_minutes), (5, 60));
    }

    #[test]
    fn a_policy_that_cannot_be_is_refused_by_name() {
        let mut json = serde_json::to_value(MaintenancePolicy::standard(Zone::UTC)).unwrap();
        json["check_subset_pct"] = 101.into();
        let error = serde_json::from_value::<MaintenancePolicy>(json.clone()).unwrap_err();
        assert!(error.to_string().contains("`check_subset_pct`: 101"), "{error}");
        json["check_subset_pct"] = 100.into();
        json["spread_minutes"] = 720.into();
        let widest = serde_json::from_value::<MaintenancePolicy>(json.clone()).unwrap();
        assert_eq!(widest.spread_for(), 12 * 60 * 60 * 1000);
        json["spread_minutes"] = 721.into();
        let error = serde_json::from_value::<MaintenancePolicy>(json.clone()).unwrap_err();
        assert!(error.to_string().contains("`spread_minutes`: 721"), "{error}");
        json["spread_minutes"] = 0.into();
        json["moon"] = 1.into();
        assert!(serde_json::from_value::<MaintenancePolicy>(json).unwrap_err().to_string().contains("moon"));
    }
}
