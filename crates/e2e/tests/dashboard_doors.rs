//! Coming in and going out by the browser: the first administrator, login, what a stranger sees.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use restic_manager_e2e::{ADMIN_PASSWORD, Browser, House, Scripts};

/// By the menu that carries the user's name.
fn log_out(browser: &Browser) {
    browser.press_button("admin");
    browser.press_button("Log out");
}

#[test]
fn the_first_administrator_is_made_and_logs_in_again() {
    let house = House::unclaimed();
    let token = std::fs::read_to_string(house.path("data/bootstrap-token")).unwrap();
    let mut browser = Browser::open(&house.url);
    browser.go("/jobs");
    browser.wait_path("/bootstrap");
    browser.check_access();
    // A wrong token, and a password that is too short: each told at its field, and the user name stays.
    browser.expect_console("the server responded with a status of 4");
    browser.fill("Bootstrap token", "not-the-token");
    browser.fill("User name", "admin");
    browser.fill("Password", ADMIN_PASSWORD);
    browser.press_button("Make the administrator");
    browser.wait_css("#token[aria-invalid=true]");
    assert_eq!(browser.value("User name"), "admin");
    browser.fill("Bootstrap token", token.trim());
    browser.fill("Password", "short");
    browser.press_button("Make the administrator");
    browser.wait_css("#password[aria-invalid=true]");
    browser.check_access();
    browser.fill("Bootstrap token", token.trim());
    browser.fill("Password", ADMIN_PASSWORD);
    browser.press_button("Make the administrator");
    browser.wait_path("/");
    browser.see("Add the first host");
    browser.check_access();

    log_out(&browser);
    browser.wait_path("/login");
    browser.fill("User name", "admin");
    browser.fill("Password", "something-else-entirely");
    browser.press_button("Log in");
    browser.wait_css("[role=alert]");
    assert_eq!(browser.value("User name"), "admin", "what was typed is kept");
    assert_eq!(browser.value("Password"), "", "but for the secret");
    // Whoever was sent to the login comes back to what they wanted.
    browser.go("/jobs?state=failed");
    browser.wait_below("/login?next=");
    browser.check_access();
    browser.fill("User name", "admin");
    browser.fill("Password", ADMIN_PASSWORD);
    browser.keys("\u{e007}"); // Enter
    browser.wait_path("/jobs?state=failed");
    browser.go("/bootstrap");
    browser.wait_path("/");
    // Whoever wants it dark while their system is light says so once.
    let light = browser.ground();
    browser.press_button("admin");
    browser.press_button("Dark");
    browser.wait("the dark", || if browser.ground() == light { Err(light.clone()) } else { Ok(()) });
    browser.go("/jobs");
    assert_ne!(browser.ground(), light, "and it stays so");
    browser.check_access();
    browser.close();
}

#[test]
fn the_door_works_without_scripts() {
    let house = House::open();
    let browser = Browser::open(&house.url);
    browser.scripts(Scripts::Off);
    browser.log_in();
    browser.see("Add the first host");
    log_out(&browser);
    browser.wait_path("/login");
    browser.close();
}

/// Were this to fail, no other test of the browser would mean anything.
#[test]
fn a_breach_of_the_policy_a_script_error_and_a_foreign_address_are_seen() {
    let house = House::open();
    let browser = Browser::logged_in(&house);
    assert_eq!(browser.console(), Vec::<String>::new());
    let add = |html: &str| {
        let body = "const t = document.createElement('template'); t.innerHTML = arguments[0]; \
                    for (const n of t.content.children) { const c = document.createElement(n.tagName); \
                    for (const a of n.attributes) c.setAttribute(a.name, a.value); c.textContent = n.textContent; \
                    document.body.append(c) }";
        browser.eval(body, vec![html.into()]);
        browser.wait("the console", || {
            let said = browser.console();
            if said.is_empty() { Err("it is empty".to_owned()) } else { Ok(said.join("\n")) }
        })
    };
    assert!(add("<script>document.title = 'mine'</script>").contains("Content Security Policy"));
    assert_ne!(browser.eval("return document.title", Vec::new()), "mine", "and the script did not run");
    assert!(add("<img src='http://example.net/x.png'>").contains("example.net"));
    assert!(add("<button onclick='x()'>x</button>").contains("Content Security Policy"));
    browser.close();
}
