//! The OpenAPI 3.1 document, made from the table of routes.

use restic_manager_core::api::ErrorBody;
use utoipa::openapi::path::{HttpMethod, Operation, Paths};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Components, ComponentsBuilder, Content, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref,
    ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use super::guard::SESSION_COOKIE;
use super::table::{Handler, Route};

const API_TOKEN: &str = "api_token";
const SESSION: &str = "session";
const AGENT_TOKEN: &str = "agent_token";

/// The document of these routes: what each of them adds to what all have in common.
pub(super) fn of(routes: &[Route]) -> OpenApi {
    let mut paths = Paths::new();
    let mut components = ComponentsBuilder::new().schema(ErrorBody::name(), ErrorBody::schema());
    for route in routes {
        let method = http_method(&route.method);
        paths.add_path_operation(&route.path, vec![method], operation(route));
        components = components.schemas_from_iter(route.schemas.iter().cloned());
    }
    let mut components = components.build();
    add_security(&mut components);
    let info = InfoBuilder::new()
        .title("restic-manager")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Manages a fleet of hosts that back up with restic. Every error is `{code, message, hint?}`; every list is \
             `{items, next_cursor}`; times are milliseconds since 1970 UTC; writes refuse unknown fields by name.",
        ))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()))
        .build();
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build()
}

fn operation(route: &Route) -> Operation {
    let mut operation = route.operation.clone();
    let error = ResponseBuilder::new()
        .description("A refusal or a fault.")
        .content("application/json", Content::new(Some(Ref::from_schema_name(ErrorBody::name()))))
        .build();
    operation.responses.responses.insert("default".to_owned(), error.into());
    operation.security = Some(match &route.handler {
        Handler::Public(_) => Vec::new(),
        Handler::Agent(_) => vec![requirement(AGENT_TOKEN)],
        Handler::User(_) => vec![requirement(API_TOKEN), requirement(SESSION)],
    });
    operation
}

fn requirement(name: &str) -> SecurityRequirement {
    SecurityRequirement::new(name, Vec::<String>::new())
}

fn add_security(components: &mut Components) {
    let bearer = |description: &str| {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build();
        SecurityScheme::Http(scheme)
    };
    components.add_security_scheme(API_TOKEN, bearer("An API token: `rmt_...`."));
    components.add_security_scheme(
        AGENT_TOKEN,
        bearer("The token an agent was given when it was enrolled: `rma_...`."),
    );
    let cookie = ApiKeyValue::with_description(
        SESSION_COOKIE,
        "The cookie of a session. Writes need the session's `x-csrf-token` and a same-origin `Origin` or \
         `Sec-Fetch-Site` as well.",
    );
    components.add_security_scheme(SESSION, SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
}

fn http_method(method: &http::Method) -> HttpMethod {
    match method.as_str() {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        "OPTIONS" => HttpMethod::Options,
        "HEAD" => HttpMethod::Head,
        "PATCH" => HttpMethod::Patch,
        "TRACE" => HttpMethod::Trace,
        _ => HttpMethod::Get,
    }
}
