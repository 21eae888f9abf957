//! A form as it was typed, with what is wrong at each of its fields.

use std::collections::BTreeMap;

use http::StatusCode;
use restic_manager_core::api::CredentialWrite;
use restic_manager_core::model::CredentialInfo;
use restic_manager_core::secret::Secret;

use super::super::answer::Refusal;
use super::fields::Fields;
use super::words;
use crate::app::{AppError, ErrorKind};

/// The fields that hold secrets: what was typed there is never sent back.
const SECRETS: [&str; 6] = ["password", "rest_password", "env", "current", "new", "again"];
/// What is said at such a field when the form comes back.
const TYPE_AGAIN: &str = "Not sent back to the page: type it again";

/// What was typed, and what is wrong with it.
#[derive(Debug, Default, Clone)]
pub(super) struct Form {
    values: BTreeMap<String, String>,
    wrongs: BTreeMap<String, String>,
    /// What is wrong with the whole, and what to do about it.
    pub(super) refusal: Option<(String, String)>,
    status: Option<StatusCode>,
}

impl Form {
    /// A form with these values in it.
    pub(super) fn with(values: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self {
            values: values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            ..Self::default()
        }
    }

    /// What was typed, without the secrets.
    pub(super) fn typed(fields: &Fields) -> Self {
        let values = fields.texts().filter(|(name, _)| !SECRETS.contains(name) && *name != "csrf");
        let mut form = Self::default();
        for (name, value) in values {
            // Browsers send the lines of a text as HTTP ends them.
            let value = value.replace("\r\n", "\n");
            // Boxes of one name are kept as a list.
            form.values
                .entry(name.to_owned())
                .and_modify(|known| *known += &format!("\n{value}"))
                .or_insert(value);
        }
        for name in SECRETS {
            if fields.given(name).is_some() {
                form.wrongs.insert(name.to_owned(), TYPE_AGAIN.to_owned());
            }
        }
        form
    }

    /// A form in which another name was typed than the one that had to be.
    pub(super) fn unconfirmed(field: &str, typed: &str, name: &str) -> Self {
        let mut form = Self::default();
        form.deny_name(field, typed, name);
        form
    }

    /// Notes that another name was typed than the one that had to be.
    pub(super) fn deny_name(&mut self, field: &str, typed: &str, name: &str) {
        self.set(field, typed);
        self.set_wrong(field, format!("nothing was done: the name is “{name}”, type it exactly"));
    }

    /// What stands in a field.
    pub(super) fn value(&self, name: impl AsRef<str>) -> &str {
        self.values.get(name.as_ref()).map_or("", String::as_str)
    }

    /// Puts a value into a field.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }

    /// What is wrong with it.
    pub(super) fn wrong(&self, name: impl AsRef<str>) -> Option<&str> {
        self.wrongs.get(name.as_ref()).map(String::as_str)
    }

    /// Whether a box is ticked, or this one of several of a name.
    pub(super) fn ticked(&self, name: impl AsRef<str>, value: impl AsRef<str>) -> bool {
        self.value(name).split('\n').any(|ticked| ticked == value.as_ref())
    }

    /// Notes what is wrong with a field.
    pub(super) fn set_wrong(&mut self, name: &str, why: impl std::fmt::Display) {
        self.wrongs.insert(name.to_owned(), words::capitalised(&why.to_string()));
    }

    /// The value, or what is wrong with it is noted.
    pub(super) fn take<T, E: std::fmt::Display>(&mut self, name: &str, read: Result<T, E>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(why) => {
                self.set_wrong(name, why);
                None
            }
        }
    }

    /// Whether anything is wrong that a person has to mend. A secret to be typed again is no fault of theirs.
    pub(super) fn is_wrong(&self) -> bool {
        self.refusal.is_some() || self.wrongs.values().any(|why| why != TYPE_AGAIN)
    }

    /// Takes a refusal of the application: at the field it names, by `places` where that has another name here, else above the form.
    ///
    /// # Errors
    ///
    /// What no form can mend: a fault of the server, or a thing that is not there.
    pub(super) fn refuse(
        mut self,
        error: AppError,
        places: &[(&str, &'static str)],
    ) -> Result<Self, Refusal> {
        match error.kind() {
            ErrorKind::Invalid
            | ErrorKind::Conflict
            | ErrorKind::Unavailable
            | ErrorKind::Forbidden
            | ErrorKind::TooMany
            | ErrorKind::Unauthenticated => {}
            ErrorKind::Malformed
            | ErrorKind::NotFound
            | ErrorKind::MethodNotAllowed
            | ErrorKind::Gone
            | ErrorKind::TooLarge
            | ErrorKind::UnsupportedMedia
            | ErrorKind::UpgradeRequired
            | ErrorKind::Internal => return Err(error.into()),
        }
        let body = error.body();
        let named = body.message.strip_prefix('`').and_then(|rest| rest.split_once("`: "));
        let place = match named {
            Some((field, why)) => {
                let place = places.iter().find(|(name, _)| *name == field);
                Some((place.map_or_else(|| last_part(field), |(_, place)| *place).to_owned(), why.to_owned()))
            }
            None => {
                let place = places.iter().find(|(code, _)| *code == body.code);
                place.map(|(_, place)| ((*place).to_owned(), body.message.clone()))
            }
        };
        match place {
            Some((place, why)) => {
                let hint = body.hint.map(|hint| format!(": {hint}")).unwrap_or_default();
                self.wrongs.insert(place, words::capitalised(&format!("{why}{hint}")));
            }
            None => {
                self.refusal = Some((
                    words::capitalised(&body.message),
                    words::capitalised(&body.hint.unwrap_or_default()),
                ));
            }
        }
        self.status = Some(Refusal::from(error).told().status);
        Ok(self)
    }

    /// The status a page with this form is sent with.
    pub(super) fn status(&self) -> StatusCode {
        match self.status {
            Some(status) => status,
            None if self.is_wrong() => StatusCode::UNPROCESSABLE_ENTITY,
            None => StatusCode::OK,
        }
    }
}

fn last_part(field: &str) -> &str {
    field.rsplit('.').next().unwrap_or(field)
}

/// A credential form with what may be shown of the one that is stored.
pub(super) fn of_credential(info: Option<&CredentialInfo>) -> Form {
    let Some(info) = info else { return Form::default() };
    Form::with([("url", info.url.clone()), ("rest_user", info.rest_user.clone().unwrap_or_default())])
}

/// The credential that a form holds; what is wrong with it is noted. It replaces the stored one whole.
pub(super) fn credential(fields: &Fields, form: &mut Form) -> Option<CredentialWrite> {
    let env = form.take("env", variables(&fields.secret("env")));
    let url = fields.text("url").to_owned();
    if url.is_empty() {
        form.set_wrong(
            "url",
            "give the address as restic takes it, such as rest:https://backup.example.net/web1/",
        );
    }
    let password = fields.secret("password");
    if password.is_empty() {
        form.set_wrong("password", "give the repository's password: a credential is replaced as a whole");
    }
    if form.is_wrong() {
        return None;
    }
    Some(CredentialWrite {
        url,
        password,
        rest_user: fields.given("rest_user").map(str::to_owned),
        rest_password: Some(fields.secret("rest_password")).filter(|secret| !secret.is_empty()),
        env: env?,
    })
}

/// Whether any part of a credential was typed.
pub(super) fn has_credential(fields: &Fields) -> bool {
    ["url", "password", "rest_user", "rest_password", "env"].iter().any(|name| fields.given(name).is_some())
}

/// Lines of `NAME=value`. What is wrong is told by the line's number: the value may be a secret.
fn variables(text: &Secret) -> Result<BTreeMap<String, Secret>, String> {
    let mut env = BTreeMap::new();
    let lines = text.expose().lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (at, line) in lines {
        let Some((name, value)) = line.split_once('=') else {
            return Err(format!("line {} is not of the form NAME=value", at + 1));
        };
        env.insert(name.trim().to_owned(), Secret::new(value));
    }
    Ok(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_kept_and_secrets_are_asked_for_again() {
        let fields = Fields::parse(b"csrf=x&url=%2Fsrv&password=hunter2&group=a&group=b&env=");
        let form = Form::typed(&fields);
        assert_eq!((form.value("url"), form.value("password"), form.value("csrf")), ("/srv", "", ""));
        assert!(form.ticked("group", "a") && form.ticked("group", "b") && !form.ticked("group", "c"));
        assert_eq!(form.wrong("password"), Some(TYPE_AGAIN));
        assert!(!form.is_wrong() && form.wrong("env").is_none());
        assert!(!format!("{form:?}").contains("hunter2"));
    }

    #[test]
    fn a_refusal_stands_at_the_field_it_names() {
        let refuse = |error| {
            Form::default().refuse(error, &[("name_taken", "name"), ("keep.daily", "daily")]).unwrap()
        };
        let form = refuse(AppError::invalid("repo.credential.url", "no address").hint("give one"));
        assert_eq!((form.wrong("url"), form.status().as_u16()), (Some("No address: give one"), 422));
        assert_eq!(refuse(AppError::invalid("keep.daily", "too many")).wrong("daily"), Some("Too many"));
        let form = refuse(AppError::name_taken("host", "web1"));
        assert!(form.wrong("name").is_some_and(|why| why.contains("`web1`")), "{form:?}");
        assert_eq!(form.status().as_u16(), 409);
        let form = refuse(AppError::new(ErrorKind::Conflict, "other", "it is so").hint("do this"));
        assert_eq!(form.refusal, Some(("It is so".to_owned(), "Do this".to_owned())));
        assert!(Form::default().refuse(AppError::not_found("host", "x"), &[]).is_err());
    }

    #[test]
    fn variables_are_read_by_the_line_and_never_repeated() {
        let read = |text: &str| variables(&Secret::new(text));
        let env = read("AWS_ACCESS_KEY_ID=a\n\nAWS_SECRET_ACCESS_KEY=b=c\r\n").unwrap();
        assert_eq!(env["AWS_SECRET_ACCESS_KEY"].expose(), "b=c");
        assert_eq!(env.len(), 2);
        assert_eq!(read("A=1\nhunter2").unwrap_err(), "line 2 is not of the form NAME=value");
    }
}
