//! The file that holds the server's age identity.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use zeroize::Zeroizing;

use super::VaultError;

/// Far above any key file; whatever is longer is something else.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads the identity; none when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Identity>, VaultError> {
    let failed = |source| VaultError::KeyFile { path: path.to_owned(), doing: "read", source };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_file() && mode & 0o077 != 0 {
        return Err(VaultError::KeyExposed { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    match file.take(MAX_BYTES).read_to_string(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(VaultError::KeyUnreadable { path: path.to_owned() });
        }
        Err(error) => return Err(failed(error)),
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next().map(str::parse), lines.next()) {
        (Some(Ok(identity)), None) => Ok(Some(identity)),
        _ => Err(VaultError::KeyUnreadable { path: path.to_owned() }),
    }
}

/// Writes the identity, unless a file of that name came first: then that one stands.
pub(super) fn create(path: &Path, identity: &Identity) -> Result<(), VaultError> {
    match write_new(path, identity) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(VaultError::KeyFile { path: path.to_owned(), doing: "made", source }),
        Ok(()) => Ok(()),
    }
}

fn write_new(path: &Path, identity: &Identity) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // A temporary file has mode 0600 from its first moment.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(
        file,
        "# The age identity of a restic-manager server. Without it no stored credential can be opened:"
    )?;
    writeln!(file, "# keep a copy, but never together with a copy of the database.")?;
    writeln!(file, "{}", identity.to_string().expose_secret())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|refused| refused.error)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;
    use crate::vault::Vault;

    fn write(path: &Path, mode: u32, text: &str) {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_key_is_made_once_for_the_owner_alone_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etc/server.key");
        let blob = Vault::open_or_create(&path, false).unwrap().seal("x", 1, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let before = fs::read_to_string(&path).unwrap();
        assert_eq!(
            Vault::open_or_create(&path, true).unwrap().open("x", 1, &blob).unwrap().as_slice(),
            b"secret"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_key_that_came_first_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.key");
        create(&path, &Identity::generate()).unwrap();
        let before = fs::read_to_string(&path).unwrap();
        create(&path, &Identity::generate()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }

    #[test]
    fn no_key_is_made_when_secrets_exist() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.key");
        let error = Vault::open_or_create(&path, true).unwrap_err();
        assert!(matches!(error, VaultError::KeyMissing { .. }), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.key");
        write(&path, 0o640, Identity::generate().to_string().expose_secret());
        let error = Vault::open_or_create(&path, false).unwrap_err();
        assert!(error.to_string().ends_with("may be read by others (mode 0640)"), "{error}");
        assert_eq!(error.hint(), format!("run `chmod 600 {}`", path.display()));
    }

    #[test]
    fn a_file_without_an_identity_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.key");
        for text in ["", "# only a comment\n", "hunter2", "AGE-SECRET-KEY-1\nAGE-SECRET-KEY-1\n"] {
            write(&path, 0o600, text);
            let error = Vault::open_or_create(&path, false).unwrap_err();
            assert!(matches!(error, VaultError::KeyUnreadable { .. }), "{error}");
            assert!(!format!("{error} {}", error.hint()).contains("hunter2"));
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            fs::remove_file(&path).unwrap();
        }
        let error = Vault::open_or_create(folder.path(), false).unwrap_err();
        assert!(matches!(error, VaultError::KeyFile { .. }), "{error}");
    }
}
