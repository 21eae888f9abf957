//! The servers this user is logged in to.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use crate::client::Body;
use crate::connection::Environment;
use crate::context::{Context, ContextFile, Contexts};
use crate::error::CliError;
use crate::ui::{Cell, Grid, Ui, View, note};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the logins
    Ls,
    /// Use this login when none is named
    Use {
        /// One of `rmctl context ls`
        name: String,
    },
    /// Forget a login; its token stays valid until it expires or is revoked
    ///
    /// `rmctl logout --context NAME` revokes the token and forgets the login. Once it is forgotten, `rmctl token revoke`
    /// does it, from another login of the same user.
    Rm {
        /// One of `rmctl context ls`
        name: String,
    },
}

/// A login without its token.
#[derive(Debug, Serialize, Deserialize)]
struct Shown {
    name: String,
    server: String,
    username: Option<String>,
    current: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct List {
    items: Vec<Shown>,
}

impl Command {
    pub(crate) fn run(&self, environment: &Environment, ui: &Ui) -> Result<(), CliError> {
        let file = ContextFile::locate(environment.config_dir.clone())?;
        let mut contexts = file.read()?;
        match self {
            Self::Ls => {
                let text = serde_json::to_string(&listed(&contexts)).map_err(std::io::Error::other)?;
                ui.show::<List>(&Body::new(text), |list, _| table(list))
            }
            Self::Use { name } => {
                contexts.get(name)?;
                contexts.current = Some(name.clone());
                file.write(&contexts)?;
                note(&format!("{name} is used when no other server is named"));
                Ok(())
            }
            Self::Rm { name } => {
                let context = contexts.remove(name)?;
                file.write(&contexts)?;
                note(&format!("{name} is forgotten; {}", still_valid(&context)));
                Ok(())
            }
        }
    }
}

/// What is left of a login that is forgotten here, and how it ends.
fn still_valid(context: &Context) -> String {
    let stays = "its token stays valid until it expires or is revoked";
    match &context.token_id {
        Some(id) => format!("{stays}: rmctl token revoke {id}"),
        None => format!("{stays}: rmctl token ls shows it, rmctl token revoke ends it"),
    }
}

fn listed(contexts: &Contexts) -> List {
    let items = contexts.contexts.iter().map(|(name, context)| Shown {
        name: name.clone(),
        server: context.server.clone(),
        username: context.username.clone(),
        current: contexts.current.as_ref() == Some(name),
    });
    List { items: items.collect() }
}

fn table(list: &List) -> View {
    let row = |shown: &Shown| {
        vec![
            Cell::from(if shown.current { "*" } else { "" }),
            Cell::from(&shown.name),
            Cell::from(&shown.server),
            Cell::or_none(shown.username.as_ref()),
        ]
    };
    Grid::new(&["", "NAME", "SERVER", "USER"], "No logins yet: rmctl login --server URL")
        .rows(list.items.iter().map(row))
}
