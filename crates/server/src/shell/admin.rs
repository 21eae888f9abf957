//! What the owner of the machine can do without a login.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Write as _};
use std::path::Path;

use restic_manager_core::id::AuditId;
use restic_manager_core::model::{Actor, AuditEntry};
use restic_manager_core::secret::Secret;
use restic_manager_core::text::LoginName;
use restic_manager_store::{Accounts, SqliteStore, UserRow};
use zeroize::Zeroizing;

use super::cli::{AdminCommand, ResetPassword};
use super::{BootstrapToken, DataDir, Failure};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::password::{Passwords, check_length};
use crate::random::{OsRandom, Random};

/// Does it on the database itself, beside a server that may be running.
///
/// # Errors
///
/// [`Failure`]; nothing was changed then.
pub async fn admin(command: &AdminCommand, config: &Config) -> Result<(), Failure> {
    let data_dir = DataDir::visit(&config.data_dir.value)?;
    let store = SqliteStore::open(&data_dir.database()).await?;
    match command {
        AdminCommand::ResetPassword(wanted) => reset_password(&store, wanted).await,
        AdminCommand::BootstrapToken => bootstrap_token(&store, &data_dir).await,
    }
}

async fn reset_password(store: &SqliteStore, wanted: &ResetPassword) -> Result<(), Failure> {
    let user = find(store, &wanted.user).await?;
    let password = read_password(wanted.password_file.as_deref(), &wanted.user)?;
    set_password(store, &user, &password, &SystemClock::new(), &OsRandom).await?;
    tell(&format!("the password of {} is set; all sessions of that user are ended\n", user.name))
}

async fn find(store: &dyn Accounts, name: &str) -> Result<UserRow, Failure> {
    let none = || Failure::NoUser { name: name.to_owned() };
    let name = LoginName::new(name).map_err(|_| none())?;
    store.user_by_name(&name).await?.ok_or_else(none)
}

async fn set_password(
    store: &dyn Accounts,
    user: &UserRow,
    password: &Secret,
    clock: &dyn Clock,
    random: &dyn Random,
) -> Result<(), Failure> {
    let hash = Passwords::new().hash(password).await?;
    let now = clock.now();
    let mut detail = serde_json::Map::new();
    detail.insert("name".to_owned(), user.name.as_str().into());
    let audit = AuditEntry {
        id: AuditId::mint(now, random.id_bytes()),
        at: now,
        actor: Actor::system(),
        action: "user.password_reset".to_owned(),
        subject_kind: "user".to_owned(),
        subject_id: user.id.to_string(),
        detail,
    };
    if store.set_password(user.id, &hash, audit).await? {
        return Ok(());
    }
    Err(Failure::NoUser { name: user.name.to_string() })
}

async fn bootstrap_token(store: &dyn Accounts, data_dir: &DataDir) -> Result<(), Failure> {
    if store.has_users().await? {
        return Err(Failure::Bootstrapped);
    }
    let token = BootstrapToken::of(data_dir);
    token
        .renew(&OsRandom)
        .map_err(|source| Failure::System { doing: "write the bootstrap token", source })?;
    tell(&format!("{}\n", token.path().display()))
}

fn read_password(file: Option<&Path>, user: &str) -> Result<Secret, Failure> {
    let failed = |source| Failure::PasswordInput { source };
    let password = match file {
        Some(path) if path == Path::new("-") => first_line(&mut io::stdin().lock()).map_err(failed)?,
        Some(path) => first_line(&mut BufReader::new(File::open(path).map_err(failed)?)).map_err(failed)?,
        None if io::stdin().is_terminal() => return prompt(user),
        None => first_line(&mut io::stdin().lock()).map_err(failed)?,
    };
    check_length(&password)?;
    Ok(password)
}

fn prompt(user: &str) -> Result<Secret, Failure> {
    let ask = |question: String| {
        rpassword::prompt_password(question)
            .map(Secret::new)
            .map_err(|source| Failure::PasswordInput { source })
    };
    let first = ask(format!("New password of {user}: "))?;
    check_length(&first)?;
    if ask("The same again: ".to_owned())? != first {
        return Err(Failure::PasswordsDiffer);
    }
    Ok(first)
}

fn first_line(input: &mut impl BufRead) -> io::Result<Secret> {
    let mut line = Zeroizing::new(String::new());
    input.read_line(&mut line)?;
    Ok(Secret::new(line.trim_end_matches(['\n', '\r'])))
}

fn tell(text: &str) -> Result<(), Failure> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|source| Failure::System { doing: "write to standard output", source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        let read = |mut text: &[u8]| first_line(&mut text).unwrap().expose().to_owned();
        assert_eq!(read(b" correct horse \r\nsecond"), " correct horse ");
        assert_eq!(read(b"correct horse"), "correct horse");
        assert_eq!(read(b""), "");
    }
}
