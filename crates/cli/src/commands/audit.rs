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
    /// Only what happened to the thing with this id
    #[arg(long, value_name = "ID")]
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
            .with("subject_id", self.subject.as_deref())
            .with("action", self.action.as_deref());
        session.ui.show_page(&self.listing.fetch(&session.client, route)?, table)
    }
}

fn table(page: &Page<AuditRow>, look: &Look) -> View {
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
    Grid::new(&["TIME", "WHO", "WHAT", "TO", "DETAILS"], "Nothing to show").rows(page.items.iter().map(row))
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
        insta::assert_snapshot!(table(&page, &fixed_look()).render(&fixed_look()));
    }
}
