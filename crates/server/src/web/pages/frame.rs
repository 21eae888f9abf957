//! What stands around every page, and the headers it is sent with.

use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, HeaderMap, HeaderValue, REFERRER_POLICY};
use restic_manager_core::secret::Secret;
use restic_manager_core::time::Timestamp;
use warp::reply::Response;

use super::super::answer;
use super::super::ask::Ask;
use super::assets;
use super::parts::Moment;
use super::theme::Theme;
use crate::app::{Caller, Session};

/// Only our own files, no script or style within a page, nothing from elsewhere, nobody frames us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Somebody logged in who asks for a page.
pub(super) struct Visitor {
    /// Who.
    pub(super) caller: Caller,
    /// Their session.
    pub(super) session: Session,
    /// What stands around their pages.
    pub(super) frame: Frame,
}

impl Visitor {
    pub(super) fn of(ask: &Ask, session: Session, cookie: &Secret) -> Self {
        let info = ask.state.accounts.session_info(&session, cookie);
        let member = Member { name: info.username.to_string(), csrf: info.csrf_token };
        let frame = Frame::outside(ask.state.app.clock().now(), &ask.headers);
        Self { caller: session.caller.clone(), session, frame: Frame { member: Some(member), ..frame } }
    }
}

/// A page of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Fleet,
    Repos,
    Jobs,
    Audit,
    Settings,
    /// None of them.
    Elsewhere,
}

/// The frame of a page.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// The page's title.
    pub(super) title: String,
    /// Which page of the navigation it belongs to.
    pub(super) tab: Tab,
    /// Whoever is logged in.
    pub(super) member: Option<Member>,
    /// The colours that were chosen.
    pub(super) theme: Theme,
    /// Seconds until a browser without scripts shall load the page again.
    pub(super) refresh: Option<u32>,
    /// When it was made.
    pub(super) now: Timestamp,
}

/// Whoever is logged in, as their pages need it.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// The login name.
    pub(super) name: String,
    /// The token that every form carries.
    pub(super) csrf: Secret,
}

impl Frame {
    /// The frame for somebody who is not logged in.
    pub(super) fn outside(now: Timestamp, headers: &HeaderMap) -> Self {
        let theme = Theme::of(headers);
        Self { title: String::new(), tab: Tab::Elsewhere, member: None, theme, refresh: None, now }
    }

    /// The same around a page.
    pub(super) fn of(self, tab: Tab, title: impl Into<String>) -> Self {
        Self { title: title.into(), tab, ..self }
    }

    /// The token that every form carries.
    pub(super) fn csrf(&self) -> &str {
        self.member.as_ref().map_or("", |member| member.csrf.expose())
    }

    /// The navigation: path, word, and whether it is this page.
    pub(super) fn tabs(&self) -> [(&'static str, &'static str, bool); 5] {
        let tab = |path, word, tab| (path, word, self.tab == tab);
        [
            tab("/", "Fleet", Tab::Fleet),
            tab("/repos", "Repositories", Tab::Repos),
            tab("/jobs", "Jobs", Tab::Jobs),
            tab("/audit", "Audit", Tab::Audit),
            tab("/settings", "Settings", Tab::Settings),
        ]
    }

    pub(super) fn style(&self) -> &'static str {
        assets::style_path()
    }

    /// The scripts, in their order.
    pub(super) fn scripts(&self) -> [&'static str; 2] {
        assets::script_paths()
    }

    pub(super) fn icon(&self) -> &'static str {
        assets::icon_path()
    }

    pub(super) fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    pub(super) fn made(&self) -> Moment {
        Moment::exact(self.now, self.now)
    }
}

/// A page with its headers.
pub(super) fn html(status: StatusCode, text: String) -> Response {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    let mut response = answer::sized(status, kind, text.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    // With `no-referrer` browsers send `Origin: null` along with a form, which could not be told from a foreign page.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}
