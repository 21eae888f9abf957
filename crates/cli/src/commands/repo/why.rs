//! Why maintenance does what it does.

use restic_manager_core::api::{KindView, WhyView};
use restic_manager_core::maintenance::MaintenanceKind;
use restic_manager_core::model::{CheckStatus, Hold};

use crate::ui::{Cell, Grid, Look, Tone, View, ago, capitalised};

/// Forget, prune and check: when each ran last, when it runs next, and what holds it.
pub(crate) fn screen(why: &WhyView, look: &Look) -> View {
    let runner = match &why.runner {
        Some(host) => Cell::from(host.as_str()),
        None => Cell::new("nobody", Tone::Bad),
    };
    let row = |view: &KindView| {
        let (next, tone) = match (&view.hold, view.next_at) {
            (Some(_), _) => (Cell::new("held", Tone::Warning), Tone::Warning),
            (None, at) => (Cell::or_none(at.map(|at| ago(at, look.now))), Tone::Plain),
        };
        vec![
            Cell::from(view.kind.as_str()),
            Cell::or_none(view.last_at.map(|at| ago(at, look.now))),
            next,
            Cell::new(capitalised(&view.sentence), tone),
        ]
    };
    let kinds = Grid::new(&["KIND", "LAST", "NEXT", "WHY"], "Nothing is known of its maintenance");
    View::Stack(vec![View::Card(vec![("Done by", runner)]), kinds.rows(why.kinds.iter().map(row))])
}

/// Whether the errors of a check hold prune. One hold is told of each kind: where another comes before that of a check,
/// the last check decides.
pub(crate) fn may_be_held_by_check(why: &WhyView, last_check: Option<CheckStatus>) -> bool {
    let prune = why.kinds.iter().find(|view| view.kind == MaintenanceKind::Prune);
    match prune.and_then(|view| view.hold.as_ref()) {
        Some(Hold::CheckErrors) => true,
        Some(
            Hold::NoRunner
            | Hold::HostOffline
            | Hold::ResticMissing
            | Hold::ClockSuspect
            | Hold::AdminCredsRequired,
        ) => last_check == Some(CheckStatus::ErrorsFound),
        Some(
            Hold::HostBusy { .. }
            | Hold::RepoBusy { .. }
            | Hold::Draining { .. }
            | Hold::OutOfContact { .. }
            | Hold::ForeignLock
            | Hold::BreakerOpen
            | Hold::WaitingRetry { .. },
        )
        | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    #[test]
    fn each_kind_with_its_reason() {
        let why: WhyView = serde_json::from_str(include_str!("../../../tests/answers/why.json")).unwrap();
        insta::assert_snapshot!(screen(&why, &fixed_look()).render(&fixed_look()));
    }

    #[test]
    fn a_hold_that_hides_that_of_a_check_leaves_the_last_check_to_decide() {
        let mut why: WhyView = serde_json::from_str(include_str!("../../../tests/answers/why.json")).unwrap();
        let mut held = |hold: Option<Hold>, last_check| {
            why.kinds[1].hold = hold;
            may_be_held_by_check(&why, last_check)
        };
        assert!(held(Some(Hold::CheckErrors), Some(CheckStatus::Ok)));
        assert!(held(Some(Hold::HostOffline), Some(CheckStatus::ErrorsFound)));
        assert!(!held(Some(Hold::HostOffline), Some(CheckStatus::Ok)));
        assert!(!held(Some(Hold::AdminCredsRequired), None));
        assert!(!held(None, Some(CheckStatus::ErrorsFound)), "it was overridden");
        assert!(!held(Some(Hold::ForeignLock), Some(CheckStatus::ErrorsFound)));
    }
}
