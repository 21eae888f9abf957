//! Query strings: nothing that is not understood is passed over.

use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::answer::Refusal;
use super::body::invalid;
use crate::app::{AppError, ErrorKind};

/// Refuses a parameter that the route does not have, by name.
pub(super) fn check_names<'a>(
    query: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), Refusal> {
    for (name, _) in form_urlencoded::parse(query.as_bytes()) {
        if known.clone().any(|known| known == name) {
            continue;
        }
        let shown: String = name.chars().take(64).collect();
        let known: Vec<String> = known.map(|name| format!("`{name}`")).collect();
        let hint = match known.as_slice() {
            [] => "this route takes no parameters".to_owned(),
            known => format!("known here: {}", known.join(", ")),
        };
        let message = format!("there is no parameter `{shown}`");
        return Err(AppError::new(ErrorKind::Invalid, "unknown_parameter", message).hint(hint).into());
    }
    Ok(())
}

/// Reads the parameters; one that is given twice, or whose value is not possible, is named.
pub(super) fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Refusal> {
    let deserializer = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(deserializer)
        .map_err(|error| invalid(&error.path().to_string(), &error.inner().to_string()).into())
}

#[cfg(test)]
mod tests {
    use restic_manager_core::api::Presence;
    use restic_manager_core::id::HostId;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Wanted {
        limit: Option<u32>,
        state: Option<Presence>,
        host_id: Option<HostId>,
    }

    fn refused(query: &str) -> String {
        let Err(refusal) = parse::<Wanted>(query) else { panic!("{query} was taken") };
        refusal.error().to_string()
    }

    #[test]
    fn what_is_given_is_read_and_the_rest_is_absent() {
        let wanted: Wanted = parse("limit=5&state=never_seen").unwrap();
        assert_eq!((wanted.limit, wanted.state, wanted.host_id), (Some(5), Some(Presence::NeverSeen), None));
        let id = "01900000-0000-7000-8000-000000000000";
        assert_eq!(parse::<Wanted>(&format!("host_id={id}")).unwrap().host_id, id.parse().ok());
    }

    #[test]
    fn a_value_that_is_not_possible_is_named() {
        assert!(refused("limit=many").starts_with("`limit`: "), "{}", refused("limit=many"));
        assert!(refused("host_id=7").starts_with("`host_id`: `7` is not an id"), "{}", refused("host_id=7"));
        assert!(refused("state=away").contains("`online`"), "{}", refused("state=away"));
        assert_eq!(refused("limit=1&limit=2"), "duplicate field `limit`");
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let known = ["limit", "cursor"];
        assert!(check_names("cursor=x&limit=", known.into_iter()).is_ok());
        let refusal = check_names("lim%69t=1&page=2", known.into_iter()).unwrap_err();
        assert_eq!(refusal.error().to_string(), "there is no parameter `page`");
        assert_eq!(refusal.error().body().hint.as_deref(), Some("known here: `limit`, `cursor`"));
    }
}
