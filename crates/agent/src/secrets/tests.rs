use std::os::unix::fs::PermissionsExt;

use restic_manager_core::time::Timestamp;

use super::*;

struct Place {
    _temp: tempfile::TempDir,
    secrets: PathBuf,
    key: PathBuf,
}

fn place() -> Place {
    let temp = tempfile::tempdir().unwrap();
    let (secrets, key) = (temp.path().join("secrets.age"), temp.path().join("config/agent.key"));
    Place { _temp: temp, secrets, key }
}

impl Place {
    fn open(&self) -> Result<Secrets, SecretsError> {
        Secrets::open(&self.secrets, &self.key)
    }

    fn seal(&self, plain: &str) {
        let key = key::load(&self.key).unwrap().unwrap();
        let sealed = age::encrypt(&key.to_public(), plain.as_bytes()).unwrap();
        write_atomically(&self.secrets, &sealed).unwrap();
    }

    fn unseal(&self) -> String {
        let key = key::load(&self.key).unwrap().unwrap();
        String::from_utf8(age::decrypt(&key, &std::fs::read(&self.secrets).unwrap()).unwrap()).unwrap()
    }
}

fn repo(n: u8) -> RepoId {
    RepoId::mint(Timestamp::from_millis(1), [n; 10])
}

fn secret(password: &str) -> CredentialSecret {
    CredentialSecret {
        url: "rest:http://127.0.0.1:8000/".into(),
        password: Secret::new(password),
        rest_user: Some("me".into()),
        rest_password: Some(Secret::new("rest-pw")),
        env: [("AWS_SECRET_ACCESS_KEY".to_owned(), Secret::new("s3-pw"))].into(),
    }
}

fn update(kind: CredentialKind, revision: i64, password: Option<&str>) -> ConfigUpdate {
    ConfigUpdate {
        repo_id: repo(1),
        kind,
        revision,
        credential: password.map(secret),
        restic_id: None,
        keep: true,
    }
}

#[test]
fn what_is_saved_is_there_after_a_restart_and_not_readable_on_disk() {
    let place = place();
    let mut secrets = place.open().unwrap();
    assert!(matches!(secrets.token(), Err(SecretsError::NoToken)));
    secrets.set_token(Secret::new("rma_token"));
    secrets.apply(&update(CredentialKind::Repo, 1, Some("pw-one"))).unwrap();
    let again = place.open().unwrap();
    assert_eq!(again.token().unwrap().expose(), "rma_token");
    assert_eq!(again.credential(repo(1), CredentialKind::Repo).unwrap().secret, secret("pw-one"));
    assert_eq!(again.repos(CredentialKind::Repo), [repo(1)]);
    let sealed = std::fs::read(&place.secrets).unwrap();
    assert!(!sealed.windows(6).any(|bytes| bytes == b"pw-one"));
    for file in [&place.secrets, &place.key] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(!format!("{again:?}").contains("pw-one"));
}

#[test]
fn a_missing_credential_is_a_condition_of_its_own() {
    let place = place();
    let mut secrets = place.open().unwrap();
    secrets.apply(&update(CredentialKind::Repo, 1, Some("pw"))).unwrap();
    let error = secrets.credential(repo(1), CredentialKind::Admin).unwrap_err();
    assert!(matches!(error, SecretsError::NoSuchCredential { kind: CredentialKind::Admin, .. }), "{error}");
}

#[test]
fn the_newest_word_counts_whatever_its_revision() {
    let place = place();
    let mut secrets = place.open().unwrap();
    assert_eq!(secrets.apply(&update(CredentialKind::Repo, 3, Some("three"))).unwrap(), Applied::Changed);
    assert_eq!(secrets.apply(&update(CredentialKind::Repo, 3, Some("three"))).unwrap(), Applied::Unchanged);
    // Detached and attached again while this agent was away.
    assert_eq!(secrets.apply(&update(CredentialKind::Repo, 1, Some("anew"))).unwrap(), Applied::Changed);
    assert_eq!(secrets.credential(repo(1), CredentialKind::Repo).unwrap().secret, secret("anew"));
}

#[test]
fn a_revocation_leaves_no_trace_and_a_credential_whose_revisions_begin_anew_is_taken() {
    let place = place();
    let mut secrets = place.open().unwrap();
    secrets.apply(&update(CredentialKind::Repo, 3, Some("before"))).unwrap();
    let revoked = update(CredentialKind::Repo, i64::MAX, None);
    assert_eq!(secrets.apply(&revoked).unwrap(), Applied::Changed);
    assert_eq!(secrets.apply(&revoked).unwrap(), Applied::Unchanged);
    assert!(!place.unseal().contains("before"));
    let mut again = place.open().unwrap();
    assert!(again.credential(repo(1), CredentialKind::Repo).is_err());
    assert_eq!(again.apply(&update(CredentialKind::Repo, 1, Some("anew"))).unwrap(), Applied::Changed);
    // Whatever revision the revocation carries.
    again.apply(&update(CredentialKind::Repo, 0, None)).unwrap();
    assert!(again.credential(repo(1), CredentialKind::Repo).is_err());
    let passing = ConfigUpdate { keep: false, ..update(CredentialKind::Admin, 2, Some("passing")) };
    again.apply(&passing).unwrap();
    assert_eq!(again.apply(&update(CredentialKind::Admin, 1, None)).unwrap(), Applied::Changed);
    assert!(again.credential(repo(1), CredentialKind::Admin).is_err());
}

#[test]
fn a_revocation_that_an_older_agent_remembered_counts_for_nothing() {
    let place = place();
    place.open().unwrap();
    place.seal(&format!(
        r#"{{"form":"restic-manager agent secrets 1","agent_token":null,"credentials":[{{"repo_id":"{}",
        "kind":"repo","revision":{},"restic_id":null,"credential":null}}]}}"#,
        repo(1),
        i64::MAX
    ));
    let mut secrets = place.open().unwrap();
    assert_eq!(secrets.apply(&update(CredentialKind::Repo, 1, Some("anew"))).unwrap(), Applied::Changed);
    assert_eq!(
        place.open().unwrap().credential(repo(1), CredentialKind::Repo).unwrap().secret,
        secret("anew")
    );
}

#[test]
fn credentials_of_repositories_that_are_not_ours_leave_the_disk() {
    let place = place();
    let mut secrets = place.open().unwrap();
    secrets.set_token(Secret::new("rma_t"));
    for kind in [CredentialKind::Repo, CredentialKind::Admin] {
        secrets.apply(&update(kind, 1, Some("mine"))).unwrap();
        secrets.apply(&ConfigUpdate { repo_id: repo(2), ..update(kind, 1, Some("theirs")) }).unwrap();
    }
    assert_eq!(secrets.keep_only(&[repo(1)].into()).unwrap(), Applied::Changed);
    assert_eq!(secrets.keep_only(&[repo(1)].into()).unwrap(), Applied::Unchanged);
    let stored = place.unseal();
    assert!(stored.contains("mine") && !stored.contains("theirs"));
    secrets.forget_credentials().unwrap();
    let stored = place.unseal();
    assert!(!stored.contains("mine") && stored.contains("rma_t"));
}

#[test]
fn what_must_not_be_kept_lives_in_memory_only_and_takes_the_old_copy_off_the_disk() {
    let place = place();
    let mut secrets = place.open().unwrap();
    secrets.apply(&update(CredentialKind::Admin, 1, Some("kept"))).unwrap();
    let passing = ConfigUpdate { keep: false, ..update(CredentialKind::Admin, 2, Some("passing")) };
    secrets.apply(&passing).unwrap();
    assert_eq!(secrets.credential(repo(1), CredentialKind::Admin).unwrap().secret, secret("passing"));
    let stored = place.unseal();
    assert!(!stored.contains("passing") && !stored.contains("kept"));
    secrets.forget_passing();
    assert!(secrets.credential(repo(1), CredentialKind::Admin).is_err());
}

#[test]
fn the_older_flat_form_is_read_and_written_back_in_the_present_form() {
    let place = place();
    place.open().unwrap();
    place.seal(r#"{"repo_url":"rest:http://nas:8000/web","repo_password":"old-pw","repo_username":"web","append_only":true}"#);
    let mut secrets = place.open().unwrap();
    let found = secrets.credential(repo(9), CredentialKind::Repo).unwrap();
    assert_eq!(
        (found.secret.url.as_str(), found.secret.password.expose()),
        ("rest:http://nas:8000/web", "old-pw")
    );
    assert_eq!(found.secret.rest_user.as_deref(), Some("web"));
    assert!(secrets.credential(repo(9), CredentialKind::Admin).is_err());
    assert!(place.unseal().starts_with(r#"{"repo_url""#), "reading changes nothing");

    secrets.set_token(Secret::new("rma_t"));
    secrets.save().unwrap();
    assert!(place.unseal().starts_with(r#"{"form":"restic-manager agent secrets 1""#));
    let mut again = place.open().unwrap();
    assert_eq!(again.credential(repo(9), CredentialKind::Repo).unwrap(), found);
    // Once the server says which credential belongs to which repository, the old one is no answer for others.
    again.apply(&update(CredentialKind::Repo, 1, Some("new"))).unwrap();
    assert!(again.credential(repo(9), CredentialKind::Repo).is_err());
}

#[test]
fn secrets_that_cannot_be_opened_or_understood_are_never_overwritten() {
    let place = place();
    let mut secrets = place.open().unwrap();
    secrets.apply(&update(CredentialKind::Repo, 1, Some("pw"))).unwrap();
    let good = std::fs::read(&place.secrets).unwrap();
    for at in [0, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        write_atomically(&place.secrets, &bad).unwrap();
        let error = place.open().unwrap_err();
        assert!(matches!(error, SecretsError::CannotOpen { .. }), "{error}");
        assert!(error.hint().is_some());
        assert_eq!(std::fs::read(&place.secrets).unwrap(), bad);
    }
    for plain in ["", "{}", "[1]", r#"{"form":"restic-manager agent secrets 9"}"#, r#"{"repo_url":7}"#] {
        place.seal(plain);
        let before = std::fs::read(&place.secrets).unwrap();
        assert!(matches!(place.open(), Err(SecretsError::Damaged { .. })), "{plain}");
        assert_eq!(std::fs::read(&place.secrets).unwrap(), before);
    }
}

#[test]
fn a_key_is_never_made_where_secrets_exist() {
    let place = place();
    place.open().unwrap().save().unwrap();
    std::fs::remove_file(&place.key).unwrap();
    let error = place.open().unwrap_err();
    assert!(matches!(error, SecretsError::KeyMissing { .. }), "{error}");
    assert!(!place.key.exists());
    assert!(error.hint().unwrap().contains("--key-file"));
}

#[test]
fn files_that_others_may_read_are_refused() {
    let place = place();
    place.open().unwrap().save().unwrap();
    for file in [&place.secrets, &place.key] {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(place.open(), Err(SecretsError::State(StateError::TooOpen { .. }))));
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}
