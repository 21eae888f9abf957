//! The rows of a fleet as statements that count for themselves.
//!
//! Everything follows from a host's number `i` and a day's `d`, so that ids can be told without reading them back.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::Seeded;

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// How long ago the hosts were enrolled.
pub(super) const ENROLLED: i64 = 400 * DAY;

/// What stands in the third part of an id, so that no two kinds of row share one.
pub(super) const HOST: u16 = 1;
pub(super) const REPO: u16 = 2;
const ATTACHMENT: u16 = 3;
pub(super) const GROUP: u16 = 4;
const OTHER_GROUP: u16 = 5;
pub(super) const SCHEDULE: u16 = 6;
pub(super) const JOB: u16 = 7;
pub(super) const RUN: u16 = 8;
pub(super) const PREVIEW: u16 = 9;
const MAINTENANCE: [(u16, &str, i64); 3] = [(0x100, "forget", 7), (0x200, "prune", 2), (0x300, "check", 1)];
const AUDIT: u16 = 12;
/// Jobs of maintenance a host: as many as the weeks in the table above.
pub(super) const MAINTENANCE_JOBS: u64 = 10;

/// One statement: `?1` is how many rows are counted, `?2` a list in JSON.
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) count: i64,
    pub(super) list: Option<String>,
}

/// An id as the statements below write it.
pub(super) fn id(at: i64, kind: u16, number: i64) -> String {
    format!("{:08x}-{:04x}-7{kind:03x}-8000-{number:012x}", at >> 16, at & 0xffff)
}

fn sql_id(at: &str, kind: u16, number: &str) -> String {
    format!("printf('%08x-%04x-7{kind:03x}-8000-%012x', ({at}) >> 16, ({at}) & 65535, {number})")
}

/// When the backup of a day began.
pub(super) fn backup_at(now: i64, number: i64, day: i64) -> i64 {
    now - 5 * HOUR - (number * 7_919 % 10_800) * SECOND - day * DAY
}

/// All statements, in an order that no reference minds.
pub(super) fn statements(seeded: &Seeded) -> Vec<Statement> {
    let words = Words::of(seeded);
    let hosts = i64::from(seeded.size.hosts);
    let per_host = |sql: String| Statement {
        sql: format!(
            "with recursive n(i) as (select 0 union all select i + 1 from n where i + 1 < ?1) {sql}"
        ),
        count: hosts,
        list: None,
    };
    let mut all = vec![words.hosts(&agent_tokens(seeded.size.hosts), hosts)];
    all.extend(words.plan().into_iter().map(per_host));
    let per_day = |sql: String, days: i64| Statement {
        // Day by day, the oldest first: ids grow, so that the index of the primary key is appended to.
        sql: format!(
            "with recursive m(k) as (select 0 union all select k + 1 from m where k + 1 < ?1), \
             n(i, d) as (select k % {hosts}, {days} - 1 - k / {hosts} from m) {sql}"
        ),
        count: hosts * days,
        list: None,
    };
    let days = i64::from(seeded.size.days);
    all.push(per_day(words.sizes(), days));
    all.push(per_day(words.runs(), days));
    all.push(per_day(words.backups(), days));
    for (kind, name, jobs) in MAINTENANCE {
        all.push(per_day(words.maintenance(kind, name), jobs));
    }
    all.push(per_day(words.snapshots(), days.min(10)));
    all.push(per_day(words.audit(), days.min(20)));
    all
}

/// The hashes by which the server knows the agents' tokens, in hexadecimal.
fn agent_tokens(hosts: u32) -> String {
    let mut list = String::from("[");
    for number in 0..hosts {
        let hash = Sha256::digest(Seeded::agent_token(number));
        list.push_str(if number == 0 { "\"" } else { ",\"" });
        for byte in hash {
            // Writing to a string cannot fail.
            let _ = write!(list, "{byte:02x}");
        }
        list.push('"');
    }
    list.push(']');
    list
}

/// The expressions that statements are made of.
struct Words {
    now: i64,
    days: i64,
    host: String,
    repo: String,
    attachment: String,
    group: String,
    other_group: String,
    schedule: String,
    run: String,
    /// When the backup of day `d` of host `i` began.
    at: String,
    /// How the backup went: `succeeded`, `warning` or `failed`.
    state: String,
    /// Bytes in the repository on day `d`.
    size: String,
}

impl Words {
    fn of(seeded: &Seeded) -> Self {
        let now = seeded.now;
        let enrolled = (now - ENROLLED).to_string();
        let at = format!("{now} - {} - (i * 7919 % 10800) * 1000 - d * {DAY}", 5 * HOUR);
        let of = |kind| sql_id(&enrolled, kind, "i");
        let dice = "((i + 7) * 2654435 + (d + 3) * 40503 * (i % 17 + 1)) % 1000";
        Self {
            now,
            days: i64::from(seeded.size.days),
            host: of(HOST),
            repo: of(REPO),
            attachment: of(ATTACHMENT),
            group: of(GROUP),
            other_group: of(OTHER_GROUP),
            schedule: of(SCHEDULE),
            run: sql_id(&at, RUN, "i"),
            state: format!(
                "case when {dice} < 5 then 'failed' when {dice} < 13 then 'warning' else 'succeeded' end"
            ),
            size: format!(
                "(4 + i * 37 % 400) * 1073741824 + ({} - d) * (i % 23) * 31457280",
                seeded.size.days
            ),
            at,
        }
    }

    fn hosts(&self, tokens: &str, count: i64) -> Statement {
        let Self { now, host, .. } = self;
        let name = "(select value from json_each('[\"db\",\"web\",\"mail\",\"git\",\"files\",\"build\",\"edge\",\"queue\"]') where key = i % 8) \
                    || '-' || (select value from json_each('[\"fra\",\"ams\",\"vie\",\"waw\",\"osl\"]') where key = i / 8 % 5) \
                    || '-' || printf('%04d', i)";
        let facts = "json_object('machine_id', 'machine-' || i, 'os_hostname', 'box' || i, 'os', 'linux', 'arch', 'x86_64', \
                     'agent_version', '0.1.0', 'restic_version', case when i % 6 then '0.18.0' else '0.16.4' end, 'restic_problem', null)";
        let tags = "case when i % 4 = 0 then '[\"prod\",\"eu\"]' when i % 4 = 1 then '[\"prod\"]' when i % 4 = 2 then '[\"staging\"]' else '[]' end";
        Statement {
            sql: format!(
                "insert into hosts (id, name, name_key, tags, facts, created_at, last_seen_at, schedule_version, schedule_version_acked, \
                 revision, agent_token) select {host}, {name}, {name}, {tags}, {facts}, {}, {now} - i % 60 * 1000, 1, 1, 0, unhex(token) \
                 from (select key as i, value as token from json_each(?2) where key < ?1)",
                now - ENROLLED
            ),
            count,
            list: Some(tokens.to_owned()),
        }
    }

    /// What there is once for each host.
    fn plan(&self) -> Vec<String> {
        let Self { now, host, repo, attachment, group, other_group, schedule, .. } = self;
        let enrolled = now - ENROLLED;
        // Before the first of the backups nothing was due.
        let planned = now - self.days * DAY;
        let name = format!("(select name from hosts where id = {host})");
        let group_of = |id: &str, name: &str, path: &str| {
            format!(
                "insert into source_groups (id, host_id, name, name_key, tag, includes, excludes, options, keep, retry_max, \
                 retry_backoff_seconds, created_at, updated_at) select {id}, {host}, '{name}', '{name}', '{name}', '[\"{path}\"]', '[]', \
                 '{{}}', '{{\"daily\":7,\"weekly\":4,\"monthly\":12}}', 3, 60, {enrolled}, {enrolled} from n"
            )
        };
        vec![
            format!(
                "insert into repos (id, name, name_key, restic_id, created_at, revision) select {repo}, {name}, {name}, \
                 printf('%064x', i + 1), {enrolled}, 0 from n"
            ),
            format!(
                "insert into maintenance (repo_id, settings, forget_since, prune_since, check_since) \
                 select {repo}, '{}', 0, 0, 0 from n",
                quiet_settings()
            ),
            format!(
                "insert into repo_stats (repo_id, total_size_bytes, size_kind, uncompressed_bytes, snapshot_count, measured_at, last_check, \
                 last_check_at, last_check_subset_pct, last_prune_at, locks, locks_seen_at) \
                 select {repo}, {}, 'referenced_data', null, 23 + i % 9, {now} - {HOUR}, \
                 case when i % 97 = 13 then 'errors_found' else 'ok' end, {now} - (i % 40) * {DAY}, 5, {now} - (i % 9) * {DAY}, '[]', \
                 {now} - {HOUR} from (select i, 0 as d from n)",
                self.size
            ),
            format!(
                "insert into attachments (id, host_id, repo_id, role, restic_host, append_only, created_at) \
                 select {attachment}, {host}, {repo}, 'primary', {name}, 'yes', {enrolled} from n"
            ),
            group_of(group, "home", "/home"),
            group_of(other_group, "etc", "/etc"),
            format!(
                "insert into schedules (id, host_id, name, name_key, cron, timezone, enabled, group_ids, created_at, updated_at) \
                 select {schedule}, {host}, 'nightly', 'nightly', (i % 60) || ' 3 * * *', 'Europe/Vienna', 1, \
                 json_array({group}), {enrolled}, {planned} from n"
            ),
            format!(
                "insert into snapshot_lists (host_id, repo_id, listed_at, total) select {host}, {repo}, {now}, 23 + i % 9 from n"
            ),
        ]
    }

    fn sizes(&self) -> String {
        let Self { now, repo, size, .. } = self;
        format!(
            "insert into stats_days (repo_id, day, total_size_bytes, snapshot_count) \
             select {repo}, ({now} - d * {DAY}) / {DAY} * {DAY}, {size}, 23 + i % 9 from n"
        )
    }

    fn runs(&self) -> String {
        let Self { host, repo, group, schedule, run, at, state, .. } = self;
        format!(
            "insert into runs (id, schedule_id, group_id, repo_id, slot, host_id, state, attempt, created_at) \
             select {run}, {schedule}, {group}, {repo}, {at}, {host}, {state}, 1, {at} from n"
        )
    }

    fn backups(&self) -> String {
        let Self { host, repo, group, run, at, state, .. } = self;
        let job = sql_id(at, JOB, "i");
        let summary = format!(
            "json_object('snapshot_id', {}, 'files_new', i * 7 % 300, 'files_changed', i * 3 % 90, \
                       'files_unmodified', 120000 + i, 'bytes_added', (i * 31 % 900) * 1048576, 'bytes_stored', (i * 31 % 900) * 524288, \
                       'files_processed', 120390 + i, 'bytes_processed', (4 + i * 37 % 400) * 1073741824, 'seconds', 40.0 + i % 500)",
            snapshot_id()
        );
        format!(
            "insert into jobs (id, kind, state, host_id, repo_id, group_id, run_id, slot, attempt, actor_kind, actor, created_at, \
             dispatched_at, started_at, finished_at, ended_here_at, class, exit_code, message, hint, summary) \
             select {job}, 'backup', state, {host}, {repo}, {group}, {run}, at, 1, 'system', '', at, at + 400, at + 900, \
             at + 40900 + i % 500 * 1000, at + 41000 + i % 500 * 1000, \
             case state when 'failed' then 'unreachable' when 'warning' then 'partial' else 'ok' end, \
             case state when 'failed' then 1 when 'warning' then 3 else 0 end, \
             case state when 'failed' then 'the repository does not answer: dial tcp 192.0.2.7:8000: connect: connection refused' \
             when 'warning' then '2 items could not be read' end, \
             case state when 'failed' then 'look whether the storage is up; it is tried again by itself' end, \
             case state when 'failed' then null else {summary} end \
             from (select i, d, {at} as at, {state} as state from n)"
        )
    }

    fn maintenance(&self, kind: u16, name: &str) -> String {
        let Self { now, host, repo, .. } = self;
        let at = format!("{now} - {} - i % 3600 * 1000 - d * {DAY}", 4 * HOUR);
        let job = sql_id(&at, kind, "i");
        format!(
            "insert into jobs (id, kind, state, host_id, repo_id, slot, attempt, actor_kind, actor, created_at, dispatched_at, started_at, \
             finished_at, ended_here_at, class, exit_code) select {job}, '{name}', 'succeeded', {host}, {repo}, {at}, 1, 'system', '', {at}, \
             {at} + 300, {at} + 700, {at} + 9000, {at} + 9100, 'ok', 0 from n"
        )
    }

    fn snapshots(&self) -> String {
        let Self { host, repo, at, .. } = self;
        format!(
            "insert into snapshots (host_id, repo_id, id, time, hostname, username, tags, paths, size_bytes, files, added_bytes) \
             select {host}, {repo}, {}, {at}, 'box' || i, 'root', '[\"home\"]', '[\"/home\"]', \
             (4 + i * 37 % 400) * 1073741824, 120390 + i, (1 + (i * 7 + d * 3) % 50) * 7340032 from n",
            snapshot_id()
        )
    }

    fn audit(&self) -> String {
        let Self { now, host, .. } = self;
        let at = format!("{now} - d * {DAY} - i % 80000 * 1000");
        let id = sql_id(&at, AUDIT, "i");
        format!(
            "insert into audit (id, at, actor_kind, actor, action, subject_kind, subject_id, detail) \
             select {id}, {at}, 'user', 'admin', case i % 3 when 0 then 'job.asked' when 1 then 'host.changed' else 'group.changed' end, \
             'host', {host}, '{{\"change\":\"tags\"}}' from n"
        )
    }
}

/// The id of the snapshot of day `d` of host `i`: one that looks as if restic had made it.
fn snapshot_id() -> &'static str {
    "printf('%08x%08x%048x', ((i + 3) * 2654435761 + d * 40503) & 4294967295, (i * 97 + d) * 2246822519 & 4294967295, i * 1000 + d)"
}

/// Maintenance that is switched off, as the product itself writes it: nothing falls due while somebody looks or measures.
fn quiet_settings() -> String {
    use restic_manager_core::maintenance::MaintenanceSettings;
    use restic_manager_core::schedule::Zone;
    let mut settings =
        serde_json::to_value(MaintenanceSettings::standard(Zone::UTC)).expect("settings are JSON");
    for kind in ["forget", "prune", "check"] {
        settings["policy"][kind]["enabled"] = false.into();
    }
    settings.to_string()
}
