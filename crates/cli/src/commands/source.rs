//! Source groups: what is backed up.

mod preview;

use std::num::NonZeroU32;

use clap::{Args, Subcommand};
use restic_manager_core::api::{Page, SourceGroupWrite};
use restic_manager_core::model::{BackupOptions, SourceGroup};
use restic_manager_core::retention::{KeepPolicy, KeepWithin};
use restic_manager_core::text::{DisplayName, ExcludePattern, SourcePath, Tag};

use super::{Listing, Session};
use crate::error::CliError;
use crate::input::Confirmation;
use crate::route::Route;
use crate::ui::{Cell, Grid, Look, View, ago, capitalised, instant};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the source groups of a host
    Ls {
        /// The host
        host: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one source group
    Show {
        /// The host
        host: String,
        /// The source group
        source: String,
    },
    /// Make a source group
    Create {
        /// The host
        host: String,
        /// Its name
        name: DisplayName,
        /// The tag of its snapshots; made from the name when not given; fixed once it is made
        #[arg(long, value_name = "TAG")]
        tag: Option<Tag>,
        #[command(flatten)]
        content: Content,
    },
    /// Change a source group; what is not given stays
    Edit {
        /// The host
        host: String,
        /// The source group
        source: String,
        /// A new name
        #[arg(long, value_name = "NAME")]
        name: Option<DisplayName>,
        #[command(flatten)]
        content: Content,
    },
    /// Show what forget would remove now, and why each other snapshot stays; nothing is changed
    Preview(preview::Preview),
    /// Delete a source group; its snapshots stay
    Delete {
        /// The host
        host: String,
        /// The source group
        source: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

/// What a source group holds.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Content {
    /// A file or folder to back up, from the root; replaces those that are there
    #[arg(long = "include", short = 'i', value_name = "PATH")]
    includes: Vec<SourcePath>,
    /// A pattern to leave out; replaces those that are there
    #[arg(long = "exclude", short = 'e', value_name = "PATTERN", conflicts_with = "no_excludes")]
    excludes: Vec<ExcludePattern>,
    /// Leave nothing out
    #[arg(long)]
    no_excludes: bool,
    /// Leave out folders that carry a CACHEDIR.TAG
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    exclude_caches: Option<bool>,
    /// Stay on the file system of each included path
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    one_file_system: Option<bool>,
    /// Attempts of a run including the first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    retry_max: Option<u32>,
    /// Seconds before the second attempt; doubled after each further one
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(10..=1800))]
    retry_backoff: Option<u32>,
    #[command(flatten)]
    keep: Keep,
}

/// How long snapshots are kept. Any of these replaces the whole policy.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "How long snapshots are kept (any of these replaces the whole policy)")]
pub(crate) struct Keep {
    /// The newest snapshots
    #[arg(long, value_name = "N", value_parser = from_one)]
    keep_last: Option<NonZeroU32>,
    /// The newest snapshot of so many hours
    #[arg(long, value_name = "N", value_parser = from_one)]
    keep_hourly: Option<NonZeroU32>,
    /// The newest snapshot of so many days
    #[arg(long, value_name = "N", value_parser = from_one)]
    keep_daily: Option<NonZeroU32>,
    /// The newest snapshot of so many weeks
    #[arg(long, value_name = "N", value_parser = from_one)]
    keep_weekly: Option<NonZeroU32>,
    /// The newest snapshot of so many months
    #[arg(long, value_name = "N", value_parser = from_one)]
    keep_monthly: Option<NonZeroU32>,
    /// The newest snapshot of so many years
    #[arg(long, value_name = "N", value_parser = from_one)]
    keep_yearly: Option<NonZeroU32>,
    /// All snapshots of this stretch before the newest one, such as 1y5m7d2h
    #[arg(long, value_name = "STRETCH")]
    keep_within: Option<KeepWithin>,
    /// All snapshots, for ever
    #[arg(long, conflicts_with_all = [
        "keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly", "keep_within",
    ])]
    keep_everything: bool,
}

fn from_one(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| "give a whole number from 1 on".to_owned())
}

impl Keep {
    /// The policy, when one was given.
    fn policy(&self) -> Option<KeepPolicy> {
        let policy = KeepPolicy {
            last: self.keep_last,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within: self.keep_within,
        };
        (self.keep_everything || !policy.is_empty()).then_some(policy)
    }
}

impl Content {
    fn apply(&self, group: &mut SourceGroupWrite) {
        if !self.includes.is_empty() {
            group.includes.clone_from(&self.includes);
        }
        if self.no_excludes || !self.excludes.is_empty() {
            group.excludes.clone_from(&self.excludes);
        }
        group.options.exclude_caches = self.exclude_caches.unwrap_or(group.options.exclude_caches);
        group.options.one_file_system = self.one_file_system.unwrap_or(group.options.one_file_system);
        group.retry_max = self.retry_max.unwrap_or(group.retry_max);
        group.retry_backoff_seconds = self.retry_backoff.unwrap_or(group.retry_backoff_seconds);
        group.keep = self.keep.policy().unwrap_or(group.keep);
    }
}

impl Command {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let Session { client, ui } = session;
        match self {
            Self::Ls { host, listing } => {
                let route = Route::new(["hosts", &client.host_id(host)?, "source-groups"]);
                ui.show_page(&listing.fetch(client, route)?, table)
            }
            Self::Show { host, source } => ui.show(&client.get(&route(session, host, source)?)?, card),
            Self::Create { host, name, tag, content } => create(session, host, name, tag.as_ref(), content),
            Self::Edit { host, source, name, content } => {
                let route = route(session, host, source)?;
                let mut group = written(client.get(&route)?.read()?);
                group.name = name.clone().unwrap_or(group.name);
                content.apply(&mut group);
                ui.show(&client.put(&route, &group)?, card)
            }
            Self::Preview(command) => command.run(session),
            Self::Delete { host, source, confirmation } => {
                let route = route(session, host, source)?;
                let group: SourceGroup = client.get(&route)?.read()?;
                confirmation.confirm("source group", group.name.as_str())?;
                let body = client.delete(&route)?;
                ui.done(&body, &format!("the source group `{}` is deleted; its snapshots stay", group.name))
            }
        }
    }
}

fn route(session: &Session, host: &str, source: &str) -> Result<Route, CliError> {
    let host_id = session.client.host_id(host)?;
    let group_id = session.client.group_id(&host_id, source)?;
    Ok(Route::new(["hosts", &host_id, "source-groups", &group_id]))
}

fn create(
    session: &Session,
    host: &str,
    name: &DisplayName,
    tag: Option<&Tag>,
    content: &Content,
) -> Result<(), CliError> {
    if content.includes.is_empty() {
        return Err(CliError::usage(
            "a source group needs something to back up",
            "name a folder: --include /home",
        ));
    }
    let mut group = SourceGroupWrite {
        name: name.clone(),
        tag: tag.cloned(),
        includes: Vec::new(),
        excludes: Vec::new(),
        options: BackupOptions::default(),
        keep: KeepPolicy::default(),
        retry_max: 3,
        retry_backoff_seconds: 60,
    };
    content.apply(&mut group);
    let route = Route::new(["hosts", &session.client.host_id(host)?, "source-groups"]);
    session.ui.show(&session.client.post(&route, &group)?, card)
}

/// A group as it would be written again. Its tag is fixed and so left out.
fn written(group: SourceGroup) -> SourceGroupWrite {
    SourceGroupWrite {
        name: group.name,
        tag: None,
        includes: group.includes,
        excludes: group.excludes,
        options: group.options,
        keep: group.keep,
        retry_max: group.retry_max,
        retry_backoff_seconds: group.retry_backoff_seconds,
    }
}

fn paths(group: &SourceGroup) -> String {
    group.includes.iter().map(SourcePath::as_str).collect::<Vec<_>>().join(", ")
}

fn table(page: &Page<SourceGroup>, look: &Look) -> View {
    let row = |group: &SourceGroup| {
        vec![
            Cell::from(group.name.as_str()),
            Cell::from(group.tag.as_str()),
            Cell::from(paths(group)),
            Cell::from(group.excludes.len().to_string()),
            Cell::from(group.keep.summary()),
            Cell::from(ago(group.updated_at, look.now)),
        ]
    };
    Grid::new(
        &["NAME", "TAG", "INCLUDES", "EXCLUDES", "RETENTION", "CHANGED"],
        "No source groups: rmctl source create HOST NAME --include PATH",
    )
    .rows(page.items.iter().map(row))
}

fn card(group: &SourceGroup, look: &Look) -> View {
    let excludes: Vec<&str> = group.excludes.iter().map(ExcludePattern::as_str).collect();
    let mut options = Vec::new();
    if group.options.exclude_caches {
        options.push("leaves out caches");
    }
    if group.options.one_file_system {
        options.push("stays on one file system");
    }
    let retries =
        format!("{} attempts, {} s before the second", group.retry_max, group.retry_backoff_seconds);
    View::Card(vec![
        ("Name", group.name.as_str().into()),
        ("Id", group.id.to_string().into()),
        ("Tag", group.tag.as_str().into()),
        ("Includes", paths(group).into()),
        ("Excludes", Cell::or_none(Some(excludes.join(", ")))),
        ("Options", Cell::or_none(Some(options.join(", ")))),
        ("Retention", capitalised(&group.keep.summary()).into()),
        ("Retries", retries.into()),
        (
            "Changed",
            format!("{} ({})", instant(group.updated_at, &look.zone), ago(group.updated_at, look.now)).into(),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    fn page() -> Page<SourceGroup> {
        serde_json::from_str(include_str!("../../tests/answers/source-groups.json")).unwrap()
    }

    #[test]
    fn source_groups_as_a_table_and_one_alone() {
        let look = fixed_look();
        let both = View::Stack(vec![table(&page(), &look), card(&page().items[0], &look)]);
        insta::assert_snapshot!(both.render(&look));
    }

    #[test]
    fn an_edit_changes_what_was_given_and_nothing_else() {
        let before = written(page().items.remove(0));
        let mut after = before.clone();
        Content::default().apply(&mut after);
        assert_eq!(after, before);
        let content = Content { retry_max: Some(7), no_excludes: true, ..Content::default() };
        content.apply(&mut after);
        assert_eq!(after, SourceGroupWrite { retry_max: 7, excludes: Vec::new(), ..before });
    }

    #[test]
    fn a_rule_of_retention_replaces_the_whole_policy() {
        let mut group = written(page().items.remove(0));
        assert!(group.keep.daily.is_some());
        let keep = Keep { keep_last: NonZeroU32::new(2), ..Keep::default() };
        Content { keep, ..Content::default() }.apply(&mut group);
        assert_eq!(group.keep, KeepPolicy { last: NonZeroU32::new(2), ..KeepPolicy::default() });
        let keep = Keep { keep_everything: true, ..Keep::default() };
        Content { keep, ..Content::default() }.apply(&mut group);
        assert!(group.keep.is_empty());
    }
}
