//! Coming in and going out: the first administrator, login, logout.

use askama::Template;
use http::{HeaderValue, Method, StatusCode};
use restic_manager_core::api::{BootstrapRequest, LoginRequest};
use restic_manager_core::text::LoginName;
use warp::reply::Response;

use super::super::answer::{Refusal, with_cookie};
use super::super::ask::Ask;
use super::super::routes::auth;
use super::super::table::Answer;
use super::super::{Incoming, guard};
use super::fields::{Fields, address};
use super::frame::{Frame, Tab, Visitor};
use super::parts::Prose;
use super::table::{Route, act, enter, open};
use super::{page, see_other};
use crate::app::ErrorKind;

pub(super) fn routes() -> Vec<Route> {
    vec![
        open("/bootstrap", bootstrap_form),
        enter("/bootstrap", bootstrap),
        open("/login", login_form),
        enter("/login", login),
        act("/logout", logout),
    ]
}

/// What a browser without a session asked for.
pub(super) struct Asked {
    next: String,
}

impl Asked {
    /// A page to come back to; a form that was sent cannot be sent again.
    pub(super) fn of(incoming: &Incoming) -> Self {
        if incoming.method == Method::POST || incoming.path == "/" && incoming.query.is_empty() {
            return Self { next: String::new() };
        }
        let query = if incoming.query.is_empty() { String::new() } else { format!("?{}", incoming.query) };
        Self { next: format!("{}{query}", incoming.path) }
    }
}

/// Sends a browser without a session to the login, or to where the first administrator is made.
///
/// A script that only wanted a part of a page is told to load the whole page again, which then leads there.
pub(super) async fn send_in(ask: &Ask, asked: &Asked) -> Answer {
    if ask.headers.contains_key("hx-request") {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        response.headers_mut().insert("hx-refresh", HeaderValue::from_static("true"));
        return Ok(response);
    }
    if ask.state.accounts.needs_bootstrap().await? {
        return Ok(see_other("/bootstrap"));
    }
    Ok(see_other(&address("/login", &[("next", &asked.next)])))
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    frame: Frame,
    username: String,
    next: String,
    wrong: Option<Wrong>,
}

#[derive(Template)]
#[template(path = "bootstrap.html")]
struct Bootstrap {
    frame: Frame,
    username: String,
    token_file: String,
    wrong: Option<Wrong>,
}

/// What is wrong with a form, and with which of its fields.
struct Wrong {
    field: &'static str,
    message: Prose,
    hint: Option<Prose>,
}

impl Wrong {
    fn at(&self, field: &str) -> bool {
        self.field == field
    }
}

async fn login_form(ask: Ask) -> Answer {
    let fields = Fields::parse(ask.query_text().as_bytes());
    let next = local_path(fields.text("next"));
    if guard::session(&ask).await?.is_some() {
        return Ok(see_other(next));
    }
    if ask.state.accounts.needs_bootstrap().await? {
        return Ok(see_other("/bootstrap"));
    }
    let frame = outside(&ask, "Log in");
    page(StatusCode::OK, &Login { frame, username: String::new(), next: next.to_owned(), wrong: None })
}

async fn login(mut ask: Ask) -> Answer {
    let form = Fields::parse(&ask.form().await?);
    let next = local_path(form.text("next"));
    let refusal = match form.text("username").parse::<LoginName>() {
        Err(error) => Refusal::from(crate::app::AppError::invalid("username", error)),
        Ok(username) => {
            let request = LoginRequest { username, password: form.secret("password") };
            match auth::new_session(&ask, &request).await {
                Ok(session) => return Ok(with_cookie(see_other(next), &auth::cookie_of(&ask, &session))),
                Err(refusal) => refusal,
            }
        }
    };
    let frame = outside(&ask, "Log in");
    let (username, next) = (form.text("username").to_owned(), next.to_owned());
    again(refusal, |wrong| Login { frame, username, next, wrong: Some(wrong) })
}

async fn bootstrap_form(ask: Ask) -> Answer {
    if !ask.state.accounts.needs_bootstrap().await? {
        return Ok(see_other("/login"));
    }
    page(StatusCode::OK, &bootstrap_page(&ask, String::new(), None))
}

async fn bootstrap(mut ask: Ask) -> Answer {
    let form = Fields::parse(&ask.form().await?);
    if !ask.state.accounts.needs_bootstrap().await? {
        return Ok(see_other("/login"));
    }
    let refusal = match form.text("username").parse::<LoginName>() {
        Err(error) => Refusal::from(crate::app::AppError::invalid("username", error)),
        Ok(username) => {
            let token = form.text("token").to_owned().into();
            let request = BootstrapRequest { token, username, password: form.secret("password") };
            match auth::first_session(&ask, request).await {
                Ok(session) => return Ok(with_cookie(see_other("/"), &auth::cookie_of(&ask, &session))),
                Err(refusal) => refusal,
            }
        }
    };
    let username = form.text("username").to_owned();
    again(refusal, |wrong| bootstrap_page(&ask, username, Some(wrong)))
}

async fn logout(visitor: Visitor, _: Fields, ask: Ask) -> Answer {
    ask.state.accounts.logout(&visitor.session).await?;
    Ok(with_cookie(see_other("/login"), &auth::no_cookie(&ask)))
}

fn bootstrap_page(ask: &Ask, username: String, wrong: Option<Wrong>) -> Bootstrap {
    let token_file = ask.state.bootstrap.path().display().to_string();
    Bootstrap { frame: outside(ask, "First administrator"), username, token_file, wrong }
}

fn outside(ask: &Ask, title: &str) -> Frame {
    Frame::outside(ask.state.app.clock().now(), &ask.headers).of(Tab::Elsewhere, title)
}

/// The form again, as it was typed but for its secrets, with what is wrong where it is wrong. A fault is no matter of
/// the form.
fn again<T: Template>(refusal: Refusal, form: impl FnOnce(Wrong) -> T) -> Answer {
    let field = match (refusal.error().kind(), refusal.error().code()) {
        (ErrorKind::Internal | ErrorKind::Unavailable, _) => return Err(refusal),
        (_, "wrong_bootstrap_token") => "token",
        (ErrorKind::Invalid, _) if refusal.error().to_string().starts_with("`username`") => "username",
        (ErrorKind::Invalid, _) => "password",
        _ => "form",
    };
    let told = refusal.told();
    // The label above the field says its name.
    let message = told.body.message;
    let message = message.strip_prefix(&format!("`{field}`: ")).unwrap_or(&message);
    let wrong = Wrong {
        field,
        message: Prose::sentence(message),
        hint: told.body.hint.map(|hint| Prose::sentence(&hint)),
    };
    let mut response: Response = page(told.status, &form(wrong))?;
    response.headers_mut().extend(told.headers);
    Ok(response)
}

/// The path when it is one of ours, else the first page: nobody may be sent elsewhere by an address of ours.
pub(super) fn local_path(next: &str) -> &str {
    let local = next.starts_with('/') && !next.starts_with("//");
    // Browsers take a backslash for a slash, and leave out tabs and line ends.
    let plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let door = ["/login", "/logout", "/bootstrap"].iter().any(|door| next.starts_with(door));
    if local && plain && !door { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use http::header::LOCATION;

    use super::*;

    #[test]
    fn only_paths_of_ours_are_gone_back_to() {
        for next in ["/", "/jobs?state=failed&kind=backup", "/hosts/01900000-0000-7000-8000-000000000000"] {
            assert_eq!(local_path(next), next);
        }
        for next in [
            "",
            "jobs",
            "//evil.example",
            "/\\evil.example",
            "/a\\b",
            "https://evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\u{e9}",
            "/login?next=/login",
            "/logout",
        ] {
            assert_eq!(local_path(next), "/", "{next:?}");
        }
    }

    #[test]
    fn a_redirect_that_no_header_can_carry_leads_to_the_first_page() {
        assert_eq!(see_other("/a\nb").headers()[LOCATION], HeaderValue::from_static("/"));
    }
}
