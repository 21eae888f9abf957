//! The maintenance of a repository: what is done when, why it waits, and doing it now.

use askama::Template;
use askama::filters::HtmlSafe;
use http::StatusCode;
use restic_manager_core::api::{AdminCredentialView, KindView, Presence, UnlockRequest};
use restic_manager_core::id::{HostId, RepoId};
use restic_manager_core::maintenance::{
    CadenceSetting, MaintenanceKind, MaintenancePolicy, MaintenanceSettings,
};
use restic_manager_core::model::Hold;
use restic_manager_core::schedule::{CronExpr, Zone};
use restic_manager_core::time::Timestamp;

use super::super::answer::Refusal;
use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::Fields;
use super::form::Form;
use super::frame::{Frame, Tab, Visitor};
use super::parts::{Moment, Prose};
use super::repos::{OVERRIDE_NAME, UNLOCK_NAME};
use super::table::{Route, act, look};
use super::{cadence, page, see_other, words};
use crate::app::{AppError, MaintenanceAsk, RepoOverview};

pub(super) fn routes() -> Vec<Route> {
    vec![
        act("/repos/{id}/run/{kind}", run),
        act("/repos/{id}/unlock", unlock),
        act("/repos/{id}/override-check", override_check),
        look("/repos/{id}/maintenance", settings),
        act("/repos/{id}/maintenance", save),
    ]
}

/// The maintenance of a repository, as part of a page.
#[derive(Template)]
#[template(path = "upkeep.html")]
pub(super) struct Upkeep {
    id: String,
    csrf: String,
    runner: Option<(String, String)>,
    runner_id: Option<HostId>,
    rows: Vec<Row>,
    subset: u8,
    /// Whether the errors of a check hold prune back.
    check_errors: bool,
    /// The name that was typed to lift that hold.
    confirm: Form,
}

impl HtmlSafe for Upkeep {}

struct Row {
    kind: MaintenanceKind,
    name: &'static str,
    cadence: String,
    enabled: bool,
    last: Moment,
    next: Option<Moment>,
    held: bool,
    sentence: Prose,
    /// Why it cannot be asked for now.
    blocked: Option<&'static str>,
}

impl Upkeep {
    /// How the maintenance of a repository stands.
    pub(super) fn of(overview: &RepoOverview, frame: &Frame) -> Self {
        let RepoOverview { repo, settings, why, check_errors, runner, .. } = overview;
        let blocked = |kind| match runner {
            None => Some(Hold::NoRunner.sentence()),
            Some(runner) if runner.seen.presence != Presence::Online => Some(Hold::HostOffline.sentence()),
            Some(runner) => match kind {
                MaintenanceKind::Prune if runner.admin.is_none() => Some(Hold::AdminCredsRequired.sentence()),
                MaintenanceKind::Forget if runner.append_only && runner.admin.is_none() => {
                    Some(Hold::AdminCredsRequired.sentence())
                }
                MaintenanceKind::Prune if *check_errors => Some(Hold::CheckErrors.sentence()),
                MaintenanceKind::Prune | MaintenanceKind::Forget | MaintenanceKind::Check => None,
            },
        };
        let row = |view: &KindView| row(view, &settings.policy, frame.now, &blocked);
        let host = runner.as_ref().map(|runner| &runner.seen.host);
        Self {
            id: repo.id.to_string(),
            csrf: frame.csrf().to_owned(),
            rows: why.kinds.iter().map(row).collect(),
            runner: host.map(|host| (host.name.to_string(), format!("/hosts/{}", host.id))),
            runner_id: host.map(|host| host.id),
            subset: settings.policy.check_subset_pct,
            check_errors: *check_errors,
            confirm: Form::default(),
        }
    }

    /// The same with the name that was typed to lift a hold.
    pub(super) fn confirming(self, confirm: Form) -> Self {
        Self { confirm, ..self }
    }

    /// Whether this is the host that does it.
    pub(super) fn is_run_by(&self, host: HostId) -> bool {
        self.runner_id == Some(host)
    }
}

fn row(
    view: &KindView,
    policy: &MaintenancePolicy,
    now: Timestamp,
    blocked: &dyn Fn(MaintenanceKind) -> Option<&'static str>,
) -> Row {
    let setting = policy.setting(view.kind);
    Row {
        name: words::kind(view.kind.job_kind()),
        cadence: cadence::in_words(&setting.cron),
        enabled: setting.enabled,
        last: Moment::or(view.last_at, now, "never"),
        next: view.next_at.map(|at| Moment::slot(at, &policy.timezone)),
        held: view.hold.is_some(),
        sentence: Prose::in_zone(&words::capitalised(&view.sentence), &policy.timezone),
        blocked: blocked(view.kind),
        kind: view.kind,
    }
}

/// Asks for maintenance now, and leads to its job; a refusal is told on the repository's page.
async fn run(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    let asked = match ask.param("kind") {
        "forget" => MaintenanceAsk::Forget,
        "prune" => MaintenanceAsk::Prune,
        "check" => {
            let subset_pct = fields.given("subset_pct").map(str::parse::<u8>).transpose();
            let Some(subset_pct) = subset_pct.ok().filter(|pct| pct.is_none_or(|pct| pct <= 100)) else {
                let error = AppError::invalid("subset_pct", "give a whole number of percent, 0 to 100");
                return super::repos::refuse(visitor, &ask, id, error).await;
            };
            MaintenanceAsk::Check { subset_pct }
        }
        other => return Err(AppError::not_found("kind of maintenance", format!("`{other}`")).into()),
    };
    match ask.state.app.ask_maintenance(&visitor.caller, id, asked).await {
        Ok(accepted) => Ok(see_other(&format!("/jobs/{}", accepted.job_id))),
        Err(error) => super::repos::refuse(visitor, &ask, id, error).await,
    }
}

/// Removes stale locks, or every lock once the name was typed.
async fn unlock(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    let remove_all = match fields.text("scope") {
        "all" => Some(fields.text("name").to_owned()),
        _ => None,
    };
    if let Some(typed) = &remove_all {
        let name = ask.state.app.repo(id).await?.repo.name;
        if typed.as_str() != name.as_str() {
            return super::repos::refuse_name(visitor, &ask, id, UNLOCK_NAME, typed).await;
        }
    }
    match ask.state.app.ask_unlock(&visitor.caller, id, None, UnlockRequest { remove_all }).await {
        Ok(accepted) => Ok(see_other(&format!("/jobs/{}", accepted.job_id))),
        Err(error) => super::repos::refuse(visitor, &ask, id, error).await,
    }
}

/// Lets prune go on although a check found errors, once the name was typed.
async fn override_check(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    let name = ask.state.app.repo(id).await?.repo.name;
    if fields.text("name") != name.as_str() {
        return super::repos::refuse_name(visitor, &ask, id, OVERRIDE_NAME, fields.text("name")).await;
    }
    ask.state.app.override_check(&visitor.caller, id).await?;
    Ok(see_other(&format!("/repos/{id}#maintenance")))
}

#[derive(Template)]
#[template(path = "maintenance.html")]
struct SettingsPage {
    frame: Frame,
    id: String,
    name: String,
    form: Form,
    /// Per kind: name, words, and the next slots of the cadence that is stored.
    kinds: Vec<(MaintenanceKind, &'static str, Vec<Moment>)>,
    presets: [(&'static str, &'static str); 6],
    admin: Option<AdminCredentialView>,
}

async fn settings(visitor: Visitor, ask: Ask) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    let overview = ask.state.app.repo_overview(id).await?;
    let form = of_settings(&overview.settings);
    show(visitor, &overview, form, Some(&overview.settings))
}

async fn save(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    let mut form = Form::typed(&fields);
    let written = written(&fields, &mut form);
    // What was chosen is what is written from here on.
    for (cron, preset) in
        [("forget_cron", "forget_preset"), ("prune_cron", "prune_preset"), ("check_cron", "check_preset")]
    {
        if let Some(chosen) = fields.given(preset) {
            form.set(cron, chosen);
        }
    }
    let Some(written) = written.filter(|_| fields.text("do") != "look") else {
        let written = self::written(&fields, &mut Form::default());
        let overview = ask.state.app.repo_overview(id).await?;
        return show(visitor, &overview, form, written.as_ref());
    };
    match ask.state.app.put_maintenance(&visitor.caller, id, written).await {
        Ok(_) => Ok(see_other(&format!("/repos/{id}#maintenance"))),
        Err(error) => {
            let places = MaintenanceKind::ALL.map(|kind| match kind {
                MaintenanceKind::Forget => ("policy.forget.cron", "forget_cron"),
                MaintenanceKind::Prune => ("policy.prune.cron", "prune_cron"),
                MaintenanceKind::Check => ("policy.check.cron", "check_cron"),
            });
            let overview = ask.state.app.repo_overview(id).await?;
            show(visitor, &overview, form.refuse(error, &places)?, None)
        }
    }
}

fn show(
    visitor: Visitor,
    overview: &RepoOverview,
    form: Form,
    settings: Option<&MaintenanceSettings>,
) -> Answer {
    let (id, name) = (overview.repo.id.to_string(), overview.repo.name.to_string());
    let now = visitor.frame.now;
    let slots = |kind| {
        let policy = &settings?.policy;
        let at = policy.cadence(kind).upcoming(3, now);
        Some(at.into_iter().map(|at| Moment::slot(at, &policy.timezone)).collect())
    };
    let kinds = MaintenanceKind::ALL
        .map(|kind| (kind, words::kind(kind.job_kind()), slots(kind).unwrap_or_default()))
        .into();
    let status = form.status();
    let frame = visitor.frame.of(Tab::Repos, format!("Maintenance of {name}"));
    let admin = overview.runner.as_ref().and_then(|runner| runner.admin.clone());
    page(status, &SettingsPage { frame, id, name, form, kinds, presets: cadence::PRESETS, admin })
}

fn of_settings(settings: &MaintenanceSettings) -> Form {
    let policy = &settings.policy;
    let yes = |on: bool| if on { "yes".to_owned() } else { String::new() };
    Form::with([
        ("forget_on", yes(policy.forget.enabled)),
        ("forget_cron", policy.forget.cron.to_string()),
        ("prune_on", yes(policy.prune.enabled)),
        ("prune_cron", policy.prune.cron.to_string()),
        ("check_on", yes(policy.check.enabled)),
        ("check_cron", policy.check.cron.to_string()),
        ("timezone", policy.timezone.to_string()),
        ("check_subset_pct", policy.check_subset_pct.to_string()),
        ("spread_minutes", policy.spread_minutes.to_string()),
        ("auto_unlock", yes(settings.auto_unlock)),
        (
            "keep_admin_credential",
            match settings.keep_admin_credential {
                None => "auto",
                Some(true) => "yes",
                Some(false) => "no",
            }
            .to_owned(),
        ),
    ])
}

/// The settings that a form holds; what is wrong with it is noted.
fn written(fields: &Fields, form: &mut Form) -> Option<MaintenanceSettings> {
    let mut setting = |on: &str, cron: &str, preset: &str| {
        let text = fields.given(preset).unwrap_or_else(|| fields.text(cron));
        let cron = form.take(cron, text.parse::<CronExpr>())?;
        Some(CadenceSetting { enabled: fields.text(on) == "yes", cron })
    };
    let forget = setting("forget_on", "forget_cron", "forget_preset");
    let prune = setting("prune_on", "prune_cron", "prune_preset");
    let check = setting("check_on", "check_cron", "check_preset");
    let timezone = form.take("timezone", fields.text("timezone").parse::<Zone>());
    let number = |name: &str, most: u16| {
        let number = fields.text(name).parse::<u16>().ok().filter(|number| *number <= most);
        number.ok_or_else(|| format!("give a whole number from 0 to {most}"))
    };
    let subset = form.take("check_subset_pct", number("check_subset_pct", 100));
    let spread_minutes = form.take("spread_minutes", number("spread_minutes", 720));
    let policy = MaintenancePolicy {
        forget: forget?,
        prune: prune?,
        check: check?,
        timezone: timezone?,
        check_subset_pct: u8::try_from(subset?).ok()?,
        spread_minutes: spread_minutes?,
    };
    Some(MaintenanceSettings {
        policy,
        auto_unlock: fields.text("auto_unlock") == "yes",
        keep_admin_credential: match fields.text("keep_admin_credential") {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        },
    })
}

/// The status with which a page tells of a refusal.
pub(super) fn status_of(error: AppError) -> StatusCode {
    Refusal::from(error).told().status
}
