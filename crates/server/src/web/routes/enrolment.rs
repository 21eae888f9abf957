//! How agents come to belong to the fleet.

use http::StatusCode;
use restic_manager_core::api::{
    EnrollRequest, EnrollResponse, EnrollmentTokenRequest, EnrollmentTokenResponse, EnrollmentView,
};
use restic_manager_core::id::EnrollmentId;

use super::super::answer::{json, ok};
use super::super::ask::Ask;
use super::super::guard::User;
use super::super::table::{Answer, Route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::user::<__path_create_token, _>(create_token),
        Route::user::<__path_show_token, _>(show_token),
        Route::public::<__path_enroll, _>(enroll),
    ]
}

/// Makes a one-time token with which an agent can enrol within the hour; it is shown this once.
#[utoipa::path(post, path = "/api/enrollment-tokens", operation_id = "create_enrollment_token", tag = "agents",
    request_body = EnrollmentTokenRequest,
    responses((status = 201, description = "Made.", body = EnrollmentTokenResponse)))]
async fn create_token(user: User, mut ask: Ask) -> Answer {
    let request: EnrollmentTokenRequest = ask.json().await?;
    let url = ask.state.settings.server_url(&ask.host, ask.client.https);
    let made = ask.state.app.create_enrollment_token(&user.caller, request, &url).await?;
    Ok(json(StatusCode::CREATED, &made))
}

/// Whether an enrolment token was used, and by which host.
#[utoipa::path(get, path = "/api/enrollment-tokens/{id}", operation_id = "show_enrollment_token", tag = "agents",
    params(("id" = EnrollmentId, Path, description = "The enrolment token.")),
    responses((status = 200, description = "How it stands.", body = EnrollmentView)))]
async fn show_token(_: User, ask: Ask) -> Answer {
    let id = ask.id("id", "enrolment token")?;
    Ok(ok(&ask.state.app.enrollment(id).await?))
}

/// Enrols an agent's host, which uses the token up.
#[utoipa::path(post, path = "/api/agents/enroll", operation_id = "enroll", tag = "agents", request_body = EnrollRequest,
    responses((status = 201, description = "Enrolled.", body = EnrollResponse)))]
async fn enroll(mut ask: Ask) -> Answer {
    ask.state.limits.address(ask.client.address)?;
    let request: EnrollRequest = ask.json().await?;
    Ok(json(StatusCode::CREATED, &ask.state.app.enroll(request).await?))
}
