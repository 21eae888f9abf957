//! The servers a user has logged in to: `contexts.toml` in the user's configuration folder.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use restic_manager_core::secret::{Secret, exposed};
use serde::{Deserialize, Serialize};

use crate::exit::Exit;

const FILE: &str = "contexts.toml";

/// Why the contexts cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContextError {
    #[error("there is no folder for the configuration")]
    NoFolder,
    #[error("{} cannot be {doing}", path.display())]
    File { path: PathBuf, doing: &'static str, source: std::io::Error },
    #[error("{} is damaged: line {line} is not understood", path.display())]
    Damaged { path: PathBuf, line: usize },
    #[error("the contexts cannot be written as TOML")]
    Unwritable(#[source] toml::ser::Error),
    #[error("there is no context `{name}`")]
    Unknown { name: String, known: Vec<String> },
}

impl ContextError {
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::NoFolder | Self::File { .. } | Self::Damaged { .. } | Self::Unwritable(_) => Exit::Local,
            Self::Unknown { .. } => Exit::NotFound,
        }
    }

    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NoFolder => "set HOME, or RMCTL_CONFIG_DIR to a folder of your choice".to_owned(),
            Self::File { .. } => {
                "check the owner and the mode of the folder, or set RMCTL_CONFIG_DIR to another one"
                    .to_owned()
            }
            Self::Damaged { .. } => "mend the file, or move it away and log in again".to_owned(),
            Self::Unwritable(_) => "give the context a plain name".to_owned(),
            Self::Unknown { known, .. } if known.is_empty() => {
                "there are none yet; rmctl login --server URL makes one".to_owned()
            }
            Self::Unknown { known, .. } => format!("there are: {}", known.join(", ")),
        }
    }
}

/// One server and the login for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// The server's address.
    pub(crate) server: String,
    /// Whose token it is, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<String>,
    /// The token's id, where this program made it: it is revoked at logout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_id: Option<String>,
    /// Whether plain HTTP to another machine was allowed at login.
    #[serde(default)]
    pub(crate) allow_plain_http: bool,
    /// The API token.
    #[serde(with = "exposed")]
    pub(crate) token: Secret,
}

/// All contexts and which one is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one that is used when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// By name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

impl Contexts {
    pub(crate) fn get(&self, name: &str) -> Result<&Context, ContextError> {
        self.contexts.get(name).ok_or_else(|| self.unknown(name))
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<Context, ContextError> {
        let removed = self.contexts.remove(name).ok_or_else(|| self.unknown(name))?;
        if self.current.as_deref() == Some(name) {
            self.current = None;
        }
        Ok(removed)
    }

    fn unknown(&self, name: &str) -> ContextError {
        ContextError::Unknown { name: name.to_owned(), known: self.contexts.keys().cloned().collect() }
    }
}

/// Where the contexts lie.
#[derive(Debug, Clone)]
pub(crate) struct ContextFile {
    path: PathBuf,
}

impl ContextFile {
    /// Below `RMCTL_CONFIG_DIR` when that is set, else in the folder the platform has for configuration.
    pub(crate) fn locate(configured: Option<PathBuf>) -> Result<Self, ContextError> {
        if let Some(folder) = configured {
            return Ok(Self { path: folder.join(FILE) });
        }
        let folders = etcetera::choose_base_strategy().map_err(|_| ContextError::NoFolder)?;
        Ok(Self { path: folders.config_dir().join("restic-manager").join(FILE) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The contexts; none at all when there is no file yet.
    pub(crate) fn read(&self) -> Result<Contexts, ContextError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => Secret::new(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Contexts::default()),
            Err(source) => return Err(self.failed("read", source)),
        };
        // The library's messages quote what they stumble over, and that may be a token.
        toml::from_str(text.expose()).map_err(|e| {
            let line = e.span().map_or(1, |span| line_of(text.expose(), span.start));
            ContextError::Damaged { path: self.path.clone(), line }
        })
    }

    /// Replaces the file in one step; only its owner can read it.
    pub(crate) fn write(&self, contexts: &Contexts) -> Result<(), ContextError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let text = toml::to_string(contexts).map_err(ContextError::Unwritable)?;
        let text = Secret::new(text);
        make_folder(folder).map_err(|source| self.failed("written", source))?;
        let write = || -> std::io::Result<()> {
            // tempfile makes files with mode 0600.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(text.expose().as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&self.path).map_err(|e| e.error)?;
            Ok(())
        };
        write().map_err(|source| self.failed("written", source))
    }

    fn failed(&self, doing: &'static str, source: std::io::Error) -> ContextError {
        ContextError::File { path: self.path.clone(), doing, source }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Whether others than the owner can read the file.
#[cfg(unix)]
pub(crate) fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o077 != 0)
}

/// Whether others than the owner can read the file: the mode of Unix is not known here.
#[cfg(not(unix))]
pub(crate) fn readable_by_others(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context {
            server: "https://x.example".into(),
            username: Some("ada".into()),
            token_id: None,
            allow_plain_http: false,
            token: Secret::new("rmt_secret"),
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_readable_by_its_owner_only_and_comes_back_as_written() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = ContextFile::locate(Some(folder.path().join("new/deep"))).unwrap();
        assert_eq!(file.read().unwrap(), Contexts::default());
        let contexts =
            Contexts { current: Some("x".into()), contexts: BTreeMap::from([("x".into(), context())]) };
        file.write(&contexts).unwrap();
        file.write(&contexts).unwrap();
        assert_eq!(file.read().unwrap(), contexts);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(file.path()), 0o600);
        assert_eq!(mode(file.path().parent().unwrap()), 0o700);
        assert!(!readable_by_others(file.path()));
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o640)).unwrap();
        assert!(readable_by_others(file.path()));
        let others = std::fs::read_dir(file.path().parent().unwrap()).unwrap().count();
        assert_eq!(others, 1, "no temporary file is left");
    }

    #[test]
    fn a_damaged_file_is_named_with_its_line_and_without_the_token_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = ContextFile::locate(Some(folder.path().to_owned())).unwrap();
        for wrong in [
            "current = \"x\"\n[contexts.x]\ntoken = \"rmt_secret\"oops\n",
            "\n[contexts]\nx = \"rmt_secret\"",
        ] {
            std::fs::write(file.path(), wrong).unwrap();
            let error = file.read().unwrap_err();
            assert!(error.to_string().contains("line 3"), "{error}");
            assert!(!format!("{error}{error:?}").contains("rmt_secret"), "{error:?}");
            assert_eq!(error.exit(), Exit::Local);
        }
    }

    #[test]
    fn an_unknown_context_names_the_known_ones() {
        let mut contexts =
            Contexts { current: Some("x".into()), contexts: BTreeMap::from([("x".into(), context())]) };
        assert_eq!(contexts.get("y").unwrap_err().hint(), "there are: x");
        contexts.remove("x").unwrap();
        assert_eq!(contexts.current, None);
        assert!(contexts.get("x").unwrap_err().hint().contains("rmctl login"));
    }

    #[test]
    fn the_token_is_masked_when_a_context_is_printed() {
        assert!(!format!("{:?}", context()).contains("rmt_secret"));
    }
}
