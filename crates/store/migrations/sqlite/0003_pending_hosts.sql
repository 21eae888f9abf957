-- Agents that announced themselves and wait for a person. An approved one is gone with its host.
create table pending_hosts (
    id           text not null primary key,
    key          blob not null unique,
    challenge    blob not null,
    facts        text not null,
    address      text not null,
    announced_at integer not null,
    expires_at   integer not null,
    state        text not null,
    host_id      text references hosts (id) on delete cascade
);
create index pending_hosts_by_end on pending_hosts (expires_at);
create index pending_hosts_by_host on pending_hosts (host_id);

-- The host that came of an enrolment token; it may be gone since.
alter table enrollments add column host_id text;
