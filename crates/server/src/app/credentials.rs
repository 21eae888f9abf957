//! Credentials as they are written: checked, taken apart, sealed.

use restic_manager_core::api::CredentialWrite;
use restic_manager_core::id::{HostId, RepoId};
use restic_manager_core::model::{CredentialInfo, CredentialKind, CredentialSecret};
use restic_manager_core::restic::{Access, Backend, RepoUrl, Separated};
use restic_manager_core::secret::Secret;
use restic_manager_store::SealedCredential;

use super::{App, AppError};

impl App {
    /// A credential, sealed for its place and revision, with what may be shown of it.
    pub(super) fn seal(
        &self,
        host_id: HostId,
        repo_id: RepoId,
        kind: CredentialKind,
        revision: i64,
        secret: &CredentialSecret,
    ) -> Result<SealedCredential, AppError> {
        let blob = self.engine.seal_credential(host_id, repo_id, kind, revision, secret)?;
        let info = CredentialInfo {
            kind,
            url: secret.url.clone(),
            rest_user: secret.rest_user.clone(),
            has_rest_password: secret.rest_password.is_some(),
            env_names: secret.env.keys().cloned().collect(),
            revision,
            updated_at: self.clock.now(),
        };
        Ok(SealedCredential { info, blob })
    }
}

/// Takes user and password out of the address and checks that restic can be told all of it.
pub(super) fn checked(write: CredentialWrite, field: &str) -> Result<CredentialSecret, AppError> {
    let invalid = |name: &str, why: &dyn std::fmt::Display| AppError::invalid(&format!("{field}{name}"), why);
    let Separated { url, user, password } =
        RepoUrl::separate(&write.url).map_err(|error| invalid("url", &error))?;
    let mut secret = CredentialSecret {
        url: url.as_str().to_owned(),
        password: write.password,
        rest_user: write.rest_user.filter(|user| !user.is_empty()),
        rest_password: write.rest_password.filter(|password| !password.is_empty()),
        env: write.env,
    };
    if url.backend() == Backend::S3 {
        // Keys in an S3 address belong into the variables that restic reads them from.
        let keys = [("AWS_ACCESS_KEY_ID", user.map(Secret::from)), ("AWS_SECRET_ACCESS_KEY", password)];
        for (name, key) in keys {
            if let Some(key) = key {
                secret.env.entry(name.to_owned()).or_insert(key);
            }
        }
    } else {
        secret.rest_user = secret.rest_user.or(user);
        secret.rest_password = secret.rest_password.or(password);
    }
    let access = Access {
        url: &url,
        password: &secret.password,
        rest_user: secret.rest_user.as_deref(),
        rest_password: secret.rest_password.as_ref(),
        variables: &secret.env,
        cache_dir: "/",
    };
    access.environment().map_err(|error| AppError::invalid(field.trim_end_matches('.'), &error))?;
    Ok(secret)
}
