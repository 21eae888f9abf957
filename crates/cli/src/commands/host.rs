//! Hosts.

use clap::{Subcommand, ValueEnum};
use restic_manager_core::api::{
    EnrollmentTokenRequest, EnrollmentTokenResponse, HostPatch, HostView, Page, Presence,
};
use restic_manager_core::text::{DisplayName, Tag};

use super::attachment::{Attach, Attachments, Detach};
use super::pending::{Approve, Pending, Reject};
use super::{Listing, Session};
use crate::commands::job::{outcome, state_tone};
use crate::error::CliError;
use crate::input::Confirmation;
use crate::resolve::Named;
use crate::route::Route;
use crate::ui::{Cell, Grid, Look, Tone, View, ago, instant, warn};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List hosts
    Ls {
        /// Only hosts with this in their name
        #[arg(long, short, value_name = "TEXT")]
        query: Option<String>,
        /// Only hosts with this label
        #[arg(long, value_name = "TAG")]
        tag: Option<Tag>,
        /// Only hosts in this state
        #[arg(long, value_enum, value_name = "STATE")]
        state: Option<PresenceArg>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one host
    Show {
        /// The host
        host: String,
    },
    /// Give a host another name; nothing changes in any repository
    Rename {
        /// The host
        host: String,
        /// Its new name
        name: DisplayName,
    },
    /// Change the labels of a host
    Tag {
        /// The host
        host: String,
        /// Add a label
        #[arg(long, value_name = "TAG", required_unless_present_any = ["remove", "clear"])]
        add: Vec<Tag>,
        /// Remove a label
        #[arg(long, value_name = "TAG")]
        remove: Vec<Tag>,
        /// Remove all labels first
        #[arg(long)]
        clear: bool,
    },
    /// Limit how fast a host's restic may be
    Limit {
        /// The host
        host: String,
        /// Upload in KiB/s; 0 lifts the limit
        #[arg(long, value_name = "KIB", required_unless_present = "download")]
        upload: Option<u32>,
        /// Download in KiB/s; 0 lifts the limit
        #[arg(long, value_name = "KIB")]
        download: Option<u32>,
    },
    /// Delete a host; its snapshots stay in their repositories
    Delete {
        /// The host
        host: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Make a one-time token that enrols a new host, and show the command to paste there
    ///
    /// The agent takes that token; it is no API token and does not belong into RM_TOKEN.
    #[command(visible_alias = "enrol-token")]
    EnrollToken {
        /// The name the host will have; the machine's own when not given
        #[arg(long, value_name = "NAME")]
        host_name: Option<DisplayName>,
    },
    /// List the machines whose agents announced themselves and wait to be approved
    Pending(Pending),
    /// Let an announced machine in, once its fingerprint was compared
    ///
    /// With `--url`, `--repo` or `--repo-name` it gets its repository at once.
    Approve(Approve),
    /// Send an announced machine away
    Reject(Reject),
    /// Attach a host to a repository, or change how it is attached
    ///
    /// For a new attachment the credential is asked for; for one that is there it stays unless a part of it is given.
    Attach(Attach),
    /// End a host's right to use a repository; the snapshots stay there
    Detach(Detach),
    /// List the repositories a host uses
    Attachments(Attachments),
}

/// Whether a host's agent is in contact.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PresenceArg {
    Online,
    Offline,
    #[value(name = "never_seen")]
    NeverSeen,
}

impl PresenceArg {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::NeverSeen => "never_seen",
        }
    }
}

impl Command {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        match self {
            Self::Ls { query, tag, state, listing } => {
                let route = Route::new(["hosts"])
                    .with("q", query.as_deref())
                    .with("tag", tag.as_ref().map(Tag::as_str))
                    .with("state", state.map(PresenceArg::as_str));
                session.ui.show_page(&listing.fetch(&session.client, route)?, table)
            }
            Self::Show { host } => {
                let route = Route::new(["hosts", &session.client.host_id(host)?]);
                session.ui.show(&session.client.get(&route)?, card)
            }
            Self::Rename { host, name } => {
                patch(session, host, &HostPatch { name: Some(name.clone()), ..HostPatch::default() })
            }
            Self::Tag { host, add, remove, clear } => {
                let id = session.client.host_id(host)?;
                let view: HostView = session.client.get(&Route::new(["hosts", &id]))?.read()?;
                let mut tags = if *clear { Vec::new() } else { view.host.tags };
                tags.retain(|tag| !remove.contains(tag) && !add.contains(tag));
                tags.extend(add.iter().cloned());
                patch(session, &id, &HostPatch { tags: Some(tags), ..HostPatch::default() })
            }
            Self::Limit { host, upload, download } => {
                let limits = HostPatch {
                    limit_upload_kib: *upload,
                    limit_download_kib: *download,
                    ..HostPatch::default()
                };
                patch(session, host, &limits)
            }
            Self::Delete { host, confirmation } => delete(session, host, *confirmation),
            Self::EnrollToken { host_name } => {
                if let Some(name) = host_name {
                    warn_of_namesake(session, name)?;
                }
                let request = EnrollmentTokenRequest { host_name: host_name.clone() };
                let body = session.client.post(&Route::new(["enrollment-tokens"]), &request)?;
                session.ui.show(&body, enrollment)
            }
            Self::Pending(command) => command.run(session),
            Self::Approve(command) => command.run(session),
            Self::Reject(command) => command.run(session),
            Self::Attach(command) => command.run(session),
            Self::Detach(command) => command.run(session),
            Self::Attachments(command) => command.run(session),
        }
    }
}

fn patch(session: &Session, host: &str, change: &HostPatch) -> Result<(), CliError> {
    let route = Route::new(["hosts", &session.client.host_id(host)?]);
    session.ui.show(&session.client.patch(&route, change)?, card)
}

fn delete(session: &Session, host: &str, confirmation: Confirmation) -> Result<(), CliError> {
    let route = Route::new(["hosts", &session.client.host_id(host)?]);
    let view: HostView = session.client.get(&route)?.read()?;
    confirmation.confirm("host", view.host.name.as_str())?;
    let body = session.client.delete(&route)?;
    session.ui.done(
        &body,
        &format!("the host `{}` is deleted; its snapshots stay in their repositories", view.host.name),
    )
}

/// A name is given once: the server numbers the machine that comes second.
fn warn_of_namesake(session: &Session, name: &DisplayName) -> Result<(), CliError> {
    let same = |host: &Named| host.name.to_lowercase() == name.as_str().to_lowercase();
    if let Some(host) = session.client.hosts_like(name.as_str())?.iter().find(|host| same(host)) {
        warn(&format!(
            "there is a host `{0}` already, so that the new machine will be called `{name} (2)` or the next free number: \
             before it enrols, delete or rename the old one (rmctl host delete '{0}', rmctl host rename '{0}' NAME), \
             or make a token with another --host-name",
            host.name
        ));
    }
    Ok(())
}

fn presence(view: &HostView) -> Cell {
    match view.presence {
        Presence::Online => Cell::new("online", Tone::Good),
        Presence::Offline => Cell::new("offline", Tone::Bad),
        Presence::NeverSeen => Cell::new("never seen", Tone::Warning),
    }
}

fn last_backup(view: &HostView, look: &Look) -> Cell {
    let Some(job) = &view.last_backup else { return Cell::none() };
    let at = job.job.finished_at.unwrap_or(job.job.created_at);
    Cell::new(format!("{} {}", job.job.state.as_str(), ago(at, look.now)), state_tone(job.job.state))
}

fn restic(view: &HostView) -> Cell {
    match (&view.host.facts.restic_version, &view.host.facts.restic_problem) {
        (_, Some(_)) => Cell::new("missing", Tone::Bad),
        (version, None) => Cell::or_none(version.as_ref()),
    }
}

fn tags(view: &HostView) -> Cell {
    Cell::or_none(Some(view.host.tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(", ")))
}

fn table(page: &Page<HostView>, look: &Look) -> View {
    let row = |view: &HostView| {
        vec![
            Cell::from(view.host.name.as_str()),
            presence(view),
            Cell::or_none(view.host.last_seen_at.map(|at| ago(at, look.now))),
            last_backup(view, look),
            Cell::or_none(view.next_run_at.map(|at| ago(at, look.now))),
            restic(view),
            tags(view),
        ]
    };
    Grid::new(
        &["NAME", "STATE", "LAST SEEN", "LAST BACKUP", "NEXT", "RESTIC", "TAGS"],
        "No hosts to show: rmctl host enroll-token makes a command that enrols one",
    )
    .rows(page.items.iter().map(row))
}

fn card(view: &HostView, look: &Look) -> View {
    let host = &view.host;
    let limit = |kib: Option<u32>| kib.map_or_else(|| "unlimited".to_owned(), |kib| format!("{kib} KiB/s"));
    let when = |at| format!("{} ({})", instant(at, &look.zone), ago(at, look.now));
    let plans = if host.schedule_version == host.schedule_version_acked {
        Cell::new("known to the agent", Tone::Good)
    } else {
        Cell::new("not yet known to the agent", Tone::Warning)
    };
    let machine = [&host.facts.os_hostname, &host.facts.os, &host.facts.arch];
    let machine: Vec<&str> = machine.into_iter().filter_map(Option::as_deref).collect();
    let last = match &view.last_backup {
        None => Cell::none(),
        Some(job) => Cell::new(outcome(job, look), state_tone(job.job.state)),
    };
    View::Card(vec![
        ("Name", host.name.as_str().into()),
        ("Id", host.id.to_string().into()),
        ("State", presence(view)),
        ("Last seen", Cell::or_none(host.last_seen_at.map(when))),
        ("Last backup", last),
        ("Next backup", Cell::or_none(view.next_run_at.map(when))),
        ("Machine", Cell::or_none(Some(machine.join(", ")))),
        ("Agent", Cell::or_none(host.facts.agent_version.as_ref())),
        (
            "Restic",
            match &host.facts.restic_problem {
                Some(problem) => Cell::new(problem, Tone::Bad),
                None => Cell::or_none(host.facts.restic_version.as_ref()),
            },
        ),
        ("Upload", limit(host.limit_upload_kib).into()),
        ("Download", limit(host.limit_download_kib).into()),
        ("Schedules", plans),
        ("Tags", tags(view)),
        ("Enrolled", when(host.created_at).into()),
    ])
}

fn enrollment(token: &EnrollmentTokenResponse, look: &Look) -> View {
    View::Stack(vec![
        View::Text(format!(
            "Paste this on the new host; it works once, and expires {}:",
            ago(token.expires_at, look.now)
        )),
        View::Text(format!("    {}", token.command)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    fn page() -> Page<HostView> {
        serde_json::from_str(include_str!("../../tests/answers/hosts.json")).unwrap()
    }

    #[test]
    fn hosts_as_a_table() {
        insta::assert_snapshot!(table(&page(), &fixed_look()).render(&fixed_look()));
    }

    #[test]
    fn hosts_as_a_table_on_a_narrow_terminal() {
        let look = Look { width: Some(80), ..fixed_look() };
        insta::assert_snapshot!(table(&page(), &look).render(&look));
    }

    #[test]
    fn one_host() {
        insta::assert_snapshot!(card(&page().items[0], &fixed_look()).render(&fixed_look()));
    }
}
