//! API tokens.

use clap::Subcommand;
use restic_manager_core::api::{Page, TokenInfo, TokenRequest, TokenResponse};
use restic_manager_core::id::TokenId;
use restic_manager_core::text::DisplayName;

use super::{Listing, Session};
use crate::error::CliError;
use crate::route::Route;
use crate::ui::{Cell, Grid, Look, Tone, View, ago, note};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List tokens
    Ls {
        #[command(flatten)]
        listing: Listing,
    },
    /// Make a token; it is shown this once
    Create {
        /// What it is for
        name: DisplayName,
        /// Days until it expires; 90 when not given
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
        expires_in_days: Option<u32>,
    },
    /// End a token
    Revoke {
        /// Its id, as `rmctl token ls` shows it
        token: TokenId,
    },
}

impl Command {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let Session { client, ui } = session;
        match self {
            Self::Ls { listing } => ui.show_page(&listing.fetch(client, Route::new(["tokens"]))?, table),
            Self::Create { name, expires_in_days } => {
                let request = TokenRequest { name: name.clone(), expires_in_days: *expires_in_days };
                let body = client.post(&Route::new(["tokens"]), &request)?;
                ui.show(&body, |made: &TokenResponse, _| View::Text(made.token.expose().to_owned()))?;
                if ui.is_for_people() {
                    note("keep it now: it is not shown again; RM_TOKEN or RM_TOKEN_FILE hands it to rmctl");
                }
                Ok(())
            }
            Self::Revoke { token } => {
                let body = client.delete(&Route::new(["tokens", &token.to_string()]))?;
                ui.done(&body, "the token is revoked")
            }
        }
    }
}

fn state(token: &TokenInfo, look: &Look) -> Cell {
    if token.revoked_at.is_some() {
        return Cell::new("revoked", Tone::Faint);
    }
    if token.expires_at <= look.now {
        Cell::new("expired", Tone::Warning)
    } else {
        Cell::new("valid", Tone::Good)
    }
}

fn table(page: &Page<TokenInfo>, look: &Look) -> View {
    let row = |token: &TokenInfo| {
        vec![
            Cell::from(token.id.to_string()),
            Cell::from(token.name.as_str()),
            Cell::from(token.username.as_str()),
            state(token, look),
            Cell::from(ago(token.created_at, look.now)),
            Cell::from(ago(token.expires_at, look.now)),
            Cell::or_none(token.last_used_at.map(|at| ago(at, look.now))),
        ]
    };
    Grid::new(
        &["TOKEN", "NAME", "USER", "STATE", "MADE", "EXPIRES", "LAST USED"],
        "No tokens: rmctl token create NAME",
    )
    .sparing(&["USER", "MADE"])
    .rows(page.items.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    #[test]
    fn tokens_as_a_table() {
        let page: Page<TokenInfo> =
            serde_json::from_str(include_str!("../../tests/answers/tokens.json")).unwrap();
        insta::assert_snapshot!(table(&page, &fixed_look()).render(&fixed_look()));
    }
}
