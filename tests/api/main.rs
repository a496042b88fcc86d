//! The server as its clients see it: one binary, one stage, a file for each story.

mod stage;
mod transcript;
