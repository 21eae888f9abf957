//! Addresses below the server's own.

use url::Url;

/// A path below `/api` with its query. Whatever people typed is percent-encoded here and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
}

impl Route {
    pub(crate) fn new<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> Self {
        Self { segments: segments.into_iter().map(|s| s.as_ref().to_owned()).collect(), query: Vec::new() }
    }

    /// The same with one more segment.
    #[must_use]
    pub(crate) fn below(mut self, segment: &str) -> Self {
        self.segments.push(segment.to_owned());
        self
    }

    /// Adds a query parameter, unless there is nothing to say.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        if let Some(value) = value {
            self.query.push((name, value.into()));
        }
        self
    }

    /// The full address below `server`, whose own path is kept.
    pub(crate) fn on(&self, server: &Url) -> Url {
        let mut url = server.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("api").extend(&self.segments);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_cannot_leave_its_place_in_the_address() {
        let server = Url::parse("https://x.example/backup/").unwrap();
        let route = Route::new(["hosts", "../a b/🦀"]).with("q", Some("a&b=c")).with("tag", None::<String>);
        assert_eq!(
            route.on(&server).as_str(),
            "https://x.example/backup/api/hosts/..%2Fa%20b%2F%F0%9F%A6%80?q=a%26b%3Dc"
        );
        let bare = Url::parse("http://127.0.0.1:8080").unwrap();
        assert_eq!(Route::new(["status"]).on(&bare).as_str(), "http://127.0.0.1:8080/api/status");
    }

    #[test]
    fn a_bare_double_dot_is_dropped_and_never_climbs() {
        let server = Url::parse("https://x.example/").unwrap();
        assert_eq!(Route::new(["hosts", ".."]).on(&server).path(), "/api/hosts");
    }
}
