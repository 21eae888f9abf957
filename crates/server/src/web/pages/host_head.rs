//! What stands above every page of a host: its name, whether it is in contact, and the way to its other pages.

use super::parts::Mark;
use crate::app::HostSeen;
use askama::Template;
use askama::filters::HtmlSafe;

/// A page of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostTab {
    Overview,
    Sources,
    Schedules,
    Repo,
    Snapshots,
    Jobs,
    Settings,
}

/// The head of a page of a host.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<div class="head"><div><p class="crumb"><a href="/">Fleet</a></p><div class="title"><h1>{{ name }}</h1>{{ presence }}</div>{{ tabs }}</div></div>"#
)]
pub(super) struct HostHead {
    name: String,
    presence: Mark,
    tabs: HostTabs,
}

impl HtmlSafe for HostHead {}

/// The way to the pages of a host.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<nav class="tabs" aria-label="Pages of {{ name }}"><ul>{% for (path, word, here) in self.tabs() %}<li><a href="{{ path }}"{% if here %} aria-current="page"{% endif %}>{{ word }}</a></li>{% endfor %}</ul></nav>"#
)]
pub(super) struct HostTabs {
    id: String,
    name: String,
    here: HostTab,
}

impl HtmlSafe for HostTabs {}

impl HostHead {
    /// The head above this page.
    pub(super) fn new(seen: &HostSeen, here: HostTab) -> Self {
        Self {
            name: seen.host.name.to_string(),
            presence: Mark::presence(seen.presence).boxed(),
            tabs: HostTabs::new(seen, here),
        }
    }
}

impl HostTabs {
    /// The way from this page to the others.
    pub(super) fn new(seen: &HostSeen, here: HostTab) -> Self {
        Self { id: seen.host.id.to_string(), name: seen.host.name.to_string(), here }
    }

    fn tabs(&self) -> [(String, &'static str, bool); 7] {
        let tab = |rest: &str, word, tab| (format!("/hosts/{}{rest}", self.id), word, self.here == tab);
        [
            tab("", "Overview", HostTab::Overview),
            tab("/snapshots", "Snapshots", HostTab::Snapshots),
            tab("/sources", "Sources", HostTab::Sources),
            tab("/schedules", "Schedules", HostTab::Schedules),
            tab("/repo", "Repository", HostTab::Repo),
            tab("/jobs", "Jobs", HostTab::Jobs),
            tab("/settings", "Settings", HostTab::Settings),
        ]
    }
}
