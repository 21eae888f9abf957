-- What the backup of a snapshot added to the repository.
alter table snapshots add column added_bytes integer;
