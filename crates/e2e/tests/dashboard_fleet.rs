//! The fleet page: filters that stay in the address, and pages that end.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::collections::BTreeSet;

use restic_manager_e2e::fleet::{Seeded, Size};
use restic_manager_e2e::{Browser, House, Scripts};

const FLEET: Size = Size { hosts: 130, days: 2 };

fn names(browser: &Browser) -> Vec<String> {
    let names = "return [...document.querySelectorAll('tbody a.name')].map(a => a.innerText)";
    serde_json::from_value(browser.eval(names, Vec::new())).unwrap()
}

#[test]
fn hosts_are_filtered_in_the_address_and_paged_to_the_end() {
    let mut house = House::open();
    let seeded = house.with_server_stopped(|database| Seeded::write(database, FLEET));
    let agents = seeded.connect(&house.url, (0..FLEET.hosts).filter(|number| *number != 9));
    for scripts in [Scripts::Run, Scripts::Off] {
        let browser = Browser::open(&house.url);
        browser.scripts(scripts);
        browser.log_in();
        browser.see("129 of 130");

        // By a part of the name: the address holds the filter, so that it can be passed on and gone back to.
        browser.fill("Name", "vie");
        browser.press_button("Filter");
        browser.wait("the filter in the address", || {
            let path = browser.path();
            if path.contains("q=vie") { Ok(()) } else { Err(path) }
        });
        browser.wait("the hosts of one place", || {
            let shown = names(&browser);
            let all = shown.iter().all(|name| name.contains("-vie-"));
            if all && shown.len() == 24 { Ok(()) } else { Err(format!("{shown:?}")) }
        });
        browser.reload();
        assert_eq!(names(&browser).len(), 24);
        assert_eq!(browser.value("Name"), "vie");
        browser.go("/?tag=staging&q=db");
        assert_eq!(names(&browser), Vec::<String>::new(), "no database is staging");
        browser.follow("Show all");
        browser.wait_path("/");
        browser.go("/?state=offline");
        assert_eq!(names(&browser), ["web-ams-0009"]);

        // Page by page: each host once, and an end.
        browser.go("/");
        let mut seen = BTreeSet::new();
        loop {
            for name in names(&browser) {
                assert!(seen.insert(name.clone()), "{name} is listed twice");
            }
            let before = browser.path();
            if browser.count("a[rel=next]") == 0 {
                break;
            }
            browser.click("a[rel=next]");
            browser.wait("the next page", || {
                let path = browser.path();
                if path == before { Err(path) } else { Ok(()) }
            });
        }
        assert_eq!(seen.len(), 130);
        browser.close();
    }
    drop(agents);
}
