//! Who did what.

use clap::Args;
use restic_manager_core::api::Page;
use restic_manager_core::model::AuditRow;
use serde_json::Value;

use super::{Listing, Session};
use crate::error::CliError;
use crate::route::Route;
use crate::ui::{Cell, Grid, Look, View, instant};

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Only what happened to this host or repository, or to anything else by its id
    #[arg(long, value_name = "NAME|ID")]
    subject: Option<String>,
    /// Only this, such as `host.deleted`
    #[arg(long, value_name = "NOUN.VERB")]
    action: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

impl Audit {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let route = Route::new(["audit"])
            .with(
                "subject_id",
                self.subject.as_ref().map(|wanted| session.client.subject_id(wanted)).transpose()?,
            )
            .with("action", self.action.as_deref());
        let page = self.listing.fetch(&session.client, route)?;
        session.ui.show_page(&page, |page, look| table(page, self.nothing(), look))
    }

    /// What is said when there is nothing: which filters let nothing through.
    fn nothing(&self) -> String {
        let subject = self.subject.as_ref().map(|subject| format!("--subject {subject}"));
        let action = self.action.as_ref().map(|action| format!("--action {action}"));
        let filters: Vec<String> = subject.into_iter().chain(action).collect();
        if filters.is_empty() {
            return "Nothing to show".to_owned();
        }
        format!("Nothing to show: no entry matches {}", filters.join(" and "))
    }
}

fn table(page: &Page<AuditRow>, empty: String, look: &Look) -> View {
    let row = |entry: &AuditRow| {
        let actor = if entry.actor.is_empty() { entry.actor_kind.as_str() } else { &entry.actor };
        vec![
            Cell::from(instant(entry.at, &look.zone)),
            Cell::from(actor),
            Cell::from(&entry.action),
            Cell::from(format!("{} {}", entry.subject_kind, entry.subject_id)),
            Cell::from(facts(&entry.detail)),
        ]
    };
    Grid::new(&["TIME", "WHO", "WHAT", "TO", "DETAILS"], empty).rows(page.items.iter().map(row))
}

fn facts(detail: &serde_json::Map<String, Value>) -> String {
    let fact = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name}={text}"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            format!("{name}={value}")
        }
    };
    detail.iter().map(fact).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    #[test]
    fn the_audit_log_as_a_table() {
        let page: Page<AuditRow> =
            serde_json::from_str(include_str!("../../tests/answers/audit.json")).unwrap();
        insta::assert_snapshot!(table(&page, String::new(), &fixed_look()).render(&fixed_look()));
    }
}
