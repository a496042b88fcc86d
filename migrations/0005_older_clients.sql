-- What clients of older systems need: settings of their company, and what it keeps of its users.

-- A company's settings, as a JSON object; a member that is missing has its default.
create table company_setting (
    company_id integer primary key references company (company_id) on delete cascade,
    settings   text    not null
) strict;

-- A JSON object for each user, which clients of notices read and write.
create table user_meta (
    user_id integer primary key references user (user_id) on delete cascade,
    meta    text    not null
) strict;

-- Companies are noted by name.
create trigger company_added after insert on company begin
    insert into change (kind, subject) values ('company', cast(new.name as blob));
end;

-- Users are noted when they go, by company and name, so that it can be told.
create trigger user_removed after delete on user begin
    insert into change (kind, subject)
    select 'user', cast(name || '/' || old.name as blob) from company where company_id = old.company_id;
end;

create trigger company_settled after insert on company_setting begin
    insert into change (kind, subject)
    select 'company', cast(name as blob) from company where company_id = new.company_id;
end;

create trigger company_resettled after update on company_setting begin
    insert into change (kind, subject)
    select 'company', cast(name as blob) from company where company_id = new.company_id;
end;
