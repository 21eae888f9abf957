//! Light or dark: as the system has it, unless somebody chose.
//!
//! The choice lies in a cookie, so that the server knows it before the first byte of a page and nothing flickers.

use http::header::{COOKIE, HeaderMap, HeaderValue, REFERER, SET_COOKIE};

use super::super::ask::Ask;
use super::super::table::Answer;
use super::door::local_path;
use super::fields::Fields;
use super::see_other;
use super::table::{Route, enter};

const THEME_COOKIE: &str = "rm_theme";

pub(super) fn routes() -> Vec<Route> {
    vec![enter("/theme", choose)]
}

/// The colours of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    /// As the system has it.
    System,
    Light,
    Dark,
}

impl Theme {
    /// The choice that a browser remembers.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let chosen = pairs.find(|(name, _)| *name == THEME_COOKIE).map_or("", |(_, value)| value);
        Self::named(chosen)
    }

    fn named(name: &str) -> Self {
        match name {
            "light" => Self::Light,
            "dark" => Self::Dark,
            // What nobody of ours wrote is no choice.
            _ => Self::System,
        }
    }

    /// Its name in the page, in the form and in the cookie.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The choices with their words.
    pub(super) fn choices(self) -> [(&'static str, &'static str, bool); 3] {
        let choice = |theme: Self, word| (theme.as_str(), word, theme == self);
        [choice(Self::System, "As the system"), choice(Self::Light, "Light"), choice(Self::Dark, "Dark")]
    }
}

/// Remembers a choice and goes back to the page it was made on.
async fn choose(mut ask: Ask) -> Answer {
    let form = Fields::parse(&ask.form().await?);
    let theme = Theme::named(form.text("theme")).as_str();
    let from = ask.headers.get(REFERER).and_then(|value| value.to_str().ok()).unwrap_or("");
    // The path of the page; `local_path` lets nothing lead elsewhere.
    let path = from.splitn(4, '/').nth(3).map_or_else(|| "/".to_owned(), |path| format!("/{path}"));
    let mut response = see_other(local_path(&path));
    let cookie = format!("{THEME_COOKIE}={theme}; Path=/; SameSite=Lax; Max-Age=31536000");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_read_from_its_cookie_and_nonsense_is_none() {
        let theme =
            |line: &'static str| Theme::of(&[(COOKIE, HeaderValue::from_static(line))].into_iter().collect());
        assert_eq!(theme("a=b; rm_theme=dark"), Theme::Dark);
        assert_eq!(theme("rm_theme=light; a=b"), Theme::Light);
        assert_eq!(theme("rm_theme=<script>"), Theme::System);
        assert_eq!(Theme::of(&HeaderMap::new()), Theme::System);
    }
}
