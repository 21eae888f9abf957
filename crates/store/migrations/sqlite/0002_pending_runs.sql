-- An open run that owes an attempt is a pending one: why, since when, and (`next_attempt_at`) when the attempt is due; not planned as long
-- as that is `pending_since` itself.
alter table runs add column pending_cause text;
alter table runs add column pending_since integer;
create index runs_pending on runs (next_attempt_at, id) where pending_since is not null;
create index runs_pending_of_host on runs (host_id, next_attempt_at) where pending_since is not null;

-- An attempt that was given up before it started, or that another job did, gave its number back.
drop index jobs_of_run;
create unique index jobs_of_run on jobs (run_id, attempt) where run_id is not null and gave_slot_back = 0;
create index jobs_by_run on jobs (run_id, id) where run_id is not null;

-- The hosts whose last job on a repository could not reach it; many of them open its breaker, the first that gets through closes it.
create table unreachable (
    repo_id text not null references repos (id) on delete cascade,
    host_id text not null references hosts (id) on delete cascade,
    since   integer not null,
    primary key (repo_id, host_id)
) without rowid;

-- Slots of a schedule that passed without a run, counted when their host came back; `missed_until` is the slot that ran in their stead.
alter table schedules add column missed integer not null default 0;
alter table schedules add column missed_until integer;
