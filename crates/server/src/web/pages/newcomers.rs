//! How a machine joins: by a token, or by announcing itself and being approved.

use askama::Template;
use askama::filters::HtmlSafe;
use http::StatusCode;
use restic_manager_core::announce::{Fingerprint, PendingState};
use restic_manager_core::api::{
    ApproveRepo, ApproveRequest, ApprovedView, EnrollmentTokenRequest, EnrollmentView, PendingHostView,
    Presence,
};
use restic_manager_core::id::{EnrollmentId, PendingHostId};
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::Timestamp;

use super::super::answer::Refusal;
use super::super::ask::Ask;
use super::super::table::Answer;
use super::connection::RepoChoice;
use super::fields::Fields;
use super::form::{self, Form};
use super::frame::{Frame, Tab, Visitor};
use super::parts::{Moment, Prose};
use super::table::{Route, act, look};
use super::{page, see_other, words};
use crate::app::ListQuery;

/// Seconds until a page that waits looks again.
const LOOK: u32 = 3;
/// Machines that are listed at a time.
const MACHINES: u32 = 500;

pub(super) fn routes() -> Vec<Route> {
    vec![
        look("/hosts/new", add),
        act("/hosts/new", make_token),
        look("/hosts/new/{id}", waiting),
        look("/hosts/new/{id}/state", waiting_part),
        look("/pending", pending),
        look("/pending/list", pending_part),
        look("/pending/{id}", compare),
        act("/pending/{id}/approve", approve),
        act("/pending/{id}/reject", reject),
    ]
}

#[derive(Template)]
#[template(path = "host_new.html")]
struct Add {
    frame: Frame,
    form: Form,
    made: Option<Made>,
    /// The command for a machine that announces itself.
    announce: String,
    pending: PendingList,
}

/// A token that was just made.
struct Made {
    command: String,
    good_until: Moment,
    waiting: Waiting,
}

/// What became of an enrolment token.
#[derive(Template)]
#[template(path = "host_waiting_part.html")]
struct Waiting {
    /// Where the next state is, while there is one to come.
    more: Option<String>,
    name: Option<String>,
    step: Step,
    good_until: Moment,
}

impl HtmlSafe for Waiting {}

enum Step {
    /// Nobody came with the token yet.
    Token,
    /// It was used; the agent was not seen yet.
    Enrolled { href: String },
    /// The agent is in contact.
    Online { href: String },
    /// Nobody came in time.
    Expired,
    /// It came, and its host is gone since.
    Gone,
}

impl Waiting {
    fn of(id: EnrollmentId, view: &EnrollmentView, now: Timestamp) -> Self {
        let host = view.host.as_ref();
        let href = |view: &restic_manager_core::api::HostView| format!("/hosts/{}", view.host.id);
        let step = match (host, view.used_at) {
            (Some(view), _) if view.presence == Presence::Online => Step::Online { href: href(view) },
            (Some(view), _) => Step::Enrolled { href: href(view) },
            (None, Some(_)) => Step::Gone,
            (None, None) if now >= view.expires_at => Step::Expired,
            (None, None) => Step::Token,
        };
        let more =
            matches!(step, Step::Token | Step::Enrolled { .. }).then(|| format!("/hosts/new/{id}/state"));
        let name = host.map(|view| view.host.name.to_string());
        let name = name.or_else(|| view.host_name.as_ref().map(ToString::to_string));
        Self { more, name, step, good_until: Moment::new(view.expires_at, now) }
    }
}

async fn add(visitor: Visitor, ask: Ask) -> Answer {
    show_add(visitor, &ask, Form::default(), None).await
}

async fn make_token(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let mut form = Form::typed(&fields);
    let name = fields.given("host_name").map(DisplayName::new).transpose();
    let Some(host_name) = form.take("host_name", name) else {
        return show_add(visitor, &ask, form, None).await;
    };
    let url = ask.state.settings.server_url(&ask.host, ask.client.https);
    let request = EnrollmentTokenRequest { host_name: host_name.clone() };
    let made = ask.state.app.create_enrollment_token(&visitor.caller, request, &url).await?;
    let now = visitor.frame.now;
    let view = EnrollmentView { host_name, expires_at: made.expires_at, used_at: None, host: None };
    let made = Made {
        command: made.command,
        good_until: Moment::exact(made.expires_at, now),
        waiting: Waiting::of(made.id, &view, now),
    };
    show_add(visitor, &ask, Form::default(), Some(made)).await
}

async fn show_add(visitor: Visitor, ask: &Ask, form: Form, made: Option<Made>) -> Answer {
    let url = ask.state.settings.server_url(&ask.host, ask.client.https);
    let pending = pending_list(ask, visitor.frame.now).await?;
    let status = if made.is_some() { StatusCode::CREATED } else { form.status() };
    let announce = format!("restic-manager-agent announce --server {url}");
    page(status, &Add { frame: visitor.frame.of(Tab::Fleet, "Add a host"), form, made, announce, pending })
}

#[derive(Template)]
#[template(path = "host_waiting.html")]
struct WaitingPage {
    frame: Frame,
    waiting: Waiting,
}

async fn waiting(visitor: Visitor, ask: Ask) -> Answer {
    let waiting = standing(&ask, visitor.frame.now).await?;
    let refresh = waiting.more.is_some().then_some(LOOK);
    let frame = Frame { refresh, ..visitor.frame.of(Tab::Fleet, "Waiting for the agent") };
    page(StatusCode::OK, &WaitingPage { frame, waiting })
}

async fn waiting_part(visitor: Visitor, ask: Ask) -> Answer {
    page(StatusCode::OK, &standing(&ask, visitor.frame.now).await?)
}

async fn standing(ask: &Ask, now: Timestamp) -> Result<Waiting, Refusal> {
    let id: EnrollmentId = ask.id("id", "enrolment token")?;
    Ok(Waiting::of(id, &ask.state.app.enrollment(id).await?, now))
}

/// Who waits to be approved.
#[derive(Template)]
#[template(path = "pending_part.html")]
struct PendingList {
    rows: Vec<PendingLine>,
}

impl HtmlSafe for PendingList {}

struct PendingLine {
    href: String,
    name: String,
    fingerprint: Fingerprint,
    address: String,
    machine: String,
    announced: Moment,
    expires: Moment,
    collides: Option<String>,
}

#[derive(Template)]
#[template(path = "pending.html")]
struct PendingPage {
    frame: Frame,
    announce: String,
    list: PendingList,
}

async fn pending(visitor: Visitor, ask: Ask) -> Answer {
    let url = ask.state.settings.server_url(&ask.host, ask.client.https);
    let list = pending_list(&ask, visitor.frame.now).await?;
    let frame = Frame { refresh: Some(10), ..visitor.frame.of(Tab::Fleet, "Waiting to be approved") };
    let announce = format!("restic-manager-agent announce --server {url}");
    page(StatusCode::OK, &PendingPage { frame, announce, list })
}

async fn pending_part(visitor: Visitor, ask: Ask) -> Answer {
    page(StatusCode::OK, &pending_list(&ask, visitor.frame.now).await?)
}

async fn pending_list(ask: &Ask, now: Timestamp) -> Result<PendingList, Refusal> {
    let whole = ListQuery { limit: Some(MACHINES), cursor: None };
    let listed = ask.state.app.pending_hosts(&whole).await?;
    Ok(PendingList { rows: listed.items.iter().map(|view| pending_line(view, now)).collect() })
}

fn pending_line(view: &PendingHostView, now: Timestamp) -> PendingLine {
    PendingLine {
        href: format!("/pending/{}", view.id),
        name: view.name.to_string(),
        fingerprint: view.fingerprint,
        address: view.address.clone(),
        machine: machine(view),
        announced: Moment::new(view.announced_at, now),
        expires: Moment::new(view.expires_at, now),
        collides: collision(view),
    }
}

fn machine(view: &PendingHostView) -> String {
    let parts = [view.os.as_deref(), view.arch.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// What is to be said when it is not the only one of its name.
fn collision(view: &PendingHostView) -> Option<String> {
    match (view.name_taken_by, view.namesakes) {
        (Some(_), _) => Some("a host has this name".to_owned()),
        (None, 0) => None,
        (None, others) => Some(format!("{} with this name", words::count(u64::from(others) + 1, "machine"))),
    }
}

#[derive(Template)]
#[template(path = "pending_host.html")]
struct Compare {
    frame: Frame,
    form: Form,
    id: String,
    name: String,
    fingerprint: Fingerprint,
    facts: Vec<(&'static str, String)>,
    announced: Moment,
    expires: Moment,
    state: PendingState,
    taken_by: Option<String>,
    namesakes: Option<String>,
    host: Option<String>,
    repos: RepoChoice,
}

async fn compare(visitor: Visitor, ask: Ask) -> Answer {
    let id: PendingHostId = ask.id("id", "pending host")?;
    let view = ask.state.app.pending_host(id).await?;
    let form = Form::with([("name", view.name.to_string()), ("repo", "later".to_owned())]);
    show_compare(visitor, &ask, view, form).await
}

async fn show_compare(visitor: Visitor, ask: &Ask, view: PendingHostView, form: Form) -> Answer {
    let now = visitor.frame.now;
    let repos = RepoChoice::of(&ask.state.app, form.value("repo")).await?;
    let unknown = |fact: &Option<String>| fact.clone().unwrap_or_else(|| "not said".to_owned());
    let others = u64::from(view.namesakes);
    page(
        form.status(),
        &Compare {
            repos,
            id: view.id.to_string(),
            name: view.name.to_string(),
            fingerprint: view.fingerprint,
            facts: vec![
                ("Came from", view.address.clone()),
                ("System", machine(&view)),
                ("Agent", unknown(&view.agent_version)),
            ],
            announced: Moment::new(view.announced_at, now),
            expires: Moment::new(view.expires_at, now),
            state: view.state,
            taken_by: view.name_taken_by.map(|id| format!("/hosts/{id}")),
            namesakes: (others > 0).then(|| words::count(others, "other machine")),
            host: view.host_id.map(|id| format!("/hosts/{id}")),
            frame: visitor.frame.of(Tab::Fleet, format!("Approve {}", view.name)),
            form,
        },
    )
}

async fn approve(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let id: PendingHostId = ask.id("id", "pending host")?;
    let mut form = Form::typed(&fields);
    let Some(request) = approval(&fields, &mut form) else {
        let view = ask.state.app.pending_host(id).await?;
        return show_compare(visitor, &ask, view, form).await;
    };
    match ask.state.app.approve_host(&visitor.caller, id, request).await {
        Ok(ApprovedView { host, attachment_error: None, .. }) => {
            Ok(see_other(&format!("/hosts/{}", host.host.id)))
        }
        // The host is there; its own page of the repository is where the rest is mended.
        Ok(ApprovedView { host, attachment_error: Some(_), .. }) => {
            Ok(see_other(&format!("/hosts/{}/repo", host.host.id)))
        }
        Err(error) => {
            let places = [("name_taken", "name"), ("fingerprint_differs", "compared")];
            let form = form.refuse(error, &places)?;
            let view = ask.state.app.pending_host(id).await?;
            show_compare(visitor, &ask, view, form).await
        }
    }
}

/// What the form approves; what is wrong with it is noted.
fn approval(fields: &Fields, form: &mut Form) -> Option<ApproveRequest> {
    let fingerprint = form.take("compared", fields.text("fingerprint").parse::<Fingerprint>());
    if fields.text("compared") != "yes" {
        form.set_wrong("compared", "compare the two, then tick this");
    }
    let name = form.take("name", fields.given("name").map(DisplayName::new).transpose());
    let chosen = fields.text("repo");
    let repo = match chosen {
        "" | "later" if !form::has_credential(fields) => Some(None),
        "" | "later" => {
            form.set_wrong("repo", "choose the repository that the address and the password below belong to");
            None
        }
        "new" => {
            let repo_name =
                form.take("repo_name", fields.given("repo_name").map(DisplayName::new).transpose());
            let credential = form::credential(fields, form);
            credential
                .zip(repo_name)
                .map(|(credential, repo_name)| Some(ApproveRepo { repo_id: None, repo_name, credential }))
        }
        id => {
            let repo_id = form.take("repo", id.parse());
            let credential = form::credential(fields, form);
            credential.zip(repo_id).map(|(credential, repo_id)| {
                Some(ApproveRepo { repo_id: Some(repo_id), repo_name: None, credential })
            })
        }
    };
    if form.is_wrong() {
        return None;
    }
    Some(ApproveRequest { fingerprint: fingerprint?, name: name?, repo: repo? })
}

async fn reject(visitor: Visitor, _: Fields, ask: Ask) -> Answer {
    let id: PendingHostId = ask.id("id", "pending host")?;
    ask.state.app.reject_host(&visitor.caller, id).await?;
    Ok(see_other("/pending"))
}

impl Compare {
    /// Why the machine is not to be taken at its word.
    fn warning(&self) -> Option<Prose> {
        let others = self.namesakes.as_ref()?;
        let text = format!(
            "{others} announced the same name with another key. Only one of them is the machine you mean."
        );
        Some(Prose::sentence(&text))
    }
}
