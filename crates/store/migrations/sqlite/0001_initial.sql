-- Ids are text (UUIDv7, hyphenated), instants are integer milliseconds UTC, enums are text checked in code, lists and maps are JSON.
-- Jobs and runs refer to hosts, repositories and groups without foreign keys: history outlives its owners. What a deleted owner was
-- called stands in `departed_names`, so that deleting one writes a row and not a million.

create table facts (
    key   text not null primary key,
    value text not null
) without rowid;

create table users (
    id            text not null primary key,
    name          text not null unique,
    password_hash text not null,
    created_at    integer not null
);

create table sessions (
    id         text not null primary key,
    hash       blob not null unique,
    csrf_hash  blob not null,
    user_id    text not null references users (id) on delete cascade,
    created_at integer not null,
    expires_at integer not null
);
create index sessions_of_user on sessions (user_id);
create index sessions_by_end on sessions (expires_at);

create table tokens (
    id           text not null primary key,
    hash         blob not null unique,
    user_id      text not null references users (id) on delete cascade,
    name         text not null,
    created_at   integer not null,
    expires_at   integer not null,
    last_used_at integer,
    revoked_at   integer
);
create index tokens_of_user on tokens (user_id, id);

create table enrollments (
    id         text not null primary key,
    hash       blob not null unique,
    host_name  text,
    created_at integer not null,
    expires_at integer not null,
    used_at    integer
);
create index enrollments_by_end on enrollments (expires_at);

-- `name_key` is the name in lower case by Unicode's rules, which SQLite's lower() does not know.
create table hosts (
    id                     text not null primary key,
    name                   text not null,
    name_key               text not null,
    tags                   text not null,
    facts                  text not null,
    limit_upload_kib       integer,
    limit_download_kib     integer,
    created_at             integer not null,
    last_seen_at           integer,
    schedule_version       integer not null,
    schedule_version_acked integer not null,
    revision               integer not null,
    agent_token            blob not null unique,
    session_epoch          integer not null default 0,
    os_hostname            text generated always as (facts ->> 'os_hostname') virtual
);
create index hosts_by_os_hostname on hosts (os_hostname);
create unique index hosts_by_name on hosts (name_key);
create index hosts_in_order on hosts (name_key, id);

create table repos (
    id         text not null primary key,
    name       text not null,
    name_key   text not null,
    restic_id  text,
    runner     text references attachments (id),
    created_at integer not null,
    revision   integer not null,
    wake_at    integer
);
create unique index repos_by_name on repos (name_key);
create index repos_in_order on repos (name_key, id);
create unique index repos_by_restic_id on repos (restic_id) where restic_id is not null;
create index repos_by_runner on repos (runner) where runner is not null;
-- Whose maintenance is to be looked at: a tick reads these and nothing of the rest of the fleet.
create index repos_by_wake on repos (wake_at, id) where wake_at is not null;

-- One row a repository; `check_held_since` and `check_held_pct` are the errors that hold its prune, and how much data showed them.
create table maintenance (
    repo_id          text not null primary key references repos (id) on delete cascade,
    settings         text,
    forget_since     integer not null,
    prune_since      integer not null,
    check_since      integer not null,
    check_held_since integer,
    check_held_pct   integer
) without rowid;

create table repo_stats (
    repo_id               text not null primary key references repos (id) on delete cascade,
    total_size_bytes      integer,
    size_kind             text,
    uncompressed_bytes    integer,
    snapshot_count        integer,
    measured_at           integer,
    last_check            text,
    last_check_at         integer,
    last_check_subset_pct integer,
    last_prune_at         integer,
    locks                 text,
    locks_seen_at         integer
) without rowid;

create table stats_days (
    repo_id          text not null references repos (id) on delete cascade,
    day              integer not null,
    total_size_bytes integer,
    snapshot_count   integer,
    primary key (repo_id, day)
) without rowid;

create table attachments (
    id          text not null primary key,
    host_id     text not null references hosts (id) on delete cascade,
    repo_id     text not null references repos (id),
    role        text not null,
    restic_host text not null,
    append_only text not null,
    created_at  integer not null,
    unique (host_id, repo_id)
);
create unique index attachments_primary on attachments (host_id) where role = 'primary';
create unique index attachments_restic_host on attachments (repo_id, restic_host);
-- The first of a repository is its runner, where none is named.
create index attachments_by_age on attachments (repo_id, (role <> 'primary'), created_at, id);

create table credentials (
    attachment_id     text not null references attachments (id) on delete cascade,
    kind              text not null,
    url               text not null,
    rest_user         text,
    has_rest_password integer not null,
    env_names         text not null,
    revision          integer not null,
    updated_at        integer not null,
    blob              blob not null,
    primary key (attachment_id, kind)
);

create table source_groups (
    id                    text not null primary key,
    host_id               text not null references hosts (id) on delete cascade,
    name                  text not null,
    name_key              text not null,
    tag                   text not null,
    includes              text not null,
    excludes              text not null,
    options               text not null,
    keep                  text not null,
    retry_max             integer not null,
    retry_backoff_seconds integer not null,
    created_at            integer not null,
    updated_at            integer not null
);
create unique index groups_by_name on source_groups (host_id, name_key);
create unique index groups_by_tag on source_groups (host_id, tag);

create table schedules (
    id         text not null primary key,
    host_id    text not null references hosts (id) on delete cascade,
    name       text not null,
    name_key   text not null,
    cron       text not null,
    timezone   text not null,
    enabled    integer not null,
    group_ids  text not null,
    repo_ids   text,
    created_at integer not null,
    updated_at integer not null
);
create unique index schedules_by_name on schedules (host_id, name_key);

create table runs (
    id              text not null primary key,
    schedule_id     text not null,
    group_id        text not null,
    repo_id         text not null,
    slot            integer not null,
    host_id         text not null,
    state           text not null,
    attempt         integer not null,
    next_attempt_at integer,
    why             text,
    created_at      integer not null
);
create unique index runs_by_key on runs (schedule_id, group_id, repo_id, slot);
-- A newer slot looks for older ones that still wait.
create index runs_open on runs (schedule_id, group_id, repo_id, slot) where state = 'open';

-- `finished_at` may be by the agent's clock; `ended_here_at` is when the server learned of the end, by its own.
create table jobs (
    id                  text not null primary key,
    kind                text not null,
    state               text not null,
    host_id             text not null,
    repo_id             text not null,
    group_id            text,
    run_id              text,
    slot                integer,
    attempt             integer not null,
    actor_kind          text not null,
    actor               text not null,
    created_at          integer not null,
    dispatched_at       integer,
    started_at          integer,
    finished_at         integer,
    cancel_requested_at integer,
    class               text,
    exit_code           integer,
    message             text,
    hint                text,
    summary             text,
    intent              text,
    gave_slot_back      integer not null default 0,
    ended_here_at       integer,
    preview_group       text generated always as (intent ->> 'preview_group') virtual
);
create unique index jobs_of_run on jobs (run_id, attempt) where run_id is not null;
create unique index jobs_open_of_run on jobs (run_id)
    where run_id is not null and state in ('queued', 'dispatched', 'running');
-- A slot of maintenance has one job; one that was given up before it started gave its slot back, and does not get it again even if its
-- agent says later that it ran.
create unique index jobs_of_slot on jobs (repo_id, kind, slot, attempt)
    where run_id is null and slot is not null and gave_slot_back = 0;
-- The newest of a kind anchors its cadence.
create index jobs_anchors on jobs (repo_id, kind, id)
    where kind in ('forget', 'prune', 'check') and state not in ('superseded', 'withdrawn') and preview_group is null;
-- What is not final: admission reads these and nothing of the history.
create index jobs_open on jobs (state, created_at, id) where state in ('queued', 'dispatched', 'running');
create index jobs_open_of_host on jobs (host_id, repo_id) where state in ('queued', 'dispatched', 'running');
create index jobs_open_of_repo on jobs (repo_id) where state in ('queued', 'dispatched', 'running');
create index jobs_failed on jobs (finished_at) where state in ('failed', 'lost');
-- Pages, newest first by id.
create index jobs_of_host on jobs (host_id, kind, id);
create index jobs_of_repo on jobs (repo_id, kind, state, id);
create index jobs_of_group on jobs (group_id, id) where group_id is not null;
create index jobs_of_kind on jobs (kind, state, id);
create index jobs_by_age on jobs (created_at, id);

create table departed_names (
    id   text not null primary key,
    name text not null
) without rowid;

create table spools (
    host_id       text not null references hosts (id) on delete cascade,
    spool_id      text not null,
    committed_seq integer not null,
    primary key (host_id, spool_id)
) without rowid;

-- One row a job: the counters of its log, so that nothing is ever summed up.
create table logs (
    log_id     integer primary key,
    job_id     text not null unique references jobs (id) on delete cascade,
    next_n     integer not null,
    text_bytes integer not null,
    head_bytes integer not null,
    head_end   integer
);

create table log_chunks (
    chunk_id   integer primary key,
    log_id     integer not null references logs (log_id) on delete cascade,
    first_n    integer not null,
    last_n     integer not null,
    line_count integer not null,
    text_bytes integer not null,
    lines      blob not null
);
create unique index log_chunks_in_order on log_chunks (log_id, first_n);

-- `listed_at` is by the agent's clock and orders nothing.
create table snapshot_lists (
    host_id   text not null references hosts (id) on delete cascade,
    repo_id   text not null references repos (id) on delete cascade,
    listed_at integer not null,
    total     integer not null,
    primary key (host_id, repo_id)
) without rowid;
create index snapshot_lists_of_repo on snapshot_lists (repo_id);

create table snapshots (
    host_id    text not null,
    repo_id    text not null,
    id         text not null,
    time       integer not null,
    hostname   text not null,
    username   text,
    tags       text not null,
    paths      text not null,
    size_bytes integer,
    files      integer,
    primary key (host_id, repo_id, id),
    foreign key (host_id, repo_id) references snapshot_lists (host_id, repo_id) on delete cascade
) without rowid;
create index snapshots_by_age on snapshots (host_id, time desc, repo_id, id);

-- The time of the newest snapshot with a tag, so that no list is searched for it.
create table newest_snapshots (
    host_id text not null,
    repo_id text not null,
    tag     text not null,
    time    integer not null,
    primary key (host_id, repo_id, tag),
    foreign key (host_id, repo_id) references snapshot_lists (host_id, repo_id) on delete cascade
) without rowid;

create table audit (
    id           text not null primary key,
    at           integer not null,
    actor_kind   text not null,
    actor        text not null,
    action       text not null,
    subject_kind text not null,
    subject_id   text not null,
    detail       text not null
);
create index audit_by_actor on audit (actor, id);
create index audit_by_action on audit (action, id);
create index audit_by_subject on audit (subject_id, id);
create index audit_by_time on audit (at, id);
