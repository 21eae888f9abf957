//! What holds for every route: it is documented, guarded, and refuses in one shape.

use std::collections::BTreeSet;

use super::*;
use crate::web::table::Route;

const ID: &str = "01900000-0000-7000-8000-000000000000";

/// The path of a route with ids in place of its parameters.
fn example(route: &Route) -> String {
    let parts = route.path.split('/').map(|part| if part.starts_with('{') { ID } else { part });
    parts.collect::<Vec<_>>().join("/")
}

fn document() -> Value {
    serde_json::from_slice(&Table::new().document()).unwrap()
}

#[test]
fn the_document_and_the_table_name_the_same_operations() {
    let table = Table::new();
    let routed: BTreeSet<(String, String)> = table
        .routes()
        .iter()
        .map(|route| (route.path.clone(), route.method.as_str().to_ascii_lowercase()))
        .collect();
    assert_eq!(routed.len(), table.routes().len(), "no route stands in the table twice");
    let mut documented = BTreeSet::new();
    for (path, item) in document()["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            documented.insert((path.clone(), method.clone()));
        }
    }
    assert_eq!(routed, documented);
    assert!(routed.len() > 45, "{}", routed.len());
}

#[test]
fn every_reference_of_the_document_resolves() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    found.insert(reference.clone());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.contains("#/components/schemas/ErrorBody"));
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn every_operation_says_how_it_is_reached_what_it_is_called_and_how_it_refuses() {
    let document = document();
    assert_eq!(document["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path}"));
            assert!(names.insert(name.to_owned()), "{name} names two operations");
            let error = "/responses/default/content/application~1json/schema/$ref";
            assert_eq!(
                operation.pointer(error).and_then(Value::as_str),
                Some("#/components/schemas/ErrorBody"),
                "{method} {path}"
            );
            let documented = operation["parameters"].as_array().into_iter().flatten();
            let in_path = documented.filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(in_path, path.matches('{').count(), "{method} {path}");
            for requirement in operation["security"].as_array().unwrap() {
                for scheme in requirement.as_object().unwrap().keys() {
                    assert!(document["components"]["securitySchemes"][scheme].is_object(), "{scheme}");
                }
            }
            let writes = ["post", "put", "patch"].contains(&method.as_str());
            let asks = ["ask_repo_", "ask_host_"].iter().any(|start| name.starts_with(start));
            let without = [
                "logout",
                "run_source_group",
                "cancel_job",
                "give_up_job",
                "rerun_job",
                "run_pending_run",
                "reject_pending_host",
                "preview_forget",
                "override_check",
            ]
            .contains(&name)
                || asks && !name.ends_with("_unlock");
            assert_eq!(operation["requestBody"].is_object(), writes && !without, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_document_is_served() {
    let answer = House::new().answer(get("/api/openapi.json")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(body::<Value>(&answer), document());
}

#[tokio::test]
async fn every_route_but_the_public_ones_asks_who_is_there() {
    let house = House::new();
    let mut open = Vec::new();
    for route in Table::new().routes() {
        let answer = house.answer(ask(route.method.as_str(), &example(route))).await;
        let code = match &route.handler {
            Handler::Public(_) => {
                open.push(route.path.clone());
                assert_ne!(answer.status(), 401, "{} {}", route.method, route.path);
                continue;
            }
            Handler::Agent(_) => "not_enrolled",
            Handler::User(_) => "not_logged_in",
        };
        assert_eq!(refused(&answer), (401, code.to_owned()), "{} {}", route.method, route.path);
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    }
    let expected = [
        "/healthz",
        "/readyz",
        "/api/version",
        "/api/openapi.json",
        "/api/bootstrap",
        "/api/auth/login",
        "/api/agents/enroll",
        "/api/agents/announce",
        "/api/agents/announce/state",
        "/api/agents/announce/claim",
    ];
    assert_eq!(open, expected);
}

#[tokio::test]
async fn a_route_says_which_methods_it_has() {
    let house = House::new();
    let table = Table::new();
    for route in table.routes() {
        let answer = house.answer(ask("TRACE", &example(route))).await;
        assert_eq!(refused(&answer), (405, "method_not_allowed".to_owned()), "{}", route.path);
        let allowed = answer.headers()["allow"].to_str().unwrap();
        assert!(allowed.split(", ").any(|method| method == route.method.as_str()), "{allowed}");
        let preflight =
            house.answer(ask("OPTIONS", &example(route)).header("origin", "https://x.example")).await;
        assert_eq!(preflight.status(), 405);
        assert!(preflight.headers().keys().all(|name| !name.as_str().starts_with("access-control")));
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_in_the_same_shape() {
    let house = House::new();
    for path in
        ["/nothing", "/api", "/api/nothing", "/api/hosts/", "/api//hosts", "/api/hosts/x/y/z/..", "/%00"]
    {
        assert_eq!(refused(&house.answer(get(path)).await), (404, "no_such_route".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_path_id_that_is_none_or_unknown_is_named() {
    let house = House::new();
    let token = house.token().await;
    for route in Table::new().routes().iter().filter(|route| route.path.contains('{')) {
        if route.method != Method::GET && route.method != Method::DELETE {
            continue;
        }
        let path = example(route).replace(ID, "7");
        let answer = house.answer(bearer(ask(route.method.as_str(), &path), &token)).await;
        assert_eq!(refused(&answer).0, 404, "{} {path}", route.method);
        assert!(body::<ErrorBody>(&answer).message.contains("`7`"), "{path}");
        let answer = house.answer(bearer(ask(route.method.as_str(), &example(route)), &token)).await;
        assert_eq!(refused(&answer), (404, "not_found".to_owned()), "{} {}", route.method, route.path);
    }
}

#[tokio::test]
async fn every_answer_is_hardened() {
    let house = House::new();
    for request in [get("/healthz"), get("/nothing"), get("/api/hosts"), ask("PUT", "/healthz")] {
        let answer = house.answer(request).await;
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("referrer-policy"), "no-referrer");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let house = House::new();
    let (full, head) =
        (house.answer(get("/api/version")).await, house.answer(ask("HEAD", "/api/version")).await);
    assert_eq!((full.status(), head.status()), (http::StatusCode::OK, http::StatusCode::OK));
    assert_eq!(full.headers(), head.headers());
    assert!(!full.body().is_empty() && head.body().is_empty());
}
