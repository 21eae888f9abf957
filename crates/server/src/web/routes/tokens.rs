//! API tokens.

use http::StatusCode;
use restic_manager_core::api::{Page, TokenInfo, TokenRequest, TokenResponse};
use restic_manager_core::id::TokenId;

use super::super::answer::{json, no_content, ok};
use super::super::ask::Ask;
use super::super::guard::User;
use super::super::table::{Answer, Route};
use super::PageParams;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::user::<__path_list, _>(list),
        Route::user::<__path_create, _>(create),
        Route::user::<__path_revoke, _>(revoke),
    ]
}

/// One's own API tokens, newest first, revoked ones included.
#[utoipa::path(get, path = "/api/tokens", operation_id = "list_tokens", tag = "auth", params(PageParams),
    responses((status = 200, description = "A page.", body = Page<TokenInfo>)))]
async fn list(user: User, ask: Ask) -> Answer {
    let list = ask.query::<PageParams>()?.into();
    Ok(ok(&ask.state.accounts.tokens(&user.caller, &list).await?))
}

/// Makes an API token; it is shown this once.
#[utoipa::path(post, path = "/api/tokens", operation_id = "create_token", tag = "auth", request_body = TokenRequest,
    responses((status = 201, description = "Made.", body = TokenResponse)))]
async fn create(user: User, mut ask: Ask) -> Answer {
    let request: TokenRequest = ask.json().await?;
    Ok(json(StatusCode::CREATED, &ask.state.accounts.create_token(&user.caller, request).await?))
}

/// Revokes an API token of one's own.
#[utoipa::path(delete, path = "/api/tokens/{id}", operation_id = "revoke_token", tag = "auth",
    params(("id" = TokenId, Path, description = "The token.")),
    responses((status = 204, description = "Revoked.")))]
async fn revoke(user: User, ask: Ask) -> Answer {
    let id = ask.id("id", "API token")?;
    ask.state.accounts.revoke_token(&user.caller, id).await?;
    Ok(no_content())
}
