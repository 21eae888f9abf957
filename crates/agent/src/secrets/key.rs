//! The age identity that opens the secrets.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use age::secrecy::ExposeSecret;
use age::x25519;
use zeroize::Zeroizing;

use super::{SecretsError, read_private};
use crate::state::{StateError, write_atomically};

/// Reads the key; none when there is no file.
pub(super) fn load(path: &Path) -> Result<Option<x25519::Identity>, SecretsError> {
    let Some(bytes) = read_private(path)?.map(Zeroizing::new) else { return Ok(None) };
    let no_key = || SecretsError::NoKey { path: path.to_owned() };
    let text = std::str::from_utf8(&bytes).map_err(|_| no_key())?;
    // Comments as `age-keygen` writes them are allowed.
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .ok_or_else(no_key)?;
    line.parse().map(Some).map_err(|_| no_key())
}

/// Makes a key where there is none.
pub(super) fn make(path: &Path) -> Result<x25519::Identity, SecretsError> {
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(StateError::io("create", folder))?;
    }
    let key = x25519::Identity::generate();
    let text = key.to_string();
    let line = Zeroizing::new(format!(
        "# opens secrets.age in the agent's state directory; keep it apart from copies of that\n{}\n",
        text.expose_secret()
    ));
    write_atomically(path, line.as_bytes()).map_err(StateError::io("write", path))?;
    Ok(key)
}
