//! What people give that is no flag: passwords, tokens, confirmations.

use std::io::{BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};

use restic_manager_core::secret::Secret;

use crate::context::readable_by_others;
use crate::exit::Exit;

const LONGEST_SECRET: u64 = 64 * 1024;

/// Why something was not given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("{what} is needed, and there is no terminal to ask on")]
    NoTerminal { what: String, hint: String },
    #[error("{what} cannot be read from {from}")]
    Unreadable { what: String, from: String, source: std::io::Error },
    #[error("{what} is empty")]
    Empty { what: String },
    #[error("{what} has more than 64 KiB")]
    TooLong { what: String },
    #[error("the two passwords differ")]
    Differ,
    #[error("standard input cannot be read twice")]
    StdinTwice,
    #[error("this {does}, and there is no terminal to confirm it on")]
    Unconfirmed { does: String, option: &'static str },
    #[error("{undone}: the name was not typed")]
    NotConfirmed { undone: String, option: &'static str },
}

impl InputError {
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::NoTerminal { .. }
            | Self::Empty { .. }
            | Self::TooLong { .. }
            | Self::Differ
            | Self::StdinTwice
            | Self::Unconfirmed { .. }
            | Self::NotConfirmed { .. } => Exit::Usage,
            Self::Unreadable { .. } => Exit::Local,
        }
    }

    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NoTerminal { hint, .. } => hint.clone(),
            Self::Unreadable { .. } => "check the path and who may read it; `-` is standard input".to_owned(),
            Self::Empty { .. } | Self::TooLong { .. } => "give the secret alone, on one line".to_owned(),
            Self::Differ => "type the same password twice".to_owned(),
            Self::StdinTwice => "give `-` to one option only and files to the others".to_owned(),
            Self::Unconfirmed { option, .. } => format!("say {option} to do it without being asked"),
            Self::NotConfirmed { option, .. } => format!("type the name exactly, or say {option}"),
        }
    }
}

/// Where a secret comes from. A secret is never an argument: every user of a machine can read those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretSource {
    Prompt,
    Stdin,
    File(PathBuf),
}

impl SecretSource {
    /// `-` is standard input, anything else a file; nothing means to ask.
    pub(crate) fn of(path: Option<&Path>) -> Self {
        match path {
            None => Self::Prompt,
            Some(path) if path == Path::new("-") => Self::Stdin,
            Some(path) => Self::File(path.to_owned()),
        }
    }
}

/// Reads the secrets of one command.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    stdin_used: bool,
}

impl Secrets {
    /// Reads one secret. `option` is the flag that would have named a file.
    pub(crate) fn read(
        &mut self,
        what: &str,
        option: &str,
        source: &SecretSource,
    ) -> Result<Secret, InputError> {
        match source {
            SecretSource::Prompt => prompt(what, option),
            SecretSource::File(path) => secret_file(what, path),
            SecretSource::Stdin if self.stdin_used => Err(InputError::StdinTwice),
            SecretSource::Stdin => {
                self.stdin_used = true;
                secret_from(what, "standard input", std::io::stdin().lock())
            }
        }
    }

    /// As [`Self::read`]; a password that is typed is asked for twice.
    pub(crate) fn read_new(
        &mut self,
        what: &str,
        option: &str,
        source: &SecretSource,
    ) -> Result<Secret, InputError> {
        let first = self.read(what, option, source)?;
        if *source == SecretSource::Prompt && prompt(&format!("{what} again"), option)? != first {
            return Err(InputError::Differ);
        }
        Ok(first)
    }
}

/// The secret in a file, without the line end after it.
pub(crate) fn secret_file(what: &str, path: &Path) -> Result<Secret, InputError> {
    let from = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|source| InputError::Unreadable {
        what: what.to_owned(),
        from: from.clone(),
        source,
    })?;
    if readable_by_others(path) {
        crate::ui::warn(&format!("{from} can be read by others; chmod 600 it"));
    }
    secret_from(what, &from, file)
}

fn secret_from(what: &str, from: &str, reader: impl Read) -> Result<Secret, InputError> {
    let what = || what.to_owned();
    let mut text = String::new();
    let read = reader.take(LONGEST_SECRET + 1).read_to_string(&mut text);
    read.map_err(|source| InputError::Unreadable { what: what(), from: from.to_owned(), source })?;
    let text = Secret::new(text);
    if text.expose().len() as u64 > LONGEST_SECRET {
        return Err(InputError::TooLong { what: what() });
    }
    let line = text.expose().strip_suffix('\n').unwrap_or(text.expose());
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(InputError::Empty { what: what() });
    }
    Ok(Secret::new(line))
}

fn prompt(what: &str, option: &str) -> Result<Secret, InputError> {
    let missing = || InputError::NoTerminal {
        what: what.to_owned(),
        hint: format!("name a file with {option}, or `-` for standard input"),
    };
    if !std::io::stdin().is_terminal() {
        return Err(missing());
    }
    let text = rpassword::prompt_password(format!("{what}: ")).map_err(|_| missing())?;
    if text.is_empty() {
        return Err(InputError::Empty { what: what.to_owned() });
    }
    Ok(Secret::new(text))
}

/// Asks for a line that is no secret.
pub(crate) fn ask_line(what: &str, option: &str) -> Result<String, InputError> {
    if !std::io::stdin().is_terminal() {
        let hint = format!("give it with {option}");
        return Err(InputError::NoTerminal { what: what.to_owned(), hint });
    }
    crate::ui::ask(what);
    let mut line = String::new();
    let from = || "the terminal".to_owned();
    std::io::stdin().lock().read_line(&mut line).map_err(|source| InputError::Unreadable {
        what: what.to_owned(),
        from: from(),
        source,
    })?;
    match line.trim() {
        "" => Err(InputError::Empty { what: what.to_owned() }),
        line => Ok(line.to_owned()),
    }
}

/// What is done only after the name of its object was typed.
#[derive(Debug, Clone)]
pub(crate) struct Deed {
    /// What it does, as the rest of a sentence: ``deletes the host `web1` ``.
    pub(crate) does: String,
    /// What is said when it is not done: ``the host `web1` is not deleted``.
    pub(crate) undone: String,
    /// The option that stands for the typed name.
    pub(crate) option: &'static str,
}

impl Deed {
    /// Has the name typed on the terminal.
    pub(crate) fn confirm(self, name: &str) -> Result<(), InputError> {
        if !std::io::stdin().is_terminal() {
            return Err(InputError::Unconfirmed { does: self.does, option: self.option });
        }
        let typed = ask_line(&format!("This {}. Type its name to confirm", self.does), self.option);
        self.answered(name, typed.ok().as_deref())
    }

    fn answered(self, name: &str, typed: Option<&str>) -> Result<(), InputError> {
        if typed == Some(name) {
            return Ok(());
        }
        Err(InputError::NotConfirmed { undone: self.undone, option: self.option })
    }
}

/// A deletion that was confirmed on the command line already, or is still to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub(crate) struct Confirmation {
    /// Delete without asking
    #[arg(long)]
    pub(crate) yes: bool,
}

impl Confirmation {
    /// Has the name typed, unless `--yes` was given.
    pub(crate) fn confirm(self, kind: &str, name: &str) -> Result<(), InputError> {
        if self.yes {
            return Ok(());
        }
        let deed = Deed {
            does: format!("deletes the {kind} `{name}`"),
            undone: format!("the {kind} `{name}` is not deleted"),
            option: "--yes",
        };
        deed.confirm(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_after_a_secret_is_not_part_of_it() {
        let read = |text: &str| secret_from("x", "y", text.as_bytes()).map(|s| s.expose().to_owned());
        assert_eq!(read("pw\n").unwrap(), "pw");
        assert_eq!(read("pw\r\n").unwrap(), "pw");
        assert_eq!(read(" p w \n\n").unwrap(), " p w \n");
        assert!(matches!(read("\n"), Err(InputError::Empty { .. })));
        assert!(matches!(read(&"x".repeat(70_000)), Err(InputError::TooLong { .. })));
    }

    #[test]
    fn only_the_exact_name_confirms() {
        let deed = Deed { does: "deletes `web1`".into(), undone: "`web1` is kept".into(), option: "--yes" };
        assert!(deed.clone().answered("web1", Some("web1")).is_ok());
        for typed in [None, Some(""), Some("y"), Some("yes"), Some("Web1"), Some("web12")] {
            let error = deed.clone().answered("web1", typed).unwrap_err();
            assert_eq!(error.to_string(), "`web1` is kept: the name was not typed");
            assert_eq!((error.exit(), error.hint().contains("--yes")), (Exit::Usage, true));
        }
    }

    #[test]
    fn standard_input_gives_one_secret_only() {
        let mut secrets = Secrets { stdin_used: true };
        let error = secrets.read("the token", "--token-file", &SecretSource::Stdin).unwrap_err();
        assert!(matches!(error, InputError::StdinTwice));
        assert_eq!(error.exit(), Exit::Usage);
    }

    #[test]
    fn a_path_of_one_dash_is_standard_input() {
        assert_eq!(SecretSource::of(Some(Path::new("-"))), SecretSource::Stdin);
        assert_eq!(SecretSource::of(Some(Path::new("./-"))), SecretSource::File("./-".into()));
        assert_eq!(SecretSource::of(None), SecretSource::Prompt);
    }
}
