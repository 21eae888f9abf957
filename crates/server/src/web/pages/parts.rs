//! Small pieces of pages. Each is a template of its own, so that whatever text it holds is escaped.

use askama::Template;
use askama::filters::HtmlSafe;
use restic_manager_core::api::{JobView, Presence};
use restic_manager_core::model::{CheckStatus, JobState};
use restic_manager_core::schedule::Zone;
use restic_manager_core::time::Timestamp;

use super::words;

/// Good, bad, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Ok,
    Warn,
    Bad,
    Live,
    Off,
}

impl Tone {
    /// The class in the style sheet.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Live => "live",
            Self::Off => "off",
        }
    }

    /// How a job stands.
    pub(super) const fn of_job(state: JobState) -> Self {
        match state {
            JobState::Succeeded => Self::Ok,
            JobState::Warning => Self::Warn,
            JobState::Failed | JobState::Lost => Self::Bad,
            JobState::Running | JobState::Dispatched => Self::Live,
            JobState::Queued | JobState::Cancelled | JobState::Superseded | JobState::Withdrawn => Self::Off,
        }
    }
}

/// An instant: roughly to read, exactly to point at. Or the word for there being none.
#[derive(Debug, Template)]
#[template(
    ext = "html",
    source = r#"{% if let Some(stamp) = stamp %}<time datetime="{{ stamp.0 }}" title="{{ stamp.1 }}"{% if ticks %} data-rel{% endif %}>{{ text }}</time>{% else %}<span class="dim">{{ text }}</span>{% endif %}"#
)]
pub(super) struct Moment {
    stamp: Option<(String, String)>,
    text: String,
    /// Whether a script may keep the text true.
    ticks: bool,
}

impl HtmlSafe for Moment {}

impl Moment {
    /// How long ago, or in how long.
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { stamp: Some((at.to_string(), words::exact(at))), text: words::ago(at, now), ticks: true }
    }

    /// The same, or a word for there being none.
    pub(super) fn or(at: Option<Timestamp>, now: Timestamp, none: &str) -> Self {
        match at {
            Some(at) => Self::new(at, now),
            None => Self { stamp: None, text: none.to_owned(), ticks: false },
        }
    }

    /// The date and the time.
    pub(super) fn exact(at: Timestamp, now: Timestamp) -> Self {
        Self { stamp: Some((at.to_string(), words::ago(at, now))), text: words::exact(at), ticks: false }
    }

    /// The time of day in UTC.
    pub(super) fn clock(at: Timestamp) -> Self {
        let exact = words::exact(at);
        let text = exact.get(11..19).unwrap_or(&exact).to_owned();
        Self { stamp: Some((at.to_string(), exact)), text, ticks: false }
    }

    /// A slot in the zone of its schedule.
    pub(super) fn slot(at: Timestamp, zone: &Zone) -> Self {
        Self { stamp: Some((at.to_string(), words::exact(at))), text: words::slot(at, zone), ticks: false }
    }
}

/// A word that is good or bad.
#[derive(Debug, Template)]
#[template(
    ext = "html",
    source = r#"<span class="mark {{ tone.as_str() }}{% if boxed %} boxed{% endif %}{% if moving %} moving{% endif %}">{{ text }}</span>"#
)]
pub(super) struct Mark {
    tone: Tone,
    text: String,
    boxed: bool,
    moving: bool,
}

impl HtmlSafe for Mark {}

impl Mark {
    /// A word.
    pub(super) fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { tone, text: text.into(), boxed: false, moving: false }
    }

    /// The state of a job.
    pub(super) fn job(state: JobState) -> Self {
        let moving = state == JobState::Running;
        Self { moving, ..Self::new(Tone::of_job(state), words::state(state)) }
    }

    /// Whether a host is in contact.
    pub(super) fn presence(presence: Presence) -> Self {
        match presence {
            Presence::Online => Self::new(Tone::Ok, "online"),
            Presence::Offline => Self::new(Tone::Bad, "offline"),
            Presence::NeverSeen => Self::new(Tone::Warn, "never seen"),
        }
    }

    /// What a check found.
    pub(super) fn check(status: CheckStatus) -> Self {
        match status {
            CheckStatus::Ok => Self::new(Tone::Ok, "no errors"),
            CheckStatus::ErrorsFound => Self::new(Tone::Bad, "errors found"),
            CheckStatus::Locked => Self::new(Tone::Warn, "could not look: locked"),
            CheckStatus::Failed => Self::new(Tone::Warn, "could not look"),
        }
    }

    /// The same in a box, for a headline.
    pub(super) fn boxed(self) -> Self {
        Self { boxed: true, ..self }
    }
}

/// A sentence of ours, in which names and commands stand between backticks. Instants in it are shown as people say them.
#[derive(Debug, Template)]
#[template(
    ext = "html",
    source = r#"{% for piece in pieces %}{% match piece %}{% when Piece::Text with (text) %}{{ text }}{% when Piece::Code with (text) %}<code>{{ text }}</code>{% when Piece::At with (moment) %}{{ moment }}{% endmatch %}{% endfor %}"#
)]
pub(super) struct Prose {
    pieces: Vec<Piece>,
}

impl HtmlSafe for Prose {}

/// A piece of a sentence.
#[derive(Debug)]
enum Piece {
    Text(String),
    Code(String),
    At(Moment),
}

impl Prose {
    /// The sentence as it is.
    pub(super) fn new(text: &str) -> Self {
        Self::in_zone(text, &Zone::UTC)
    }

    /// The sentence with its instants in a zone.
    pub(super) fn in_zone(text: &str, zone: &Zone) -> Self {
        let mut pieces = Vec::new();
        // An odd backtick is one of its own.
        if text.matches('`').count().is_multiple_of(2) {
            for (at, piece) in text.split('`').enumerate().filter(|(_, piece)| !piece.is_empty()) {
                match at % 2 {
                    1 => pieces.push(Piece::Code(piece.to_owned())),
                    _ => push_words(&mut pieces, piece, zone),
                }
            }
        } else {
            push_words(&mut pieces, text, zone);
        }
        Self { pieces }
    }

    /// The sentence with a capital at its begin.
    pub(super) fn sentence(text: &str) -> Self {
        Self::new(&words::capitalised(text))
    }
}

/// Takes a text apart into what is an instant and what is not.
fn push_words(pieces: &mut Vec<Piece>, text: &str, zone: &Zone) {
    let mut plain = String::new();
    for word in text.split_inclusive(' ') {
        let bare = word.trim_end_matches([' ', ',', ';', ':', '.', ')']);
        let instant = Some(bare).filter(|bare| bare.len() >= 20 && bare.ends_with('Z'));
        match instant.and_then(|bare| bare.parse().ok()) {
            Some(at) => {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::At(Moment::slot(at, zone)));
                plain.push_str(&word[bare.len()..]);
            }
            None => plain.push_str(word),
        }
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
}

/// The way to the further pages of a list.
#[derive(Debug, Template)]
#[template(
    ext = "html",
    source = r#"{% if first.is_some() || next.is_some() %}<nav class="pager" aria-label="Pages of this list">{% if let Some(path) = first %}<a href="{{ path }}">First page</a>{% endif %}{% if let Some(path) = next %}<a href="{{ path }}" rel="next">Next page</a>{% endif %}</nav>{% endif %}"#
)]
pub(super) struct Pager {
    /// Where the list begins, when this is not its begin.
    pub(super) first: Option<String>,
    /// Where it goes on.
    pub(super) next: Option<String>,
}

impl HtmlSafe for Pager {}

/// A job in a list.
pub(super) struct JobLine {
    pub(super) id: String,
    pub(super) href: String,
    pub(super) state: Mark,
    pub(super) kind: &'static str,
    pub(super) group: Option<String>,
    pub(super) host: String,
    pub(super) host_href: String,
    pub(super) repo: String,
    pub(super) repo_href: String,
    pub(super) actor: String,
    pub(super) when: Moment,
    pub(super) took: Option<String>,
    /// Whether it is over, so that `took` is all of it.
    pub(super) over: bool,
    pub(super) note: Option<Prose>,
}

impl JobLine {
    /// The line of a job.
    pub(super) fn new(view: &JobView, now: Timestamp) -> Self {
        let job = &view.job;
        let attempt = if job.attempt > 1 { format!(", attempt {}", job.attempt) } else { String::new() };
        Self {
            id: job.id.to_string(),
            href: format!("/jobs/{}", job.id),
            state: Mark::job(job.state),
            kind: words::kind(job.kind),
            group: view.group_name.clone(),
            host: view.host_name.clone(),
            host_href: format!("/hosts/{}", job.host_id),
            repo: view.repo_name.clone(),
            repo_href: format!("/repos/{}", job.repo_id),
            actor: format!("{}{attempt}", words::actor(&job.actor)),
            when: Moment::new(job.finished_at.or(job.started_at).unwrap_or(job.created_at), now),
            took: took(view, now),
            over: job.state.is_final(),
            note: note(view),
        }
    }
}

/// How long it ran, or how long it has been running.
pub(super) fn took(view: &JobView, now: Timestamp) -> Option<String> {
    let started = view.job.started_at?;
    let until = view.job.finished_at.unwrap_or(now);
    Some(words::took(until.millis_since(started)))
}

/// What there is to say of a job that does not simply succeed.
fn note(view: &JobView) -> Option<Prose> {
    match view.job.state {
        JobState::Succeeded => None,
        JobState::Queued => view.hold_sentence.as_deref().map(Prose::new),
        JobState::Running => view.progress.as_ref().map(|progress| {
            Prose::new(&format!("{:.0} %, {} read", progress.percent, words::size(progress.bytes_done)))
        }),
        JobState::Dispatched
        | JobState::Warning
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Lost
        | JobState::Superseded
        | JobState::Withdrawn => view.job.message.as_deref().map(Prose::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_between_backticks_are_code_and_harmless() {
        let shown = |text: &str| Prose::new(text).to_string();
        assert_eq!(shown("host `<b>` is `x`"), "host <code>&#60;b&#62;</code> is <code>x</code>");
        assert_eq!(shown("an odd ` stays"), "an odd ` stays");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn an_instant_in_a_sentence_is_said_in_its_zone_and_carries_its_exact_time() {
        let shown = |text: &str| Prose::in_zone(text, &"Europe/Berlin".parse().unwrap()).to_string();
        let time = r#"<time datetime="2026-11-19T03:24:29.201Z" title="2026-11-19 03:24:29 UTC">Thu 19 Nov 04:24 CET</time>"#;
        assert_eq!(
            shown("prune is due since 2026-11-19T03:24:29.201Z, but held"),
            format!("prune is due since {time}, but held")
        );
        assert_eq!(shown("starts at 2026-11-19T03:24:29.201Z"), format!("starts at {time}"));
        assert_eq!(shown("`2026-11-19T03:24:29.201Z`"), "<code>2026-11-19T03:24:29.201Z</code>");
        assert_eq!(shown("2026-11-19T03:24:29 is none"), "2026-11-19T03:24:29 is none");
    }

    #[test]
    fn an_instant_carries_its_exact_time() {
        let now = Timestamp::from_millis(1_795_000_000_000);
        let shown = Moment::new(now - 180_000, now).to_string();
        assert_eq!(
            shown,
            r#"<time datetime="2026-11-18T11:03:40Z" title="2026-11-18 11:03:40 UTC" data-rel>3 min ago</time>"#
        );
        assert_eq!(Moment::or(None, now, "never").to_string(), r#"<span class="dim">never</span>"#);
    }

    #[test]
    fn a_word_is_escaped() {
        let mark = Mark::new(Tone::Bad, "<i>").boxed();
        assert_eq!(mark.to_string(), r#"<span class="mark bad boxed">&#60;i&#62;</span>"#);
    }
}
