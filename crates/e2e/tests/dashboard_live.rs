//! Open pages are told what happens: none is loaded again, nothing jumps, and nobody loses what they have in hand.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::fs;

use restic_manager_e2e::{Agent, Browser, House, Motion, Scheme, noise, restic_newest};
use rustix::process::Signal;
use serde_json::Value;

const REPO_PASSWORD: &str = "planted-repo-password";

/// A host with a repository and a group `home` of so many files of 16 MB, which it uploads at so many KiB a second.
fn host(house: &House, files: usize, pace: u32) -> Agent {
    let agent = house.enrol("web1", &restic_newest());
    house.attach(&agent, house.path("repository").to_str().unwrap(), REPO_PASSWORD, &[]);
    let source = house.path("source");
    fs::create_dir(&source).unwrap();
    for number in 0..files {
        noise(&source.join(format!("noise-{number}")), 16);
    }
    house.rmctl(&["source", "create", "web1", "home", "--include", source.to_str().unwrap()]);
    house.rmctl(&["host", "limit", "web1", "--upload", &pace.to_string()]);
    agent
}

fn text(browser: &Browser, css: &str) -> String {
    let body = "return document.querySelector(arguments[0])?.innerText ?? ''";
    browser.eval(body, vec![css.into()]).as_str().unwrap().to_owned()
}

/// Waits until a part of the page says something, in whatever case; the page must not be loaded again for that.
fn watch(browser: &Browser, css: &str, words: &str) {
    browser.wait(&format!("{css} to say `{words}`"), || {
        browser.check_mark();
        let said = text(browser, css);
        if said.to_lowercase().contains(words) { Ok(()) } else { Err(said) }
    });
}

#[test]
fn a_backup_is_watched_to_its_end_on_the_open_page() {
    let house = House::open();
    // What is queued for upload counts as read: the first hundred megabytes come at once, the rest at the pace of the limit.
    let agent = host(&house, 16, 12_000);
    let browser = Browser::logged_in(&house);
    browser.go(&format!("/hosts/{}", agent.host_id));
    browser.click_at("//button[starts-with(normalize-space(), 'Run now')]");
    let job = browser.wait_below("/jobs/");
    browser.leave_mark();
    browser.watch_shifts();
    // The page itself notes what it shows: every state of the bar, and whether the focus stays where somebody put it.
    browser.eval(
        "window.rmSeen = []; window.rmLost = 0; document.querySelector('a.danger').focus(); \
         new MutationObserver(() => { \
             const bar = document.querySelector('#job-live progress'); \
             if (bar && rmSeen.at(-1) !== bar.value) rmSeen.push(bar.value); \
             const link = document.querySelector('a.danger'); if (link && document.activeElement !== link) rmLost += 1; \
         }).observe(document.body, { subtree: true, childList: true, attributes: true })",
        Vec::new(),
    );
    watch(&browser, ".title .mark", "running");
    watch(&browser, "#job-live .progress", "%");
    browser.remember(&[
        "#job-live",
        "#job-live .progress",
        "#job-live progress",
        "a.danger",
        ".log",
        "#find",
    ]);
    let shifted = browser.shifts();
    browser.media(Scheme::Light, Motion::Any);
    browser.wait("something that moves", || match browser.animations() {
        0 => Err("nothing moves".to_owned()),
        _ => Ok(()),
    });
    browser.media(Scheme::Light, Motion::Reduced);
    assert_eq!(browser.animations(), 0, "who asks for no motion sees none");
    let seen = |browser: &Browser| -> Vec<f64> {
        serde_json::from_value(browser.eval("return window.rmSeen", Vec::new())).unwrap()
    };
    browser.wait("the bar to move thrice", || {
        browser.check_mark();
        let seen = seen(&browser);
        if seen.len() > 3 { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    assert_eq!(browser.replaced(), Vec::<String>::new(), "what is the same stays in its place");
    assert_eq!(browser.eval("return window.rmLost", Vec::new()), Value::from(0), "the focus stays");
    assert!(browser.shifts() - shifted < 0.1, "the page jumps: {}", browser.shifts() - shifted);
    let lines = browser.count(".log li");

    watch(&browser, ".title .mark", "succeeded");
    watch(&browser, "#job-live", "snapshot");
    browser.wait_xpath("//div[@class='log']//li[contains(., 'snapshot')]");
    browser.check_mark();
    assert!(browser.count(".log li") > lines, "lines arrive");
    assert_eq!(browser.count("#job-live progress") + browser.count("a.danger"), 0, "it is over");
    let seen = seen(&browser);
    assert!(seen.is_sorted(), "it never goes back: {seen:?}");
    assert_eq!(house.wait_job(&job)["state"], "succeeded");
    // What was told bit by bit is what whoever comes later reads.
    let told = [".log", ".pair", ".title"].map(|css| text(&browser, css));
    browser.reload();
    assert_eq!(told, [".log", ".pair", ".title"].map(|css| text(&browser, css)));
    browser.close();
}

#[test]
fn the_open_fleet_is_told_of_hosts_that_go_and_return_and_of_what_happened_elsewhere() {
    let house = House::open();
    let mut agent = host(&house, 1, 0);
    let browser = Browser::logged_in(&house);
    browser.leave_mark();
    let row = format!("#h-{}", agent.host_id);
    watch(&browser, &row, "online");
    // Somebody types while all this happens.
    browser.click("#q");
    browser.keys("web");
    browser.wait("the filter in the address", || {
        let path = browser.path();
        if path.contains("q=web") { Ok(()) } else { Err(path) }
    });
    browser.remember(&[&row, "#q", "#live"]);

    agent.process.signal(Signal::KILL);
    agent.process.wait();
    watch(&browser, &row, "offline");
    watch(&browser, ".verdict", "need");
    agent.restart();
    watch(&browser, &row, "online");

    house.rmctl(&["source", "create", "web1", "gone", "--include", "/there/is/no/such/folder"]);
    let failed = house.run_group(&agent, "gone");
    assert_eq!(failed["state"], "failed");
    watch(&browser, "#toasts", "backup of gone on web1 failed");
    let link = format!("#toasts a[href='/jobs/{}']", failed["id"].as_str().unwrap());
    assert_eq!(browser.count(&link), 1, "the toast leads to it");
    watch(&browser, &row, "failed");
    watch(&browser, ".wrongs", "gone");
    browser.check_access();

    browser.check_mark();
    assert_eq!(browser.replaced(), Vec::<String>::new(), "what is the same stays in its place");
    let hand = "const e = document.activeElement; return [e.id, e.value, e.selectionStart]";
    assert_eq!(browser.eval(hand, Vec::new()), serde_json::json!(["q", "web", 3]));
    // Once the toast was read it goes by the keyboard too.
    browser.click("#toasts button");
    assert_eq!(browser.count("#toasts .toast"), 0);
    browser.close();
}
