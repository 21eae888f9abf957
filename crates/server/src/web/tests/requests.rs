//! What a request may look like: types, sizes, names, values.

use restic_manager_store::SqliteStore;

use super::*;

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let house = House::new();
    let token = house.token().await;
    let untold = || bearer(post("/api/repos"), &token).body(r#"{"name": "nas"}"#);
    let send = |kind: &str| untold().header("content-type", kind);
    assert_eq!(refused(&house.answer(untold()).await), (415, "json_expected".to_owned()));
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
        assert_eq!(refused(&house.answer(send(kind)).await), (415, "json_expected".to_owned()), "{kind}");
    }
    assert_eq!(house.answer(send("Application/JSON; charset=utf-8")).await.status(), 201);
}

#[tokio::test]
async fn a_body_of_two_mebibytes_is_refused_with_and_without_its_length() {
    let house = House::new();
    let token = house.token().await;
    let text = format!(r#"{{"name": "{}"}}"#, "x".repeat(2 << 20));
    let send = || bearer(post("/api/repos"), &token).header("content-type", "application/json");
    let plain = house.answer(send().body(&text)).await;
    assert_eq!(refused(&plain), (413, "body_too_large".to_owned()));
    let length = text.len().to_string();
    let announced = house.answer(send().header("content-length", length).body(&text)).await;
    assert_eq!(refused(&announced), (413, "body_too_large".to_owned()));
    let largest = format!(r#"{{"name": "nas"{}}}"#, " ".repeat((1 << 20) - 15));
    assert_eq!(largest.len(), 1 << 20);
    assert_eq!(house.answer(send().body(&largest)).await.status(), 201);
}

#[tokio::test]
async fn what_is_wrong_in_a_body_is_named() {
    let house = House::new();
    let token = house.token().await;
    let send =
        |text: &str| bearer(post("/api/repos"), &token).header("content-type", "application/json").body(text);
    let cases = [
        (r#"{"name": "nas", "colour": 1}"#, 422, "invalid", "unknown field `colour`"),
        (r#"{"name": "a\nb"}"#, 422, "invalid", "`name`: the name holds a line break"),
        (r#"{"name": 7}"#, 422, "invalid", "`name`: invalid type"),
        ("{}", 422, "invalid", "missing field `name`"),
        ("{", 400, "malformed_json", "EOF"),
        ("", 400, "malformed_json", "EOF"),
    ];
    for (text, status, code, message) in cases {
        let answer = house.answer(send(text)).await;
        assert_eq!(refused(&answer), (status, code.to_owned()), "{text}");
        assert!(body::<ErrorBody>(&answer).message.contains(message), "{text}: {:?}", answer.body());
    }
}

#[tokio::test]
async fn names_that_people_write_come_back_as_they_are() {
    let house = House::new();
    let token = house.token().await;
    let name = "Zoë's \"web\" <script>alert(1)</script> 🦀";
    let made = house.answer(bearer(post("/api/repos"), &token).json(&json!({"name": name}))).await;
    let path = format!("/api/repos/{}", body::<Value>(&made)["id"].as_str().unwrap());
    let shown = house.answer(bearer(get(&path), &token)).await;
    assert_eq!(body::<Value>(&shown)["name"], name);
    assert_eq!(shown.headers()["content-type"], "application/json");
}

#[tokio::test]
async fn a_query_is_read_strictly() {
    let house = House::new();
    let token = house.token().await;
    let cases = [
        ("/api/hosts?page=2", "unknown_parameter", "`page`"),
        ("/api/hosts?limit=many", "invalid", "`limit`"),
        ("/api/hosts?limit=0", "invalid", "`limit`"),
        ("/api/hosts?limit=501", "invalid", "`limit`"),
        ("/api/hosts?limit=1&limit=2", "invalid", "`limit`"),
        ("/api/hosts?state=away", "invalid", "`state`"),
        ("/api/hosts?tag=a,b", "invalid", "`tag`"),
        ("/api/jobs?state=queued,done", "invalid", "`done`"),
        ("/api/jobs?host_id=7", "invalid", "`host_id`"),
        ("/api/jobs?kind=backup&since=yesterday", "invalid", "`since`"),
        ("/api/status?verbose=1", "unknown_parameter", "`verbose`"),
    ];
    for (path, code, named) in cases {
        let answer = house.answer(bearer(get(path), &token)).await;
        assert_eq!(refused(&answer), (422, code.to_owned()), "{path}");
        assert!(body::<ErrorBody>(&answer).message.contains(named), "{path}: {:?}", answer.body());
    }
    for path in ["/api/hosts?q=a%20b&state=never_seen", "/api/jobs?state=queued,%20running&kind=init&since=5"]
    {
        assert_eq!(house.answer(bearer(get(path), &token)).await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn lists_come_in_pages_that_can_be_followed() {
    let house = House::new();
    let token = house.token().await;
    for name in ["a", "b", "c"] {
        let made = house.answer(bearer(post("/api/repos"), &token).json(&json!({"name": name}))).await;
        assert_eq!(made.status(), 201);
    }
    let first: Value = body(&house.answer(bearer(get("/api/repos?limit=2"), &token)).await);
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let cursor = first["next_cursor"].as_str().unwrap();
    let query: String =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("cursor", cursor).finish();
    let second: Value =
        body(&house.answer(bearer(get(&format!("/api/repos?limit=2&{query}")), &token)).await);
    assert_eq!((second["items"][0]["name"].as_str(), &second["next_cursor"]), (Some("c"), &Value::Null));
    let foreign = house.answer(bearer(get("/api/repos?cursor=rubbish"), &token)).await;
    assert_eq!(refused(&foreign).0, 422, "{:?}", foreign.body());
}

#[tokio::test]
async fn a_fault_is_told_without_its_cause() {
    let store = Arc::new(SqliteStore::in_memory().await.unwrap());
    let house = House::over(store.clone(), settings());
    assert_eq!(house.answer(get("/readyz")).await.status(), 200);
    store.close().await;
    let ready = house.answer(get("/readyz")).await;
    assert_eq!(refused(&ready), (503, "store_failed".to_owned()));
    let version = house.answer(get("/api/version")).await;
    assert_eq!(refused(&version), (500, "store_failed".to_owned()));
    let text = String::from_utf8(version.body().to_vec()).unwrap();
    assert!(!text.contains("pool") && !text.contains("closed"), "{text}");
    assert_eq!(house.answer(get("/healthz")).await.status(), 200);
}
