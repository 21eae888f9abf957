//! Announce and approve on real processes: two fingerprints compared, and an agent that goes on by itself.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::fs;

use restic_manager_e2e::{House, restic_newest};

const REPO_PASSWORD: &str = "planted-repo-password";

#[test]
fn an_announced_machine_is_compared_approved_with_its_repository_and_backs_up() {
    let mut house = House::open();
    let (mut waiting, shown) = house.announce("box");
    let listed = house.json(&["host", "pending"]);
    assert_eq!(listed["items"][0]["fingerprint"], shown.as_str(), "both ends show the same");
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();

    let wrong = "0000-0000-0000-0000-0000-0000-0000-0000";
    let refused = house.try_rmctl(&["host", "approve", &id, "--fingerprint", wrong]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&shown), "{refused:?}");

    // The server goes and comes back; the agent waits on.
    house.server.stop();
    house.restart_server();
    assert!(waiting.ended().is_none(), "{}", waiting.log());

    let repository = house.path("repository");
    let password = house.secret("repo-password", REPO_PASSWORD);
    let approved = house.json(&[
        "host",
        "approve",
        &shown,
        "--name",
        "web1",
        "--repo-name",
        "nas",
        "--url",
        repository.to_str().unwrap(),
        "--password-file",
        password.to_str().unwrap(),
    ]);
    assert_eq!(
        (&approved["host"]["name"], &approved["attachment"]["repo_name"]),
        (&"web1".into(), &"nas".into())
    );
    assert!(waiting.wait().success(), "{}", waiting.log());
    assert!(waiting.log().contains("enrolled as `web1`"), "{}", waiting.log());
    assert!(!waiting.log().contains("rma_"), "the token is shown nowhere");

    let agent = house.run_enrolled("box", "web1", &restic_newest());
    house.wait_init(&agent);
    let folder = house.path("source");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.txt"), "alpha").unwrap();
    house.rmctl(&["source", "create", "web1", "home", "--include", folder.to_str().unwrap()]);
    assert_eq!(house.run_group(&agent, "home")["state"], "succeeded");
    assert!(house.json(&["host", "pending"])["items"].as_array().unwrap().is_empty());
    let told: Vec<String> = house.json(&["audit"])["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["action"].as_str().unwrap().to_owned())
        .filter(|action| ["host.announced", "host.approved", "host.enrolled"].contains(&action.as_str()))
        .collect();
    assert_eq!(told, ["host.enrolled", "host.approved", "host.announced"], "newest first");
}

#[test]
fn a_rejected_machine_says_so_and_keeps_its_key() {
    let house = House::open();
    let (mut waiting, shown) = house.announce("box");
    house.rmctl(&["host", "reject", &shown]);
    let ended = waiting.wait();
    assert_eq!(ended.code(), Some(4), "{}", waiting.log());
    assert!(waiting.log().contains("rejected"), "{}", waiting.log());
    let (mut again, same) = house.announce("box");
    assert_eq!(same, shown);
    assert_eq!(again.wait().code(), Some(4), "still rejected");
    assert!(house.json(&["host", "ls"])["items"].as_array().unwrap().is_empty());
}
