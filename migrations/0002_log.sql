-- The log: every event of every stream that keeps some, first in the order in which they came,
-- later in pieces by stream. The layouts of the bodies are in src/engine/record.rs.

-- What was written together, in one body: one row a commit. It is read when the server starts;
-- once all of it stands in chunks the row goes.
create table journal (
    journal_id integer primary key,
    body       blob not null
) strict;

-- A piece of one stream: its events from first_offset to last_offset, less those that were
-- deleted. Whole pieces go when the stream has let go of all their events. An id is never given
-- again, for what was read of a piece is remembered by it.
create table chunk (
    chunk_id     integer primary key autoincrement,
    stream_id    blob    not null,
    first_offset integer not null,
    last_offset  integer not null,
    newest_ms    integer not null,
    body         blob    not null
) strict;

-- Holds all that is asked when a place is looked for, so that no body is touched for it.
create unique index chunk_place on chunk (stream_id, last_offset, first_offset, newest_ms);

-- Where a stream is, as far as chunks tell: its newest offset, the oldest that it has not let go
-- of, and how long its numbering is valid. It is loose while events may have been shown that a
-- crash would take back; a server that finds it loose begins a new epoch.
create table position (
    stream_id blob    primary key,
    epoch     integer not null,
    head      integer not null,
    first     integer not null,
    loose     integer not null
) strict, without rowid;

-- Hashes of events, so that a stream refuses one that it still keeps.
create table event_hash (
    stream_id blob    not null,
    hash      blob    not null,
    at_offset integer not null,
    constraint event_hash_key primary key (stream_id, hash)
) strict, without rowid;

create index event_hash_place on event_hash (stream_id, at_offset);

-- Idempotency-Keys and what was answered, for as long as a retry gets the same answer.
create table receipt (
    key     blob    primary key,
    used_ms integer not null,
    body    blob    not null
) strict, without rowid;

create index receipt_age on receipt (used_ms);

-- How a stream takes and keeps its events, where that differs from what is usual.
alter table stream add column ack text not null default 'durable';
alter table stream add column filter text;
alter table stream add column max_age_s integer;
alter table stream add column max_bytes integer;
