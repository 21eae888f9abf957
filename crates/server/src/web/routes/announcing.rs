//! Agents that announce themselves, and the person who decides about them.

use http::StatusCode;
use restic_manager_core::api::{
    AnnounceRequest, Announced, AnnouncedRequest, ApproveRequest, ApprovedView, ClaimRequest, EnrollResponse,
    Page, PendingHostView,
};
use restic_manager_core::id::PendingHostId;

use super::super::answer::{json, no_content, ok};
use super::super::ask::Ask;
use super::super::guard::User;
use super::super::table::{Answer, Route};
use super::{NoBody, PageParams};
use crate::app::{AppError, ErrorKind};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::public::<__path_announce, _>(announce),
        Route::public::<__path_announced, _>(announced),
        Route::public::<__path_claim, _>(claim),
        Route::user::<__path_list, _>(list),
        Route::user::<__path_show, _>(show),
        Route::user::<__path_approve, _>(approve),
        Route::user::<__path_reject, _>(reject),
    ]
}

/// Announces an agent without a token. It waits for a person, at most an hour; at most 100 wait, and an address may announce 10 times
/// a minute.
#[utoipa::path(post, path = "/api/agents/announce", operation_id = "announce_agent", tag = "agents", request_body = AnnounceRequest,
    responses((status = 202, description = "It waits, or was decided.", body = Announced)))]
async fn announce(mut ask: Ask) -> Answer {
    ask.state.limits.announcement(ask.client.address)?;
    let request: AnnounceRequest = ask.json().await?;
    let announced = ask.state.accounts.announce(request, ask.client.address).await?;
    Ok(json(StatusCode::ACCEPTED, &announced))
}

/// How an announcement stands; whoever asks knows its key.
#[utoipa::path(post, path = "/api/agents/announce/state", operation_id = "announced_agent", tag = "agents",
    request_body = AnnouncedRequest,
    responses((status = 200, description = "Waiting, approved or rejected.", body = Announced)))]
async fn announced(mut ask: Ask) -> Answer {
    let request: AnnouncedRequest = ask.json().await?;
    match ask.state.accounts.announced(&request.public_key).await {
        Ok(announced) => Ok(ok(&announced)),
        Err(error) => Err(counted(&ask, error)?),
    }
}

/// Trades a signature over the present challenge for the agent's token; each challenge is good once.
#[utoipa::path(post, path = "/api/agents/announce/claim", operation_id = "claim_agent", tag = "agents", request_body = ClaimRequest,
    responses((status = 201, description = "Enrolled.", body = EnrollResponse)))]
async fn claim(mut ask: Ask) -> Answer {
    let request: ClaimRequest = ask.json().await?;
    match ask.state.accounts.claim(&request).await {
        Ok(enrolled) => Ok(json(StatusCode::CREATED, &enrolled)),
        Err(error) => Err(counted(&ask, error)?),
    }
}

/// What is no guess costs nothing: agents that wait ask every few seconds, and many may stand behind one address.
fn counted(
    ask: &Ask,
    error: AppError,
) -> Result<super::super::answer::Refusal, super::super::answer::Refusal> {
    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unauthenticated | ErrorKind::Invalid) {
        ask.state.limits.address(ask.client.address)?;
    }
    Ok(error.into())
}

/// Announced hosts that wait to be approved or rejected, oldest first.
#[utoipa::path(get, path = "/api/pending-hosts", operation_id = "list_pending_hosts", tag = "hosts", params(PageParams),
    responses((status = 200, description = "A page.", body = Page<PendingHostView>)))]
async fn list(_: User, ask: Ask) -> Answer {
    let list = ask.query::<PageParams>()?.into();
    Ok(ok(&ask.state.app.pending_hosts(&list).await?))
}

/// An announced host, also after it was decided.
#[utoipa::path(get, path = "/api/pending-hosts/{id}", operation_id = "show_pending_host", tag = "hosts",
    params(("id" = PendingHostId, Path, description = "The announced host.")),
    responses((status = 200, description = "The announced host.", body = PendingHostView)))]
async fn show(_: User, ask: Ask) -> Answer {
    let id = ask.id("id", "pending host")?;
    Ok(ok(&ask.state.app.pending_host(id).await?))
}

/// Makes a host of an announced agent, with a repository when one is given. The fingerprint must be the one seen on the machine.
#[utoipa::path(post, path = "/api/pending-hosts/{id}/approve", operation_id = "approve_pending_host", tag = "hosts",
    request_body = ApproveRequest,
    params(("id" = PendingHostId, Path, description = "The announced host.")),
    responses((status = 201, description = "Approved; the agent fetches its token by itself.", body = ApprovedView)))]
async fn approve(user: User, mut ask: Ask) -> Answer {
    let id = ask.id("id", "pending host")?;
    let request: ApproveRequest = ask.json().await?;
    Ok(json(StatusCode::CREATED, &ask.state.app.approve_host(&user.caller, id, request).await?))
}

/// Sends an announced agent away; it is told so.
#[utoipa::path(post, path = "/api/pending-hosts/{id}/reject", operation_id = "reject_pending_host", tag = "hosts",
    params(("id" = PendingHostId, Path, description = "The announced host.")),
    responses((status = 204, description = "Rejected.")))]
async fn reject(user: User, mut ask: Ask) -> Answer {
    let id = ask.id("id", "pending host")?;
    let NoBody {} = ask.json_or_default().await?;
    ask.state.app.reject_host(&user.caller, id).await?;
    Ok(no_content())
}
