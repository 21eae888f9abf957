//! What is looked at: nothing yet, a few real hosts, and many.

use restic_manager_e2e::fleet::{Seeded, Size};
use restic_manager_e2e::{Agent, Browser, House, RestServer, Restic, Rights, noise, restic_newest, wait_for};

use super::album::Album;

const PASSWORD: &str = "a-password-of-the-pictures";

/// A server on its first day.
pub(super) fn empty(album: &mut Album) {
    let unclaimed = House::unclaimed();
    let browser = Browser::open(&unclaimed.url);
    album.page(&browser, "bootstrap", "/bootstrap");
    browser.close();
    let house = House::open();
    let mut browser = Browser::open(&house.url);
    album.page(&browser, "login", "/login");
    browser.log_in();
    album.page(&browser, "empty-fleet", "/");
    for name in ["repos", "jobs", "pending", "pending-runs"] {
        album.wide(&browser, &format!("empty-{name}"), &format!("/{name}"));
    }
    browser.expect_console("the server responded with a status of 404");
    album.wide(&browser, "not-found", "/hosts/of-yesterday");
    let agent = house.enrol("atlas", &restic_newest());
    album.wide(&browser, "empty-host", &format!("/hosts/{}", agent.host_id));
    for tab in ["snapshots", "sources", "schedules", "repo", "jobs"] {
        album.wide(&browser, &format!("empty-host-{tab}"), &format!("/hosts/{}/{tab}", agent.host_id));
    }
    browser.close();
}

/// Three hosts whose agents, restics and repositories are real, in the course of a day.
pub(super) fn few(album: &mut Album) {
    let house = House::open();
    let rest = house.path("rest");
    std::fs::create_dir(&rest).expect("a new folder");
    let everyday = RestServer::start(&house.path(""), &rest, Rights::AppendOnly);
    let admin = RestServer::start(&house.path(""), &rest, Rights::Full);
    // Logs show what was run: under its own name, not under that of this checkout.
    let restic = Restic { program: house.path("restic") };
    std::os::unix::fs::symlink(restic_newest().program, &restic.program).expect("a link");
    let names = ["atlas", "borealis", "cygnus"];
    let mut agents: Vec<Agent> = names.map(|name| host(&house, &restic, &everyday, name)).into();
    house.give_admin_rest("atlas", &admin, "atlas", PASSWORD);
    for kind in ["forget", "prune", "check"] {
        house.wait_job(house.rmctl(&["repo", kind, "atlas", "--field", "job_id"]).trim());
    }
    let failed = break_and_run(&house, &agents[1]);
    agents[2].process.stop();
    house.wait_presence(&agents[2], "offline");
    let live = slow_backup(&house, &agents[0]);

    let browser = Browser::logged_in(&house);
    album.page(&browser, "fleet", "/");
    album.page(&browser, "job-live", &format!("/jobs/{live}"));
    album.wide(&browser, "job-cancel", &format!("/jobs/{live}/cancel"));
    house.rmctl(&["job", "cancel", &live]);
    house.wait_job(&live);
    album.page(&browser, "job-failed", &format!("/jobs/{failed}"));
    let atlas = agents[0].host_id.clone();
    album.page(&browser, "host", &format!("/hosts/{atlas}"));
    for tab in ["snapshots", "sources", "sources/new", "schedules", "schedules/new", "repo", "settings"] {
        let name = format!("host-{}", tab.replace('/', "-"));
        album.page(&browser, &name, &format!("/hosts/{atlas}/{tab}"));
    }
    let repo = house.rmctl(&["repo", "show", "atlas", "--field", "id"]);
    let repo = repo.trim();
    album.page(&browser, "repo", &format!("/repos/{repo}"));
    album.page(&browser, "host-attachment", &format!("/hosts/{atlas}/attachments/{repo}"));
    album.page(&browser, "repo-settings", &format!("/repos/{repo}/settings"));
    album.page(&browser, "repo-attach", &format!("/repos/{repo}/attach"));
    album.page(&browser, "repos-new", "/repos/new");
    album.page(&browser, "repo-maintenance", &format!("/repos/{}/maintenance", repo.trim()));
    let (_waiting, fingerprint) = house.announce("draco");
    for name in ["repos", "jobs", "pending", "audit", "settings", "hosts/new"] {
        album.page(&browser, &name.replace('/', "-"), &format!("/{name}"));
    }
    browser.go("/pending");
    browser.see(&fingerprint);
    browser.click_at("//a[starts-with(normalize-space(), 'Compare')]");
    browser.see("The machine shows the same fingerprint");
    album.page(&browser, "pending-host", &browser.path());
    browser.go("/hosts/new");
    browser.fill("Name of the host", "eridanus");
    browser.press_button("Make a token");
    browser.wait_css("code.copy");
    album.as_it_is(&browser, "hosts-new-token");
    browser.close();
}

/// A host with a group, a schedule and a few backups.
fn host(house: &House, restic: &Restic, server: &RestServer, name: &str) -> Agent {
    let agent = house.enrol(name, restic);
    house.attach_rest(&agent, server, name, PASSWORD);
    let source = house.path(&format!("{name}-data"));
    std::fs::create_dir(&source).expect("a new folder");
    let include = source.to_str().expect("UTF-8");
    let keep = ["--keep-daily", "7", "--keep-weekly", "4", "--keep-monthly", "12"];
    let mut create = vec!["source", "create", name, "documents", "--include", include];
    create.extend(keep);
    house.rmctl(&create);
    house.rmctl(&["schedule", "create", name, "nightly", "--cron", "0 3 * * *", "--source", "documents"]);
    for round in 0..3 {
        noise(&source.join(format!("volume-{round}")), 3 + round);
        house.run_group(&agent, "documents");
    }
    agent
}

/// A backup that fails; answers its id.
fn break_and_run(house: &House, agent: &Agent) -> String {
    house.rmctl(&["source", "create", &agent.host_id, "mail", "--include", "/srv/mail-of-last-year"]);
    let job = house.run_group(agent, "mail");
    job["id"].as_str().expect("a job has an id").to_owned()
}

/// A backup that is under way for as long as it is looked at; answers its id.
fn slow_backup(house: &House, agent: &Agent) -> String {
    let folder = house.path("photographs");
    std::fs::create_dir(&folder).expect("a new folder");
    for number in 0..24 {
        noise(&folder.join(format!("2026-07-{:02}.raw", number + 1)), 20);
    }
    let include = folder.to_str().expect("UTF-8");
    house.rmctl(&["source", "create", &agent.host_id, "photographs", "--include", include]);
    house.rmctl(&["host", "limit", &agent.host_id, "--upload", "900"]);
    let job = house.start_group(agent, "photographs");
    // What is queued for upload counts as read, so the first percents come at once and the rest at the pace of the limit.
    wait_for("the backup to be well under way", || {
        let read = house.job(&job)["progress"]["percent"].as_f64()?;
        (read > 20.0).then_some(())
    });
    job
}

/// A host that is not connected in [`many`].
const AWAY: u32 = 9;

/// 500 hosts with two months of history.
pub(super) fn many(album: &mut Album) {
    let mut house = House::open();
    let size = Size { hosts: 500, days: 60 };
    let (seeded, preview, runs) = house.with_server_stopped(|database| {
        let seeded = Seeded::write(database, size);
        // A host that is away: nothing goes on while it is looked at.
        seeded.owe_an_attempt(database, AWAY);
        (seeded, seeded.add_preview(database, AWAY), seeded.add_running(database, AWAY))
    });
    let agents = seeded.connect(&house.url, (0..size.hosts).filter(|number| number % 61 != 9));
    let browser = Browser::logged_in(&house);
    album.page(&browser, "many-fleet", "/");
    album.wide(&browser, "many-fleet-filtered", "/?tag=prod&q=vie");
    album.page(&browser, "many-jobs", "/jobs");
    album.wide(&browser, "many-repos", "/repos");
    album.page(&browser, "many-host", &format!("/hosts/{}", seeded.host_id(13)));
    album.page(&browser, "many-repo", &format!("/repos/{}", seeded.repo_id(13)));
    album.wide(&browser, "many-job", &format!("/jobs/{}", seeded.job_id(13, 3)));
    album.wide(&browser, "many-job-chain", &format!("/jobs/{}", seeded.job_id(AWAY, 0)));
    album.wide(&browser, "many-job-give-up", &format!("/jobs/{runs}/give-up"));
    album.wide(&browser, "many-pending-runs", "/pending-runs");
    album.page(&browser, "many-host-jobs", &format!("/hosts/{}/jobs", seeded.host_id(13)));
    let month = "return document.querySelector(`a[href*='month=']`).getAttribute('href')";
    let month = browser.eval(month, Vec::new());
    album.page(&browser, "many-host-jobs-month", month.as_str().expect("a path"));
    album.wide(&browser, "many-repo-jobs", &format!("/repos/{}/jobs", seeded.repo_id(13)));
    let group = format!("/hosts/{}/sources/{}", seeded.host_id(AWAY), seeded.group_id(AWAY));
    album.wide(&browser, "many-preview", &format!("{group}/preview/{preview}"));
    browser.close();
    drop(agents);
}
