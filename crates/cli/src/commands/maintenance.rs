//! When a repository is forgotten, pruned and checked.

use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use restic_manager_core::maintenance::{CadenceSetting, MaintenanceKind, MaintenanceSettings};
use restic_manager_core::schedule::{CronError, CronExpr, Zone};

use super::Session;
use crate::error::CliError;
use crate::route::Route;
use crate::ui::{Cell, Look, Tone, View};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the maintenance settings of a repository
    ///
    /// `rmctl repo why` tells when each kind runs next, and what holds it.
    Show {
        /// The repository
        repo: String,
    },
    /// Change the maintenance settings of a repository; what is not given stays
    ///
    /// A cadence that is changed starts anew: nothing of the past is made up for.
    #[command(override_usage = "rmctl maintenance set [OPTIONS] <REPO>")]
    Set {
        /// The repository
        repo: String,
        #[command(flatten)]
        change: Change,
    },
}

/// What is to be changed.
#[derive(Debug, Clone, Default, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Change {
    /// When snapshots are forgotten: five cron fields, `off`, or `on` as it was before
    #[arg(long, value_name = "CRON|off|on")]
    forget: Option<Cadence>,
    /// When data is removed that no snapshot needs
    #[arg(long, value_name = "CRON|off|on")]
    prune: Option<Cadence>,
    /// When the repository is verified
    #[arg(long, value_name = "CRON|off|on")]
    check: Option<Cadence>,
    /// The time zone of the cron fields
    #[arg(long, value_name = "ZONE")]
    timezone: Option<Zone>,
    /// How much of the data a check reads, in percent; 0 looks at the structure only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    check_subset: Option<u8>,
    /// Over how many minutes after the cron time the repositories of the fleet spread
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u16).range(0..=720))]
    spread: Option<u16>,
    /// Whether stale locks go without asking, when all locks there are left over from jobs of ours
    #[arg(long, value_enum, value_name = "on|off")]
    auto_unlock: Option<Switch>,
    /// Whether the host that does the maintenance keeps the admin credential on its disk; `auto`: only if no other host
    /// uses the repository
    #[arg(long, value_enum, value_name = "on|off|auto")]
    keep_admin_credential: Option<Keeping>,
}

/// A cadence on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cadence {
    Off,
    On,
    At(CronExpr),
}

impl FromStr for Cadence {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        match text {
            "off" => Ok(Self::Off),
            "on" => Ok(Self::On),
            cron => cron.parse().map(Self::At),
        }
    }
}

impl Cadence {
    fn apply(&self, setting: &mut CadenceSetting) {
        setting.enabled = *self != Self::Off;
        if let Self::At(cron) = self {
            setting.cron = cron.clone();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Keeping {
    On,
    Off,
    Auto,
}

impl Change {
    fn apply(&self, settings: &mut MaintenanceSettings) {
        let policy = &mut settings.policy;
        for (change, setting) in [
            (&self.forget, &mut policy.forget),
            (&self.prune, &mut policy.prune),
            (&self.check, &mut policy.check),
        ] {
            if let Some(change) = change {
                change.apply(setting);
            }
        }
        if let Some(zone) = &self.timezone {
            policy.timezone = zone.clone();
        }
        policy.check_subset_pct = self.check_subset.unwrap_or(policy.check_subset_pct);
        policy.spread_minutes = self.spread.unwrap_or(policy.spread_minutes);
        if let Some(switch) = self.auto_unlock {
            settings.auto_unlock = switch == Switch::On;
        }
        match self.keep_admin_credential {
            None => {}
            Some(Keeping::On) => settings.keep_admin_credential = Some(true),
            Some(Keeping::Off) => settings.keep_admin_credential = Some(false),
            Some(Keeping::Auto) => settings.keep_admin_credential = None,
        }
    }
}

impl Command {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let Session { client, ui } = session;
        let route = |repo: &str| -> Result<Route, CliError> {
            Ok(Route::new(["repos", &client.repo_id(repo)?, "maintenance"]))
        };
        match self {
            Self::Show { repo } => ui.show(&client.get(&route(repo)?)?, card),
            Self::Set { repo, change } => {
                let route = route(repo)?;
                let mut settings: MaintenanceSettings = client.get(&route)?.read()?;
                change.apply(&mut settings);
                ui.show(&client.put(&route, &settings)?, card)
            }
        }
    }
}

fn card(settings: &MaintenanceSettings, _: &Look) -> View {
    let policy = &settings.policy;
    let cadence = |kind: MaintenanceKind| {
        let setting = policy.setting(kind);
        if setting.enabled {
            Cell::from(setting.cron.as_str())
        } else {
            Cell::new(format!("off (was {})", setting.cron.as_str()), Tone::Warning)
        }
    };
    let check_reads = match policy.check_subset_pct {
        0 => "the structure only".to_owned(),
        percent => format!("{percent} % of the data"),
    };
    let spread = match policy.spread_minutes {
        0 => "at once".to_owned(),
        minutes => format!("within {minutes} min, each repository at its own minute"),
    };
    let unlock = if settings.auto_unlock {
        Cell::from("go by themselves, when all are left over from jobs of ours")
    } else {
        Cell::new("wait for `rmctl repo unlock`", Tone::Warning)
    };
    let keeping = match settings.keep_admin_credential {
        Some(true) => "stays on the disk of the host that does the maintenance",
        Some(false) => "is sent for each job and never stored on a host",
        None => "is stored on the host that does the maintenance only if no other host uses the repository",
    };
    View::Card(vec![
        ("Forget", cadence(MaintenanceKind::Forget)),
        ("Prune", cadence(MaintenanceKind::Prune)),
        ("Check", cadence(MaintenanceKind::Check)),
        ("Time zone", policy.timezone.name().into()),
        ("Starts", spread.into()),
        ("A check reads", check_reads.into()),
        ("Stale locks", unlock),
        ("Admin credential", keeping.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    fn settings() -> MaintenanceSettings {
        serde_json::from_str(include_str!("../../tests/answers/maintenance.json")).unwrap()
    }

    #[test]
    fn settings_as_a_card() {
        let mut other = settings();
        let change = Change {
            forget: Some(Cadence::Off),
            check_subset: Some(0),
            spread: Some(0),
            auto_unlock: Some(Switch::Off),
            keep_admin_credential: Some(Keeping::Off),
            ..Change::default()
        };
        change.apply(&mut other);
        let look = fixed_look();
        let both = View::Stack(vec![card(&settings(), &look), card(&other, &look)]);
        insta::assert_snapshot!(both.render(&look));
    }

    #[test]
    fn a_change_leaves_everything_else_as_it_was() {
        let mut changed = settings();
        Change { prune: Some(Cadence::Off), ..Change::default() }.apply(&mut changed);
        let mut expected = settings();
        expected.policy.prune.enabled = false;
        assert_eq!(changed, expected);
        // The cron of a cadence that was switched off is still there to be switched on.
        Change { prune: Some(Cadence::On), ..Change::default() }.apply(&mut changed);
        assert_eq!(changed, settings());
        let cron = Cadence::At("5 4 * * *".parse().unwrap());
        Change { check: Some(cron), keep_admin_credential: Some(Keeping::On), ..Change::default() }
            .apply(&mut changed);
        assert_eq!(changed.policy.check.cron.as_str(), "5 4 * * *");
        assert_eq!(changed.keep_admin_credential, Some(true));
        Change { keep_admin_credential: Some(Keeping::Auto), ..Change::default() }.apply(&mut changed);
        assert_eq!(changed.keep_admin_credential, None);
    }

    #[test]
    fn a_cadence_is_a_cron_text_or_one_of_two_words() {
        assert_eq!("off".parse::<Cadence>().unwrap(), Cadence::Off);
        assert_eq!("on".parse::<Cadence>().unwrap(), Cadence::On);
        assert!("99 * * * *".parse::<Cadence>().unwrap_err().to_string().contains("minute"));
    }
}
