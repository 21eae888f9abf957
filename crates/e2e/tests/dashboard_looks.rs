//! Every page in every look: no finding of axe-core that keeps somebody out, no scrolling sideways, and the keyboard.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use restic_manager_e2e::fleet::{Seeded, Size};
use restic_manager_e2e::{Browser, House, Process, Scheme};

const FLEET: Size = Size { hosts: 60, days: 20 };
/// What the server serves, as its own test keeps it.
const PATHS: &str = include_str!(
    "../../server/src/web/pages/snapshots/restic_manager_server__web__pages__table__tests__paths.snap"
);
/// What is no page: files, streams, parts of pages; and the first page of all, which `dashboard_doors` looks at.
const NO_PAGES: [&str; 8] = [
    "/assets/{name}",
    "/bootstrap",
    "/hosts/new/{id}/state",
    "/hosts/{id}/sources/{group_id}/preview/{job_id}/state",
    "/jobs/{id}/stream",
    "/live",
    "/login",
    "/pending/list",
];

/// What Chromium notes of a refusal, which is a page too.
const REFUSED: &str = "the server responded with a status of 4";

/// A house with a fleet in it, and all of its pages.
struct Furnished {
    house: House,
    pages: Vec<String>,
    /// Waits to be approved.
    _newcomer: Process,
}

fn furnished() -> Furnished {
    let mut house = House::open();
    let (seeded, run, preview, waits, runs) = house.with_server_stopped(|database| {
        let seeded = Seeded::write(database, FLEET);
        let (run, preview) = (seeded.owe_an_attempt(database, 7), seeded.add_preview(database, 7));
        (seeded, run, preview, seeded.add_waiting(database, 7), seeded.add_running(database, 8))
    });
    let (host, repo, job) = (seeded.host_id(7), seeded.repo_id(7), seeded.job_id(7, 3));
    let (group, schedule) = (seeded.group_id(7), seeded.schedule_id(7));
    let token = house.rmctl(&["host", "enroll-token", "--host-name", "newcomer", "--field", "id"]);
    let (newcomer, _) = house.announce("box");
    let waiting = house.json(&["host", "pending"])["items"][0]["id"].as_str().unwrap().to_owned();
    let month = jiff::Timestamp::now().strftime("%Y-%m").to_string();
    let group_path = format!("/hosts/{host}/sources/{group}");
    let pages = [
        "/".to_owned(),
        "/?state=offline&tag=prod&q=web".to_owned(),
        "/?tag=no+tag+at+all".to_owned(),
        "/hosts/new".to_owned(),
        format!("/hosts/new/{}", token.trim()),
        "/pending".to_owned(),
        format!("/pending/{waiting}"),
        "/pending-runs".to_owned(),
        format!("/pending-runs/{run}/drop"),
        format!("/hosts/{host}"),
        format!("/hosts/{host}/jobs"),
        format!("/hosts/{host}/jobs?month={month}"),
        format!("/hosts/{host}/snapshots"),
        format!("/hosts/{host}/sources"),
        format!("/hosts/{host}/sources/new"),
        group_path.clone(),
        format!("{group_path}/preview/{preview}"),
        format!("/hosts/{host}/schedules"),
        format!("/hosts/{host}/schedules/new"),
        format!("/hosts/{host}/schedules/{schedule}"),
        format!("/hosts/{host}/repo"),
        format!("/hosts/{host}/settings"),
        format!("/hosts/{host}/attachments/{repo}"),
        "/repos".to_owned(),
        format!("/repos/{repo}"),
        "/repos/new".to_owned(),
        format!("/repos/{repo}/settings"),
        format!("/repos/{repo}/attach"),
        format!("/repos/{repo}/jobs"),
        format!("/repos/{repo}/maintenance"),
        "/jobs".to_owned(),
        "/jobs?state=failed".to_owned(),
        format!("/jobs/{job}"),
        format!("/jobs/{waits}"),
        format!("/jobs/{waits}/cancel"),
        format!("/jobs/{runs}/give-up"),
        "/audit".to_owned(),
        "/settings".to_owned(),
        // Refusals are pages too.
        "/no/such/page".to_owned(),
        format!("/jobs/{host}"),
        "/hosts/no-id-at-all".to_owned(),
        "/jobs?cursor=nonsense".to_owned(),
    ];
    Furnished { house, pages: pages.into(), _newcomer: newcomer }
}

/// Whether a path is one of these that a pattern of the server's table stands for.
fn is_of(pattern: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap();
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    let same = |(part, given): (&&str, &&str)| part.starts_with('{') || part == given;
    pattern.len() == path.len() && pattern.iter().zip(&path).all(same)
}

#[test]
fn no_page_of_the_server_is_left_out() {
    let furnished = furnished();
    let table = PATHS.rsplit("---\n").next().unwrap();
    let patterns: Vec<&str> = table.lines().filter(|line| !line.is_empty()).collect();
    assert!(patterns.len() > 20, "the table is read: {patterns:?}");
    for pattern in patterns.iter().filter(|pattern| !NO_PAGES.contains(pattern)) {
        // One that begins as an other does, such as /hosts/new, is the more special of the two.
        let looked_at = |path: &&String| {
            let best = patterns
                .iter()
                .filter(|other| is_of(other, path))
                .min_by_key(|other| other.matches('{').count());
            best == Some(pattern)
        };
        assert!(furnished.pages.iter().any(|path| looked_at(&path)), "nobody looks at {pattern}");
    }
}

#[test]
fn every_page_is_fit_for_everybody_in_light_and_dark() {
    let Furnished { house, pages, .. } = &furnished();
    let mut browser = Browser::logged_in(house);
    browser.expect_console(REFUSED);
    let (mut grounds, mut found) = (Vec::new(), Vec::new());
    for scheme in [Scheme::Light, Scheme::Dark] {
        browser.scheme(scheme);
        for page in pages {
            browser.go(page);
            found.extend(
                browser.serious().into_iter().map(|finding| (page, finding.id, finding.places[0].clone())),
            );
        }
        grounds.push(browser.ground());
    }
    assert!(found.is_empty(), "{} pages are not for everybody: {found:#?}", found.len());
    assert_ne!(grounds[0], grounds[1], "dark is not light");
    browser.close();
}

#[test]
fn no_page_has_to_be_moved_sideways() {
    let Furnished { house, pages, .. } = &furnished();
    let mut browser = Browser::logged_in(house);
    browser.expect_console(REFUSED);
    for width in [360, 768, 1280, 3840] {
        browser.resize(width, 800);
        for page in pages {
            browser.go(page);
            let wide = browser.too_wide();
            assert!(wide.is_empty(), "{page} at {width} pixels: {wide:#?}");
        }
    }
    browser.close();
}

/// Tab goes once through all that can be used, in view and with a ring around it, and begins with the way past the navigation.
#[test]
fn the_keyboard_reaches_everything_and_shows_where_it_is() {
    let Furnished { house, pages, .. } = &furnished();
    let mut browser = Browser::logged_in(house);
    browser.expect_console(REFUSED);
    for page in pages.iter().filter(|page| !page.contains('?')) {
        browser.go(page);
        browser.focus_nothing();
        browser.keys("\u{e004}"); // Tab
        assert_eq!(browser.focused()["words"], "Skip to the content", "{page}");
        let wanted = browser.usable();
        for step in 1..wanted {
            browser.keys("\u{e004}");
            let focused = browser.focused();
            assert_eq!(focused["ring"], true, "{page}, step {step}: {focused}");
            assert_eq!(focused["seen"], true, "{page}, step {step}: {focused}");
        }
    }
    browser.close();
}
