//! Why maintenance does what it does.

use restic_manager_core::api::{KindView, WhyView};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    #[test]
    fn each_kind_with_its_reason() {
        let why: WhyView = serde_json::from_str(include_str!("../../../tests/answers/why.json")).unwrap();
        insta::assert_snapshot!(screen(&why, &fixed_look()).render(&fixed_look()));
    }
}
