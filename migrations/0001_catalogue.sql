-- The catalogue: who exists, what they may do, and which streams there are.
-- Times are milliseconds since 1970. Keys that people see are random; row ids stay inside.

-- A tenant. Its name is the first segment of all its paths.
create table company (
    company_id integer primary key,
    name       text    not null,
    created_ms integer not null,
    constraint company_name unique (name)
) strict;

-- A person of a company. The identity is what events carry as their creator.
create table user (
    user_id    integer primary key,
    company_id integer not null references company (company_id),
    name       text    not null,
    identity   blob    not null,
    created_ms integer not null,
    constraint user_name unique (company_id, name)
) strict;

-- The right to act. With a user it is that user's master token and has no scope of its own;
-- without one it is restricted to its scope. Of the secret only a keyed hash is here.
create table token (
    token_key  blob    primary key,
    company_id integer not null references company (company_id),
    user_id    integer references user (user_id),
    hash       blob    not null,
    scope      text,
    label      text    not null,
    creator    blob    not null,
    created_ms integer not null,
    expires_ms integer,
    revoked_ms integer,
    used_ms    integer,
    constraint token_hash unique (hash),
    constraint token_kind check ((user_id is null) <> (scope is null))
) strict;

-- An ordered sequence of events. Capacity 0 keeps nothing, 1 keeps the last.
create table stream (
    stream_id   blob    primary key,
    company_id  integer not null references company (company_id),
    path        text    not null,
    description text    not null,
    capacity    integer not null,
    creator     blob    not null,
    created_ms  integer not null,
    editor      blob,
    edited_ms   integer,
    constraint stream_path unique (path)
) strict;

create index stream_of_company on stream (company_id, path);

-- What the server keeps about itself, such as the signing secret.
create table setting (
    name  text primary key,
    value blob not null
) strict;

-- What changed, in order, so that a running server sees what another process did to its file.
-- Subjects are primary keys. Only the newest ten thousand stay; who missed more reads everything.
create table change (
    change_id integer primary key autoincrement,
    kind      text not null,
    subject   blob not null
) strict;

create trigger token_added after insert on token begin
    insert into change (kind, subject) values ('token', new.token_key);
end;

-- Being used is no change.
create trigger token_changed after update of hash, scope, label, expires_ms, revoked_ms on token begin
    insert into change (kind, subject) values ('token', new.token_key);
end;

create trigger token_removed after delete on token begin
    insert into change (kind, subject) values ('token', old.token_key);
end;

create trigger stream_added after insert on stream begin
    insert into change (kind, subject) values ('stream', new.stream_id);
end;

create trigger stream_changed after update on stream begin
    insert into change (kind, subject) values ('stream', new.stream_id);
end;

create trigger stream_removed after delete on stream begin
    insert into change (kind, subject) values ('stream', old.stream_id);
end;

create trigger change_trimmed after insert on change begin
    delete from change where change_id <= new.change_id - 10000;
end;
