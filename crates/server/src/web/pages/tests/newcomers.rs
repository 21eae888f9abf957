//! How a machine joins, as pages.

use ed25519_dalek::{Signer as _, SigningKey};
use restic_manager_core::announce::{HexBytes, announcement};
use restic_manager_core::api::{AnnounceRequest, Announced, EnrollRequest};
use restic_manager_core::secret::Secret;
use restic_manager_core::time::HOUR;
use std::net::{IpAddr, Ipv4Addr};

use super::views::part;
use super::*;

async fn announce(house: &House, seed: u8, os_hostname: &str) -> Announced {
    house.clock.advance(1); // ids of one instant have no order
    let key = SigningKey::from_bytes(&[seed; 32]);
    let mut said = AnnounceRequest {
        public_key: HexBytes(key.verifying_key().to_bytes()),
        signature: HexBytes([0; 64]),
        machine_id: "m1".into(),
        os_hostname: os_hostname.into(),
        agent_version: "0.1.0".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
    };
    said.signature = HexBytes(key.sign(&announcement(&said)).to_bytes());
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    house.state.accounts.announce(said, address).await.unwrap()
}

/// What stands between a begin and an end, behind `with`, with which the begin ends.
fn between(html: &str, begin: &str, end: &str, with: &str) -> String {
    let (_, rest) = html.split_once(begin).unwrap_or_else(|| panic!("no {begin} in {html}"));
    format!("{with}{}", rest.split_once(end).unwrap().0)
}

/// The path of the page that decides about the only machine that waits.
async fn path_of(browser: &Browser<'_>) -> String {
    let list = browser.look("/pending").await.html;
    let from = list.find("/pending/0").expect("somebody waits");
    list[from..].split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn an_announced_machine_is_compared_named_and_given_a_repository() {
    let house = House::new();
    let browser = house.browser().await;
    assert!(browser.look("/pending").await.html.contains("Nobody waits"));
    let print = announce(&house, 1, "web1").await.fingerprint.to_string();
    assert!(browser.look("/hosts/new").await.html.contains(&print), "it is seen where one looks for it");
    let path = path_of(&browser).await;
    let page = browser.look(&path).await;
    assert!(page.html.contains(&print) && page.html.contains("192.0.2.7"), "{}", page.html);
    insta::assert_snapshot!("pending_host", browser.steady(&page.html, "<main", "</main>"));

    let secret = "planted-password";
    let without = [
        ("fingerprint", print.as_str()),
        ("name", "shop"),
        ("repo", "new"),
        ("url", "/srv/x"),
        ("password", secret),
    ];
    let again = browser.send(&format!("{path}/approve"), &without).await;
    assert_eq!(again.status, 422);
    assert!(again.html.contains("Compare the two, then tick this"), "{}", again.html);
    assert!(
        again.html.contains(r#"value="shop""#) && again.html.contains(r#"value="/srv/x""#),
        "what was typed stays"
    );
    assert!(
        again.html.contains("type it again") && !again.html.contains(secret),
        "but for the secret, and it says so"
    );

    let mut with = without.to_vec();
    with.push(("compared", "yes"));
    let done = browser.send(&format!("{path}/approve"), &with).await;
    let host = done.to.expect("to the host");
    assert!(done.status == 303 && host.starts_with("/hosts/"), "{host}");
    assert!(browser.look(&host).await.html.contains("/srv/x"));
    assert!(browser.look(&path).await.html.contains("Approved"));
    assert!(browser.look("/pending").await.html.contains("Nobody waits"));
}

#[tokio::test]
async fn a_name_that_is_taken_or_announced_twice_is_flagged_and_mended_at_the_field() {
    let house = House::new();
    let browser = house.browser().await;
    let print = announce(&house, 1, "web1").await.fingerprint.to_string();
    let path = path_of(&browser).await;
    announce(&house, 2, "WEB1").await;
    assert!(browser.look(&path).await.html.contains("Not the only one of this name"));
    assert!(browser.look("/pending").await.html.contains("2 machines with this name"));
    let send = |name: &'static str| {
        let (browser, path, print) = (&browser, &path, &print);
        async move {
            let fields =
                [("fingerprint", print.as_str()), ("compared", "yes"), ("name", name), ("repo", "later")];
            browser.send(&format!("{path}/approve"), &fields).await
        }
    };
    assert_eq!(send("web1").await.status, 303);
    let other = path_of(&browser).await;
    let page = browser.look(&other).await;
    assert!(page.html.contains("A host has this name"), "{}", page.html);
    let print = page
        .html
        .split(r#"name="fingerprint" value=""#)
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let fields = [("fingerprint", print.as_str()), ("compared", "yes"), ("name", "web1"), ("repo", "later")];
    let refused = browser.send(&format!("{other}/approve"), &fields).await;
    assert_eq!(refused.status, 409);
    assert!(
        part(&refused.html, r#"id="name-wrong""#, "</p>").contains("There is another host named"),
        "{}",
        refused.html
    );
    assert_eq!(browser.send(&format!("{other}/reject"), &[]).await.to.as_deref(), Some("/pending"));
    assert!(browser.look(&other).await.html.contains("Rejected"));
}

#[tokio::test]
async fn an_address_without_a_choice_of_repository_is_asked_about() {
    let house = House::new();
    let browser = house.browser().await;
    let print = announce(&house, 1, "web1").await.fingerprint.to_string();
    let path = path_of(&browser).await;
    let fields = [("fingerprint", print.as_str()), ("compared", "yes"), ("repo", "later"), ("url", "/srv/x")];
    let refused = browser.send(&format!("{path}/approve"), &fields).await;
    assert_eq!(refused.status, 422);
    assert!(
        part(&refused.html, r#"id="repo-wrong""#, "</p>").contains("Choose the repository"),
        "{}",
        refused.html
    );
}

#[tokio::test]
async fn the_wait_for_an_agent_goes_on_by_itself() {
    let house = House::new();
    let browser = house.browser().await;
    let made = browser.send("/hosts/new", &[("host_name", "web1")]).await;
    assert_eq!(made.status, 201);
    let state = between(&made.html, "hx-get=\"/hosts/new/", "\"", "/hosts/new/");
    let token = between(&made.html, "--token rme_", "<", "rme_");
    let waits = browser.look(&state).await;
    assert!(
        waits.html.contains("Waiting for the agent") && waits.html.contains("hx-trigger"),
        "{}",
        waits.html
    );
    assert!(browser.look(state.trim_end_matches("/state")).await.html.contains("http-equiv=\"refresh\""));
    let said = EnrollRequest {
        token: Secret::new(token),
        machine_id: "m".into(),
        os_hostname: "box".into(),
        agent_version: "0.1.0".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
    };
    house.state.app.enroll(said).await.unwrap();
    let enrolled = browser.look(&state).await;
    assert!(enrolled.html.contains("Enrolled") && enrolled.html.contains("web1"), "{}", enrolled.html);

    let made = browser.send("/hosts/new", &[]).await;
    let state = between(&made.html, "hx-get=\"/hosts/new/", "\"", "/hosts/new/");
    house.clock.advance(HOUR);
    let over = browser.look(&state).await;
    assert!(over.html.contains("Nobody came") && !over.html.contains("hx-trigger"), "{}", over.html);
}
