//! `bench sessions`: sessions opened one after the other, with or without their sockets.
//!
//! Measures how many there are, and how long each takes. Nothing of them is kept.

use crate::cli::bench::book::Book;
use crate::cli::bench::crowd::Wish;
use crate::cli::bench::gauge::Meter;
use crate::cli::bench::grounds::Grounds;
use crate::cli::bench::http::Http;
use crate::cli::bench::progress::Progress;
use crate::cli::bench::report::{Report, Wrongs};
use crate::cli::bench::run::{Board, Run};
use crate::cli::bench::schedule::Turn;
use crate::cli::bench::senders::{Errand, Plan, Senders};
use crate::cli::bench::socket::{Socket, made_id};
use crate::cli::bench::{Aim, Rate, rate};
use crate::domain::durability::Durability;
use crate::domain::error::Error;
use clap::Args;
use serde_json::{Value, json};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

/// Room for what comes on a socket before it is let go.
const BUFFER_BYTES: usize = 4 << 10;

/// Open sessions: how many a second, and how long each takes.
///
/// With --connect each also opens its socket over a new connection, subscribes to a stream and is let go; its time
/// counts until the server has said that it is subscribed.
#[derive(Args)]
pub struct Sessions {
    #[command(flatten)]
    pub(in crate::cli::bench) aim: Aim,
    /// Sessions a second, all together; max for a closed loop.
    #[arg(long, value_name = "N|max", default_value = "max", value_parser = rate)]
    rate: Rate,
    /// How many are opened at once.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// Open each session's socket and subscribe.
    #[arg(long)]
    connect: bool,
    /// How long sessions are opened.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

/// What somebody who opens sessions does.
enum Visitor {
    /// Asks for one, over a connection that stays.
    Asks {
        run: Arc<Run>,
        board: Arc<Board>,
        http: Http,
    },
    /// Comes, subscribes and goes.
    Comes {
        run: Arc<Run>,
        board: Arc<Board>,
        stream: String,
    },
}

impl Sessions {
    pub(in crate::cli::bench) async fn measure(&self, run: &Arc<Run>, grounds: &Grounds) -> Result<Report, Error> {
        let stream = match self.connect {
            true => Some(grounds.make(run, 1, 0, Durability::default()).await?[0].clone()),
            false => None,
        };
        let board = Arc::new(Board::default());
        let pace = self.rate.pace(1);
        let plan = Plan {
            senders: self.connections,
            pace,
            length: Duration::from_secs(self.seconds),
            stop: Arc::default(),
        };
        let counted = Arc::clone(&board);
        let progress = Progress::show(move || format!("{} sessions", counted.events()));
        let meter = Meter::start(run.clock, self.aim.server_pid);
        let (with, board) = (Arc::clone(run), Arc::clone(&board));
        let visit = async move |_| Visitor::new(&with, &board, stream.clone()).await;
        let sent = Senders::start(run, plan, visit)?.finish().await?;
        let cost = meter.stop();
        drop(progress);
        let mut report = Report::new("sessions", self.words(), self.json(), cost);
        report.unit = "sessions";
        report.counts = vec![("sessions", sent.answered)];
        report.wrongs = Wrongs::of(&sent);
        report.times = vec![("opened", sent.answers.clone())];
        report.sent(pace, &sent);
        Ok(report)
    }

    fn words(&self) -> String {
        let how = if self.connect { ", connected and subscribed" } else { "" };
        format!(
            "{}{how}, {} at once, {} s",
            self.rate.words("sessions"),
            self.connections,
            self.seconds
        )
    }

    fn json(&self) -> Value {
        json!({
            "rate": self.rate.json(), "connections": self.connections, "connect": self.connect, "seconds": self.seconds,
        })
    }
}

impl Visitor {
    async fn new(run: &Arc<Run>, board: &Arc<Board>, stream: Option<String>) -> Result<Self, Error> {
        let (run, board) = (Arc::clone(run), Arc::clone(board));
        Ok(match stream {
            Some(stream) => Self::Comes { run, board, stream },
            None => Self::Asks {
                http: Http::connect(&run.target, 0).await?,
                run,
                board,
            },
        })
    }
}

impl Errand for Visitor {
    async fn run(&mut self, _: &Turn) -> Result<(), Error> {
        match self {
            Self::Asks { run, board, http } => {
                if http.is_over().await {
                    *http = Http::connect(&run.target, 0).await?;
                }
                let answer = http.ask(&run.target.request("POST", "/session", "")).await?;
                made_id(answer.success()?)?;
                board.owe(1, 0);
            }
            Self::Comes { run, board, stream } => {
                let mut socket = Socket::open(&run.target, 0).await?;
                socket.subscribe(stream, false).await?;
                until_subscribed(&mut socket).await?;
                board.owe(1, 0);
            }
        }
        Ok(())
    }
}

async fn until_subscribed(socket: &mut Socket) -> Result<(), Error> {
    let mut book = Book::new(&[0], 0, Wish::Live);
    let mut buffer = [0; BUFFER_BYTES];
    while !book.is_subscribed(0) {
        poll_fn(|context| {
            // A socket that is new is not pinged.
            socket.poll_frames(context, &mut buffer, |frame| book.take(0, &frame, 0).map(|_| ()))
        })
        .await?;
    }
    Ok(())
}
