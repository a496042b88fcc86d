//! The server as its clients see it: one binary, one stage, a file for each story.

mod creating;
mod crowd;
mod filters;
mod frames;
mod hostile;
mod limits;
mod liveness;
mod operations;
mod origins;
mod publishing;
mod raw;
mod reading;
mod replay;
mod rest;
mod resume;
mod sessions;
mod shutdown;
mod slow_readers;
mod stage;
mod streams;
mod subscribing;
mod tenants;
mod tokens;
mod transcript;
mod under_fire;
mod when_slow;
