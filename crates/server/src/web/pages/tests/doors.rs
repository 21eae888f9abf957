//! Coming in, going out, and what is refused.

use super::*;

const SOME_ID: &str = "01900000-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_new_server_leads_to_its_first_administrator_and_then_to_the_login() {
    let house = House::new();
    for path in ["/", "/jobs", "/login"] {
        let answer = house.answer(get(path)).await;
        assert_eq!((answer.status, answer.to.as_deref()), (303, Some("/bootstrap")), "{path}");
    }
    let form = house.answer(get("/bootstrap")).await;
    assert_eq!(form.status, 200);
    assert!(form.html.contains("bootstrap-token"), "it says where the token stands");
    let browser = house.browser().await;
    assert_eq!(browser.look("/").await.status, 200);
    assert_eq!(house.answer(get("/bootstrap")).await.to.as_deref(), Some("/login"));
    assert_eq!(house.answer(get("/")).await.to.as_deref(), Some("/login"));
    let deep = house.answer(get("/jobs?state=failed&kind=backup")).await;
    assert_eq!(deep.to.as_deref(), Some("/login?next=%2Fjobs%3Fstate%3Dfailed%26kind%3Dbackup"));
    let api = house.answer(get("/api/hosts")).await;
    assert_eq!((api.status, api.header("content-type")), (401, "application/json"));
}

#[tokio::test]
async fn a_wrong_bootstrap_form_keeps_what_was_typed_and_names_the_field() {
    let house = House::new();
    let token = house.bootstrap_token.expose();
    let cases = [
        ("rmb_wrong", "zoe", PASSWORD, 401, "token is wrong"),
        (token, "zoe", "short", 422, "password"),
        (token, "z o e", PASSWORD, 422, "only letters"),
    ];
    for (token, username, password, status, said) in cases {
        let fields = [("token", token), ("username", username), ("password", password)];
        let answer = house.answer(sent("/bootstrap", &fields)).await;
        assert_eq!(answer.status, status, "{said}");
        assert!(answer.html.contains(said) && answer.html.contains(r#"aria-invalid="true""#), "{said}");
        assert!(answer.html.contains(&format!(r#"value="{username}""#)), "{said}");
        assert!(!answer.html.contains(token) && !answer.html.contains(&format!("\"{password}\"")), "{said}");
    }
}

#[tokio::test]
async fn logging_in_leads_back_and_logging_out_ends_it() {
    let house = House::new();
    let browser = house.browser().await;
    let login = |password: &str, next: &str| {
        sent("/login", &[("username", "admin"), ("password", password), ("next", next)])
    };
    let wrong = house.answer(login("wrong wrong wrong", "/jobs?kind=backup")).await;
    assert_eq!((wrong.status, wrong.cookie.as_deref()), (401, None));
    assert!(wrong.html.contains("is wrong") && wrong.html.contains(r#"value="admin""#));
    assert!(wrong.html.contains(r#"name="next" value="/jobs?kind=backup""#), "{}", wrong.html);
    let right = house.answer(login(PASSWORD, "/jobs?kind=backup")).await;
    assert_eq!((right.status, right.to.as_deref()), (303, Some("/jobs?kind=backup")));
    let astray = house.answer(login(PASSWORD, "//evil.example")).await;
    assert_eq!(astray.to.as_deref(), Some("/"));
    assert_eq!(browser.look("/login?next=/audit").await.to.as_deref(), Some("/audit"));
    let out = browser.send("/logout", &[]).await;
    assert_eq!((out.status, out.to.as_deref()), (303, Some("/login")));
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(browser.look("/audit").await.to.as_deref(), Some("/login?next=%2Faudit"));
}

#[tokio::test]
async fn too_many_logins_are_told_how_long_to_wait_on_the_form() {
    let house = House::new();
    house.browser().await;
    for tried in 0..30 {
        let answer = house.answer(sent("/login", &[("username", "admin"), ("password", "wrong")])).await;
        if answer.status == 429 {
            assert!(tried >= 5 && answer.headers.contains_key("retry-after"));
            assert!(answer.html.contains("try again in") && answer.html.contains("<form"));
            return;
        }
    }
    panic!("the limit never came");
}

#[tokio::test]
async fn a_form_must_come_from_a_page_of_ours_with_its_token() {
    let house = House::new();
    let browser = house.browser().await;
    let send = |csrf: &str, header: (&str, &str)| {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("csrf", csrf), ("name", "script")])
            .finish();
        get("/settings/tokens")
            .method("POST")
            .header("cookie", &browser.cookie)
            .header("content-type", "application/x-www-form-urlencoded")
            .header(header.0, header.1)
            .body(body)
    };
    let cases = [
        (browser.csrf.as_str(), ("origin", "https://evil.example")),
        (&browser.csrf, ("origin", "null")),
        (&browser.csrf, ("sec-fetch-site", "cross-site")),
        (&browser.csrf, ("x-other", "neither header")),
        ("", ("origin", ORIGIN)),
        ("guess", ("origin", ORIGIN)),
    ];
    for (csrf, header) in cases {
        let answer = house.answer(send(csrf, header)).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (403, "text/html; charset=utf-8"),
            "{header:?}"
        );
        assert!(answer.html.contains("Not allowed"), "{header:?}");
    }
    assert!(browser.look("/settings").await.html.contains("You have no tokens"));
    assert_eq!(house.answer(send(&browser.csrf, ("origin", ORIGIN))).await.status, 201);
    let foreign = get("/login").method("POST").header("origin", "https://evil.example");
    let foreign = foreign.header("content-type", "application/x-www-form-urlencoded").body("username=admin");
    assert_eq!(house.answer(foreign).await.status, 403);
    let json = get("/login").method("POST").header("content-type", "application/json").body("{}");
    assert_eq!(house.answer(json).await.status, 415);
}

#[tokio::test]
async fn every_page_runs_only_our_own_files_and_is_framed_by_nobody() {
    let house = House::new();
    let browser = house.browser().await;
    for path in ["/", "/hosts/new", "/repos", "/jobs", "/audit", "/settings", "/nothing", "/login"] {
        let answer = browser.look(path).await;
        if answer.status == 303 {
            continue;
        }
        let policy = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "connect-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.split("; ").any(|found| found == part), "{path}: {policy}");
        }
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        for forbidden in
            ["<script>", "<style", " style=", " onclick=", " hx-on", "http-equiv=\"refresh\"", "//cdn"]
        {
            assert!(!answer.html.contains(forbidden), "{path}: {forbidden}");
        }
        let scripts = answer.html.matches("<script").count();
        assert_eq!(answer.html.matches("<script defer src=\"/assets/").count(), scripts, "{path}");
    }
}

#[tokio::test]
async fn assets_are_kept_for_ever_under_names_of_their_own() {
    let house = House::new();
    let page = house.answer(get("/bootstrap")).await;
    let assets = [
        ("/assets/app.", "text/css; charset=utf-8"),
        ("/assets/favicon.", "image/svg+xml"),
        ("/assets/htmx.", "text/javascript; charset=utf-8"),
    ];
    for (part, kind) in assets {
        let from = page.html.find(part).unwrap();
        let path = page.html[from..].split('"').next().unwrap();
        let asset = house.answer(get(path)).await;
        assert_eq!((asset.status, asset.header("content-type")), (200, kind));
        assert_eq!(asset.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!((asset.header("vary"), asset.header("content-encoding")), ("accept-encoding", ""));
        for coding in ["gzip", "br"] {
            let small = get(path).header("accept-encoding", coding).reply(&house.web).await;
            assert_eq!(small.headers()["content-encoding"], coding);
            assert!(small.body().len() < asset.html.len(), "{path}");
        }
    }
    assert_eq!(house.answer(get("/assets/app.000000000000.css")).await.status, 404);
}

#[tokio::test]
async fn a_page_is_smaller_on_the_way_unless_another_site_asked_for_it() {
    let house = House::new();
    let browser = house.browser().await;
    let whole = browser.look("/settings").await;
    assert_eq!((whole.header("vary"), whole.header("content-encoding")), ("accept-encoding", ""));
    let ask = || get("/settings").header("cookie", &browser.cookie).header("accept-encoding", "gzip");
    let small = ask().reply(&house.web).await;
    assert_eq!(small.headers()["content-encoding"], "gzip");
    let length: usize = small.headers()["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!(length, small.body().len());
    let mut read = String::new();
    let mut reader = flate2::read::GzDecoder::new(&small.body()[..]);
    std::io::Read::read_to_string(&mut reader, &mut read).unwrap();
    assert_eq!(read, whole.html);
    let foreign = ask().header("sec-fetch-site", "cross-site").reply(&house.web).await;
    assert!(!foreign.headers().contains_key("content-encoding"));
}

#[tokio::test]
async fn the_colours_that_were_chosen_are_there_from_the_first_byte() {
    let house = House::new();
    let page = house.answer(get("/bootstrap")).await;
    assert!(page.html.contains("<html lang=\"en\" data-theme=\"system\">"), "{}", page.html);
    let choice =
        sent("/theme", &[("theme", "dark")]).header("referer", format!("{ORIGIN}/jobs?state=failed"));
    let chosen = house.answer(choice).await;
    assert_eq!((chosen.status, chosen.to.as_deref()), (303, Some("/jobs?state=failed")));
    let page = house.answer(get("/bootstrap").header("cookie", chosen.cookie.unwrap())).await;
    assert!(page.html.contains("data-theme=\"dark\""), "{}", page.html);
    let elsewhere =
        sent("/theme", &[("theme", "dark")]).header("referer", "https://evil.example//evil.example/");
    assert_eq!(house.answer(elsewhere).await.to.as_deref(), Some("/"));
}

#[tokio::test]
async fn refusals_are_pages_within_the_frame() {
    let house = House::new();
    let browser = house.browser().await;
    let cases = [
        ("/nothing", 404, "there is no page at"),
        (&format!("/hosts/{SOME_ID}") as &str, 404, "There is no host"),
        ("/jobs/7", 404, "that is not an id"),
        (&format!("/repos/{SOME_ID}"), 404, "There is no repository"),
        ("/jobs?host_id=7", 404, "There is no host"),
        ("/jobs?cursor=rubbish", 422, "cursor"),
    ];
    for (path, status, said) in cases {
        let answer = browser.look(path).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, "text/html; charset=utf-8"),
            "{path}"
        );
        assert!(answer.html.to_lowercase().contains(&said.to_lowercase()), "{path}: {}", answer.html);
    }
    let known = browser.look(&format!("/hosts/{SOME_ID}")).await;
    assert!(known.html.contains("Log out"), "somebody logged in keeps the navigation");
    let wrong_method = house.answer(get("/jobs").method("DELETE")).await;
    assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, "GET"));
    let program = warp::test::request().path("/nothing").header("host", HOST);
    assert_eq!(house.answer(program).await.header("content-type"), "application/json");
    let foreign =
        warp::test::request().path("/").header("host", "evil.example").header("accept", "text/html");
    let foreign = house.answer(foreign).await;
    assert_eq!((foreign.status, foreign.header("content-type")), (421, "text/html; charset=utf-8"));
}
