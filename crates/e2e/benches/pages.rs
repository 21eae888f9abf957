//! How long the server takes for each page of the dashboard, with 10,000 hosts online and 1,000,000 jobs in its database, under 20
//! requests at a time. Run by hand:
//!
//! ```text
//! cargo build --release --workspace --bins
//! cargo bench -p restic-manager-e2e --bench pages
//! ```
//!
//! Prints one line a page: p50 and p99 from the first byte sent to the last one received over loopback, the time on processors that the
//! server took for one of them (Linux; far steadier than the others while a machine does something else as well), and the size of the
//! answer, plain and as browsers ask for it. `--hosts N` and `--days N` make it smaller. Needs a limit of open files above twice the number of hosts.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use restic_manager_e2e::fleet::{Seeded, Size};
use restic_manager_e2e::{ADMIN_PASSWORD, House};

const AT_ONCE: usize = 20;
/// Requests a page, after as many as run at a time to warm up.
const REQUESTS: u32 = 600;

fn main() {
    let size = Size { hosts: argument("--hosts", 10_000), days: argument("--days", 90) };
    let mut house = House::open();
    let begun = Instant::now();
    let seeded = house.with_server_stopped(|database| Seeded::write(database, size));
    println!(
        "{} hosts and {} jobs written in {:.0} s",
        size.hosts,
        size.jobs(),
        begun.elapsed().as_secs_f64()
    );
    let begun = Instant::now();
    // A few are away, as ever.
    let away = |number: &u32| !number.is_multiple_of(1_000);
    let agents = seeded.connect(&house.url, (0..size.hosts).filter(away));
    println!("their agents said hello in {:.1} s", begun.elapsed().as_secs_f64());
    until_calm(&house);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(measure(&house, &seeded));
    drop(agents);
}

/// Waits until what ten thousand hellos set off is done: pages are measured, not a restart.
fn until_calm(house: &House) {
    for _ in 0..120 {
        let before = house.server.cpu_time();
        std::thread::sleep(Duration::from_secs(1));
        if house.server.cpu_time().saturating_sub(before) < Duration::from_millis(100) {
            return;
        }
    }
    println!("the server is still busy with something else");
}

fn argument(name: &str, otherwise: u32) -> u32 {
    given(name).map_or(otherwise, |number| number.parse().expect("a number"))
}

fn given(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// A page, by its pattern; `{host}`, `{repo}` and `{job}` become other ones with each request.
const PAGES: [&str; 22] = [
    "/",
    "/?q=web-vie",
    "/?state=online",
    "/?state=offline",
    "/?state=failing",
    "/?tag=prod",
    "/hosts/new",
    "/hosts/{host}",
    "/hosts/{host}/sources",
    "/hosts/{host}/schedules",
    "/hosts/{host}/snapshots",
    "/hosts/{host}/repo",
    "/repos",
    "/repos/{repo}",
    "/repos/{repo}/maintenance",
    "/jobs",
    "/jobs?state=failed",
    "/jobs?host_id={host}",
    "/jobs/{job}",
    "/pending",
    "/audit",
    "/settings",
];

async fn measure(house: &House, seeded: &Seeded) {
    let visitor = Visitor::log_in(&house.url).await;
    println!("{:>9} {:>9} {:>9} {:>10} {:>10}", "p50 ms", "p99 ms", "cpu ms", "bytes", "sent");
    let requests = argument("--requests", REQUESTS) as usize;
    let only = given("--page");
    for pattern in PAGES.into_iter().filter(|page| only.as_deref().is_none_or(|only| only == *page)) {
        let (plain, status) = visitor.fetch(&path(pattern, seeded, 0), false).await;
        if status != StatusCode::OK {
            println!("{:>51}  {pattern}: {status}", "");
            continue;
        }
        let (sent, _) = visitor.fetch(&path(pattern, seeded, 0), true).await;
        round(&visitor, pattern, seeded, AT_ONCE).await;
        let before = house.server.cpu_time();
        let mut times = round(&visitor, pattern, seeded, requests).await;
        let spent = house.server.cpu_time().saturating_sub(before).as_secs_f64() * 1e3 / times.len() as f64;
        times.sort_unstable();
        let at = |part: f64| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let index = ((times.len() - 1) as f64 * part).round() as usize;
            times[index].as_secs_f64() * 1e3
        };
        println!("{:>9.2} {:>9.2} {spent:>9.2} {plain:>10} {sent:>10}  {pattern}", at(0.5), at(0.99));
    }
}

/// So many requests for a page, [`AT_ONCE`] of them at a time; the time of each.
async fn round(visitor: &Visitor, pattern: &'static str, seeded: &Seeded, requests: usize) -> Vec<Duration> {
    let workers = (0..AT_ONCE).map(|worker| {
        let (visitor, seeded) = (visitor.clone(), *seeded);
        tokio::spawn(async move {
            let mut times = Vec::new();
            for number in (worker..requests).step_by(AT_ONCE) {
                let path = path(pattern, &seeded, u32::try_from(number).expect("few requests"));
                let begun = Instant::now();
                let (_, status) = visitor.fetch(&path, true).await;
                times.push(begun.elapsed());
                assert_eq!(status, StatusCode::OK, "{path}");
            }
            times
        })
    });
    let mut times = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        times.extend(worker.await.expect("a worker ends"));
    }
    times
}

fn path(pattern: &str, seeded: &Seeded, number: u32) -> String {
    let number = number * 37 % seeded.size.hosts;
    pattern
        .replace("{host}", &seeded.host_id(number))
        .replace("{repo}", &seeded.repo_id(number))
        .replace("{job}", &seeded.job_id(number, number % seeded.size.days))
}

/// Somebody logged in.
#[derive(Clone)]
struct Visitor {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    cookie: String,
}

impl Visitor {
    async fn log_in(url: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let mut visitor = Self { client, url: url.to_owned(), cookie: String::new() };
        let login = serde_json::json!({ "username": "admin", "password": ADMIN_PASSWORD }).to_string();
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{url}/api/auth/login"))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(login));
        let response = visitor.client.request(request.expect("a request")).await.expect("the server answers");
        let cookie = response.headers()[SET_COOKIE].to_str().expect("a cookie is text");
        visitor.cookie = cookie.split(';').next().expect("a cookie has a value").to_owned();
        visitor
    }

    /// The number of bytes that came, and the status.
    async fn fetch(&self, path: &str, compressed: bool) -> (usize, StatusCode) {
        let encoding = if compressed { "gzip, deflate, br, zstd" } else { "identity" };
        let request = Request::builder()
            .uri(format!("{}{path}", self.url))
            .header(COOKIE, &self.cookie)
            .header(ACCEPT_ENCODING, encoding)
            .header("accept", "text/html");
        let request = request.body(Full::default()).expect("a request");
        let response: Response<_> = self.client.request(request).await.expect("the server answers");
        let status = response.status();
        assert!(compressed || !response.headers().contains_key(CONTENT_ENCODING), "{path}");
        (response.into_body().collect().await.expect("a body").to_bytes().len(), status)
    }
}
