//! The fields of a form or of an address, as a browser sends them.

use restic_manager_core::secret::Secret;
use url::form_urlencoded;

/// Names and values. A value may be a password: all of them are wiped when dropped, and none is ever printed.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, Secret)>);

impl Fields {
    /// Takes apart what a browser sent.
    pub(super) fn parse(text: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(text);
        Self(pairs.map(|(name, value)| (name.into_owned(), Secret::new(value))).collect())
    }

    /// The value without the spaces around it; empty when it is not there. Of several the first one counts.
    pub(super) fn text(&self, name: &str) -> &str {
        self.value(name).map_or("", |value| value.expose().trim())
    }

    /// The value when there is something in it.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// Whether it was sent at all, be it empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The value as it was typed.
    pub(super) fn secret(&self, name: &str) -> Secret {
        self.value(name).cloned().unwrap_or_default()
    }

    /// All names with their values, as they were sent.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }

    /// The values of all fields of this name in which there is something.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let values = self.texts().filter(|(known, _)| *known == name).map(|(_, value)| value.trim());
        values.filter(|value| !value.is_empty()).collect()
    }

    fn value(&self, name: &str) -> Option<&Secret> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// A path with parameters; those without a value are left out.
pub(super) fn address(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_trimmed_and_secrets_are_not() {
        let fields = Fields::parse(b"name=+web1+&password=+a+b+&empty=&name=second");
        assert_eq!((fields.text("name"), fields.given("empty"), fields.text("other")), ("web1", None, ""));
        assert_eq!(fields.secret("password").expose(), " a b ");
        assert!(!format!("{fields:?}").contains("web1"));
    }

    #[test]
    fn an_address_holds_what_is_given() {
        assert_eq!(address("/jobs", &[("state", ""), ("kind", "")]), "/jobs");
        assert_eq!(address("/jobs", &[("state", "a,b"), ("q", "é &")]), "/jobs?state=a%2Cb&q=%C3%A9+%26");
    }
}
