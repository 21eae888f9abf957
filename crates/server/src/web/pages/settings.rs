//! One's own account: the session, the password, and the API tokens of programs.

use askama::Template;
use http::StatusCode;
use restic_manager_core::api::{PasswordChange, TokenInfo, TokenRequest, TokenResponse};
use restic_manager_core::id::TokenId;
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::Timestamp;

use super::super::answer::Refusal;
use super::super::answer::with_cookie;
use super::super::ask::Ask;
use super::super::routes::auth::{cookie_of, new_password};
use super::super::table::Answer;
use super::fields::{Fields, address};
use super::fleet::pager;
use super::form::Form;
use super::frame::{Frame, Tab, Visitor};
use super::parts::{Mark, Moment, Pager, Tone};
use super::table::{Route, act, look};
use super::{ROWS, page, see_other, words};
use crate::app::{AppError, ErrorKind, ListQuery};

/// Where a browser goes once its password is changed.
const CHANGED: &str = "/settings?done=password";

/// Of how many tokens the name is looked for at a time.
const WHOLE: u32 = 500;

pub(super) fn routes() -> Vec<Route> {
    vec![
        look("/settings", settings),
        act("/settings/password", change_password),
        act("/settings/tokens", make),
        act("/settings/tokens/{id}/revoke", revoke),
    ]
}

#[derive(Template)]
#[template(path = "settings.html")]
struct Settings {
    frame: Frame,
    username: String,
    ends: Moment,
    /// The form of another password, with what is wrong at each field.
    password: Form,
    /// Whether the password was just changed.
    changed: bool,
    draft: Draft,
    made: Option<TokenResponse>,
    tokens: Vec<TokenLine>,
    /// The name that was typed to revoke one of them.
    confirm: Form,
    pager: Pager,
}

/// The form of a new token as it was typed, with what is wrong at each field.
struct Draft {
    name: String,
    days: String,
    wrong_name: Option<String>,
    wrong_days: Option<String>,
}

impl Default for Draft {
    fn default() -> Self {
        Self { name: String::new(), days: "90".to_owned(), wrong_name: None, wrong_days: None }
    }
}

/// What the page shows beside what is stored.
#[derive(Default)]
struct Besides {
    status: StatusCode,
    password: Form,
    draft: Draft,
    made: Option<TokenResponse>,
    confirm: Form,
}

struct TokenLine {
    name: String,
    state: Mark,
    made: Moment,
    used: Moment,
    ends: Moment,
    revoke_path: Option<String>,
    /// The field in which its name is typed before that.
    field: String,
}

async fn settings(visitor: Visitor, ask: Ask) -> Answer {
    show(visitor, &ask, Besides::default()).await
}

/// Changes the password, and with it the cookie of this very browser.
async fn change_password(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let mut password = Form::typed(&fields);
    let [current, new, again] = ["current", "new", "again"].map(|name| fields.secret(name));
    if current.is_empty() {
        password.set_wrong("current", "type the password you log in with");
    }
    if new.is_empty() {
        password.set_wrong("new", "type the new password");
    } else if new != again {
        password.set_wrong("again", "this is not the same as the new password");
    }
    if password.is_wrong() {
        return show(visitor, &ask, Besides { status: password.status(), password, ..Besides::default() })
            .await;
    }
    let change = PasswordChange { current, new };
    let refusal = match new_password(&ask, &visitor.caller, Some(&visitor.session), &change).await {
        Ok(Some(session)) => return Ok(with_cookie(see_other(CHANGED), &cookie_of(&ask, &session))),
        Ok(None) => return Ok(see_other(CHANGED)),
        Err(refusal) => refusal,
    };
    let places = [("wrong_password", "current"), ("too_many_attempts", "current")];
    let password = password.refuse(refusal.into_error(), &places)?;
    show(visitor, &ask, Besides { status: password.status(), password, ..Besides::default() }).await
}

async fn make(visitor: Visitor, form: Fields, ask: Ask) -> Answer {
    let mut draft = Draft {
        name: form.text("name").to_owned(),
        days: form.text("expires_in_days").to_owned(),
        ..Draft::default()
    };
    let request = match request(&form) {
        Ok(request) => request,
        Err((wrong_name, wrong_days)) => {
            draft = Draft { wrong_name, wrong_days, ..draft };
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return show(visitor, &ask, Besides { status, draft, ..Besides::default() }).await;
        }
    };
    let error = match ask.state.accounts.create_token(&visitor.caller, request).await {
        Ok(made) => {
            let (status, made) = (StatusCode::CREATED, Some(made));
            return show(visitor, &ask, Besides { status, made, ..Besides::default() }).await;
        }
        Err(error) => error,
    };
    let wrong = Some(words::capitalised(&error.to_string()));
    match (error.kind(), error.code()) {
        (_, "name_taken") => draft.wrong_name = wrong,
        (ErrorKind::Invalid, _) => {
            draft.wrong_days =
                wrong.map(|text| words::capitalised(text.trim_start_matches("`expires_in_days`: ")));
        }
        _ => return Err(error.into()),
    }
    let status = Refusal::from(error).told().status;
    show(visitor, &ask, Besides { status, draft, ..Besides::default() }).await
}

/// Revokes a token, once its name was typed.
async fn revoke(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let id: TokenId = ask.id("id", "API token")?;
    let name = name_of(&visitor, &ask, id).await?;
    if fields.text("typed") != name.as_str() {
        let confirm = Form::unconfirmed(&field_of(id), fields.text("typed"), name.as_str());
        return show(visitor, &ask, Besides { status: confirm.status(), confirm, ..Besides::default() })
            .await;
    }
    ask.state.accounts.revoke_token(&visitor.caller, id).await?;
    Ok(see_other("/settings"))
}

fn field_of(id: TokenId) -> String {
    format!("revoke-{id}")
}

/// What a token of the visitor's is for.
async fn name_of(visitor: &Visitor, ask: &Ask, id: TokenId) -> Result<DisplayName, AppError> {
    let mut list = ListQuery { limit: Some(WHOLE), cursor: None };
    loop {
        let listed = ask.state.accounts.tokens(&visitor.caller, &list).await?;
        if let Some(info) = listed.items.into_iter().find(|info| info.id == id) {
            return Ok(info.name);
        }
        list.cursor = listed.next_cursor;
        if list.cursor.is_none() {
            return Err(AppError::not_found("API token", id));
        }
    }
}

/// What the form asks for, or what is wrong with its name and its days.
fn request(form: &Fields) -> Result<TokenRequest, (Option<String>, Option<String>)> {
    let name = DisplayName::new(form.text("name")).map_err(|error| words::capitalised(&error.to_string()));
    let days = form.given("expires_in_days").map(str::parse::<u32>).transpose();
    let days = days.map_err(|_| "Give the days as a whole number, such as 90".to_owned());
    match (name, days) {
        (Ok(name), Ok(expires_in_days)) => Ok(TokenRequest { name, expires_in_days }),
        (name, days) => Err((name.err(), days.err())),
    }
}

async fn show(visitor: Visitor, ask: &Ask, besides: Besides) -> Answer {
    let Besides { status, password, draft, made, confirm } = besides;
    let fields = Fields::parse(ask.query_text().as_bytes());
    let now = visitor.frame.now;
    let list = ListQuery { limit: Some(ROWS), cursor: fields.given("cursor").map(str::to_owned) };
    let listed = ask.state.accounts.tokens(&visitor.caller, &list).await?;
    page(
        status,
        &Settings {
            username: visitor.caller.username.to_string(),
            ends: Moment::new(visitor.session.expires_at, now),
            changed: fields.text("done") == "password" && !password.is_wrong(),
            password,
            draft,
            made,
            confirm,
            tokens: listed.items.iter().map(|info| token_line(info, fields.text("cursor"), now)).collect(),
            pager: pager("/settings", &[], list.cursor.is_some(), listed.next_cursor.as_deref()),
            frame: visitor.frame.of(Tab::Settings, "Settings"),
        },
    )
}

fn token_line(info: &TokenInfo, cursor: &str, now: Timestamp) -> TokenLine {
    let (state, good) = match info.revoked_at {
        Some(_) => (Mark::new(Tone::Off, "revoked"), false),
        None if now >= info.expires_at => (Mark::new(Tone::Off, "expired"), false),
        None => (Mark::new(Tone::Ok, "good"), true),
    };
    TokenLine {
        name: info.name.to_string(),
        state,
        made: Moment::new(info.created_at, now),
        used: Moment::or(info.last_used_at, now, "never"),
        ends: Moment::new(info.revoked_at.unwrap_or(info.expires_at), now),
        revoke_path: good
            .then(|| address(&format!("/settings/tokens/{}/revoke", info.id), &[("cursor", cursor)])),
        field: field_of(info.id),
    }
}
