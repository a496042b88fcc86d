-- People sign in with a password; tokens may be held to places; and who did what is kept.
-- Of passwords there is an Argon2 hash here, of logins and links a keyed hash.

-- Nobody has a password until they set one through a link. Who was there before manages.
alter table user add column password text;
alter table user add column manages integer not null default 1;
alter table user add column used_ms integer;

-- Where a token may be used: pages of these origins, from these networks; JSON arrays, or anywhere.
alter table token add column origins text;
alter table token add column addresses text;

-- Somebody is signed in, in one browser.
create table login (
    hash       blob    primary key,
    user_id    integer not null references user (user_id),
    created_ms integer not null,
    expires_ms integer not null
) strict, without rowid;

create index login_of_user on login (user_id, created_ms);

-- The right to set a password, once.
create table link (
    hash       blob    primary key,
    user_id    integer not null references user (user_id),
    expires_ms integer not null
) strict, without rowid;

create index link_of_user on link (user_id);
create index token_of_user on token (user_id);

-- Who did what, numbered without holes within a company. Rows are never changed, and only those
-- go that are older than a company's newest hundred thousand.
create table audit (
    company_id integer not null references company (company_id),
    number     integer not null,
    time_ms    integer not null,
    user       text,
    token      blob,
    address    text,
    action     text    not null,
    subject    text    not null,
    detail     text    not null,
    constraint audit_number primary key (company_id, number)
) strict, without rowid;

create trigger audit_numbered before insert on audit
when new.number is not (select coalesce(max(number), 0) + 1 from audit where company_id = new.company_id) begin
    select raise(abort, 'the audit is numbered without holes');
end;

create trigger audit_unchanged before update on audit begin
    select raise(abort, 'the audit is never changed');
end;

create trigger audit_kept before delete on audit
when old.number > (select max(number) from audit where company_id = old.company_id) - 100000 begin
    select raise(abort, 'the audit is kept');
end;

create trigger audit_trimmed after insert on audit begin
    delete from audit where company_id = new.company_id and number <= new.number - 100000;
end;

-- What a running server has to follow, beside what it follows already.
drop trigger token_changed;

create trigger token_changed after update of hash, scope, label, expires_ms, revoked_ms, origins, addresses on token begin
    insert into change (kind, subject) values ('token', new.token_key);
end;

create trigger user_changed after update of manages on user begin
    insert into change (kind, subject) select 'token', token_key from token where user_id = new.user_id;
end;

create trigger login_added after insert on login begin
    insert into change (kind, subject) values ('login', new.hash);
end;

create trigger login_removed after delete on login begin
    insert into change (kind, subject) values ('login', old.hash);
end;
