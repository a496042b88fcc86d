-- Keys that a back end signs its own short-lived tokens (JWT) with, instead of asking with a secret.
-- Each is a token, so that its rights, its end and its use are kept like any other's; what is in that
-- row's hash is random, and no secret that anybody could present has it.

create table signing_key (
    token_key blob primary key references token (token_key) on delete cascade,
    -- What the header of a JWT may name it by.
    kid       text,
    -- The one algorithm that it is for.
    algorithm text not null,
    -- How the material is written: a public key as 'pem' or 'jwk', or a 'secret', which is sealed with
    -- a key of the signing secret's.
    form      text not null,
    material  blob not null,
    constraint signing_key_form check (form in ('pem', 'jwk', 'secret'))
) strict;
