//! Secrets leave no trace in what a job says.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, MatchKind};
use restic_manager_core::model::CredentialSecret;
use restic_manager_core::secret::Secret;

/// Replaces the secrets of one credential by `***`.
#[derive(Debug)]
pub(crate) struct Redactor {
    /// None when there is nothing to look for.
    secrets: Option<AhoCorasick>,
}

/// Shorter values of variables are no secrets, but words such as `on` or `eu`.
const SHORTEST_VARIABLE: usize = 4;
const MASK: &str = "***";

impl Redactor {
    /// Knows the passwords of the credential, its longer variables, and each in the spellings restic may give it.
    pub(crate) fn new(credential: &CredentialSecret) -> Self {
        let passwords = [Some(&credential.password), credential.rest_password.as_ref()];
        let passwords = passwords.into_iter().flatten().map(Secret::expose);
        let variables = credential.env.values().map(Secret::expose);
        let variables = variables.filter(|value| value.chars().count() >= SHORTEST_VARIABLE);
        Self::of(passwords.chain(variables).map(str::to_owned).collect())
    }

    fn of(mut texts: Vec<String>) -> Self {
        texts.retain(|text| !text.is_empty());
        let spelled: Vec<String> = texts.iter().flat_map(|text| spellings(text)).collect();
        if spelled.is_empty() {
            return Self { secrets: None };
        }
        let secrets = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&spelled);
        Self { secrets: secrets.ok() }
    }

    /// The text without secrets and without the passwords of addresses.
    pub(crate) fn redact(&self, text: &str) -> String {
        let text = match &self.secrets {
            Some(secrets) if secrets.is_match(text) => {
                let mut clean = String::with_capacity(text.len());
                secrets.replace_all_with(text, &mut clean, |_, _, to| {
                    to.push_str(MASK);
                    true
                });
                Cow::Owned(clean)
            }
            Some(_) | None => Cow::Borrowed(text),
        };
        without_logins(&text).into_owned()
    }
}

/// As it is, in an address, and within JSON as Go writes it.
fn spellings(text: &str) -> Vec<String> {
    let json = serde_json::to_string(text).unwrap_or_default();
    let json = json.trim_start_matches('"');
    let json = json.strip_suffix('"').unwrap_or(json).to_owned();
    let go = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let percent: String = text
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let mut all = vec![text.to_owned(), json, go, percent];
    all.sort();
    all.dedup();
    all
}

/// `http://user:pass@host/` becomes `http://user:***@host/`, whoever the password belongs to.
fn without_logins(text: &str) -> Cow<'_, str> {
    if !text.contains("://") || !text.contains('@') {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://").map(|at| at + 3) {
        let (scheme, after) = rest.split_at(start);
        clean.push_str(scheme);
        let end = after.find(|c: char| c == '/' || c == '"' || c.is_whitespace()).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@').map(|(login, host)| (login.split_once(':'), host)) {
            Some((Some((user, _)), host)) => clean.extend([user, ":", MASK, "@", host]),
            Some((None, _)) | None => clean.push_str(authority),
        }
        rest = tail;
    }
    clean.push_str(rest);
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn credential() -> CredentialSecret {
        CredentialSecret {
            url: "rest:http://h:8000/r/".into(),
            password: Secret::new("pa\"ss&<1>"),
            rest_user: Some("agent".into()),
            rest_password: Some(Secret::new("r/e st")),
            env: BTreeMap::from([
                ("AWS_SECRET_ACCESS_KEY".into(), Secret::new("pa\"ss&<1>-and-more")),
                ("AWS_REGION".into(), Secret::new("eu")),
            ]),
        }
    }

    #[test]
    fn a_secret_is_masked_in_every_spelling_and_a_longer_one_before_its_begin() {
        let redactor = Redactor::new(&credential());
        for said in [
            "got pa\"ss&<1> here",
            r#"got pa\"ss&<1> here"#,
            r#"got pa\"ss\u0026\u003c1\u003e here"#,
            "got r/e st here",
            "got r%2Fe%20st here",
            "got pa\"ss&<1>-and-more here",
        ] {
            assert_eq!(redactor.redact(said), "got *** here", "{said}");
        }
        assert_eq!(redactor.redact("eu-west"), "eu-west", "too short to be a secret");
    }

    #[test]
    fn the_password_of_any_address_is_masked() {
        let redactor = Redactor::new(&credential());
        for (said, shown) in [
            ("open rest:http://u:other@h:1/x: no", "open rest:http://u:***@h:1/x: no"),
            ("http://u:p@ss@h and https://a:b@c", "http://u:***@h and https://a:***@c"),
            ("http://user@h/ a@b", "http://user@h/ a@b"),
            ("://", "://"),
            ("mail a:b@c", "mail a:b@c"),
        ] {
            assert_eq!(redactor.redact(said), shown);
        }
    }

    #[test]
    fn without_secrets_nothing_is_changed() {
        let credential = CredentialSecret {
            url: "/r".into(),
            password: Secret::new(""),
            rest_user: None,
            rest_password: None,
            env: BTreeMap::new(),
        };
        assert_eq!(Redactor::new(&credential).redact("all as it is"), "all as it is");
    }
}
