//! The one type that holds secrets: it prints `***` and is wiped from memory when dropped.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroize;

/// A password, a token, a key: anything that must never be seen.
///
/// `Debug` and `Display` print `***`. It can be read from JSON, but it is written only where a field says so with
/// `#[serde(with = "restic_manager_core::secret::exposed")]`.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, format = Password))]
pub struct Secret(String);

impl Secret {
    /// Takes a text into custody.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Writes a secret in the clear: for the encrypted envelope, the agent's socket and the answer that shows it once.
pub mod exposed {
    use super::{Deserialize, Secret, Serialize, Serializer};

    /// What can be written with its secrets in the clear.
    pub trait Expose {
        /// Serialises the value without the mask.
        fn serialize_exposed<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    }

    impl Expose for Secret {
        fn serialize_exposed<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(self.expose())
        }
    }

    impl Expose for Option<Secret> {
        fn serialize_exposed<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.as_ref().map(Secret::expose).serialize(serializer)
        }
    }

    impl Expose for std::collections::BTreeMap<String, Secret> {
        fn serialize_exposed<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.iter().map(|(name, secret)| (name, secret.expose())))
        }
    }

    /// Serialises without the mask.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<T: Expose, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        value.serialize_exposed(serializer)
    }

    /// Deserialises as the type itself does.
    ///
    /// # Errors
    ///
    /// Those of the deserializer.
    pub fn deserialize<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        T::deserialize(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_wherever_it_is_printed() {
        let secret = Secret::new("hunter2-hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
    }

    #[test]
    fn a_secret_is_written_only_where_the_field_says_so() {
        #[derive(Serialize)]
        struct Sealed {
            #[serde(with = "exposed")]
            password: Secret,
            #[serde(with = "exposed")]
            other: Option<Secret>,
        }
        let text = serde_json::to_string(&Sealed { password: Secret::new("pw"), other: None }).unwrap();
        assert_eq!(text, r#"{"password":"pw","other":null}"#);
    }
}
