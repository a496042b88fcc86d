//! What a run came to, for people and for scripts.
//!
//! Pure. In JSON times are whole microseconds and keys are stable. Invariant: figures that this program itself limited
//! are never shown without saying so.

use crate::cli::Output;
use crate::cli::bench::gauge::Cost;
use crate::cli::bench::latency::{Latency, SHOWN};
use crate::cli::bench::run::Run;
use crate::cli::bench::schedule::{Micros, Pace};
use crate::cli::bench::senders::Sent;
use crate::domain::error::Code;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Requests sent this late in one case of a hundred are worth a word, if it is also a tenth of what is measured.
const LATE: Micros = 1_000;
/// The share of its time that a thread may be busy before it counts as at its limit.
const BUSY: f64 = 0.9;

/// What was counted, by its name in both forms.
pub type Counts = Vec<(&'static str, u64)>;

/// What went wrong.
#[derive(Debug, Default)]
pub struct Wrongs {
    /// Events that did not come and were not told as missing.
    pub lost: u64,
    /// Events that came again.
    pub doubled: u64,
    /// Events that came after a later one.
    pub swapped: u64,
    /// Events that readers were told do not come.
    pub told: u64,
    /// Requests that were due and never sent, since answers took too long.
    pub unsent: u64,
    /// Refusals by their code.
    pub refused: BTreeMap<&'static str, u64>,
}

/// All of it.
pub struct Report {
    /// The kind of run, as it is typed.
    pub bench: &'static str,
    /// Its settings in words.
    pub what: String,
    /// And as members.
    pub settings: Value,
    /// How requests were timed, if there were any.
    pub pace: Option<Pace>,
    /// What was counted.
    pub counts: Counts,
    /// What is counted for a server's cost.
    pub unit: &'static str,
    /// What went wrong.
    pub wrongs: Wrongs,
    /// Times by name, the most interesting first.
    pub times: Vec<(&'static str, Latency)>,
    /// What it cost.
    pub cost: Cost,
    /// How much of its time the busiest reading thread was busy.
    pub busiest: Option<f64>,
    /// What is to be known about the figures.
    pub notes: Vec<String>,
    kept_up: bool,
}

impl Wrongs {
    /// Whether there are none.
    pub fn are_none(&self) -> bool {
        let Self {
            lost,
            doubled,
            swapped,
            told,
            unsent,
            refused,
        } = self;
        [lost, doubled, swapped, told, unsent].iter().all(|count| **count == 0) && refused.is_empty()
    }

    /// Takes over what senders had.
    pub fn of(sent: &Sent) -> Self {
        Self {
            unsent: sent.unsent,
            refused: sent.refused.clone(),
            ..Self::default()
        }
    }

    fn all_refused(&self) -> u64 {
        self.refused.values().sum()
    }
}

impl Report {
    /// Nothing but names and what it cost.
    pub fn new(bench: &'static str, what: String, settings: Value, cost: Cost) -> Self {
        Self {
            bench,
            what,
            settings,
            pace: None,
            counts: Vec::new(),
            unit: "deliveries",
            wrongs: Wrongs::default(),
            times: Vec::new(),
            cost,
            busiest: None,
            notes: Vec::new(),
            kept_up: true,
        }
    }

    /// Takes over what is to be said of the senders; `times` has the answers' or what is more interesting first.
    pub fn sent(&mut self, pace: Pace, sent: &Sent) {
        self.pace = Some(pace);
        let measured = self.times.first().map_or(0, |(_, times)| times.at(0.99));
        let late = sent.late.at(0.99);
        if pace != Pace::Closed && late > LATE.max(measured / 10) {
            self.fall_behind(format!(
                "one request in a hundred was sent more than {} ms late",
                ms(late)
            ));
        }
        let requests = sent.late.count().max(1);
        if pace != Pace::Closed && sent.waited * 100 > requests {
            self.notes.push(format!(
                "{} of {requests} requests were due while their sender waited for an answer; that is in their times, \
                 and with more senders they would have gone out sooner",
                sent.waited
            ));
        }
        if sent.unsent > 0 {
            self.notes.push(format!(
                "{} requests were never sent, as the server did not take them at this rate; they count in the times of \
                 answers only",
                sent.unsent
            ));
        }
        self.times.push(("sent late", sent.late.clone()));
    }

    /// Takes over how busy the readers' threads were.
    pub fn read(&mut self, busiest: Option<f64>) {
        self.busiest = busiest;
        if let Some(share) = busiest.filter(|share| *share > BUSY) {
            self.fall_behind(format!(
                "its busiest reading thread was busy for {} of the time; try --threads",
                percent(share)
            ));
        }
    }

    fn fall_behind(&mut self, how: String) {
        self.kept_up = false;
        self.notes.push(format!("the generator could not keep up: {how}"));
    }

    /// Both forms, and whether all is well.
    pub fn output(&self, run: &Run) -> Output {
        Output {
            json: self.json(run).to_string(),
            text: self.text(run),
            is_good: self.wrongs.are_none(),
        }
    }

    fn seconds(&self) -> f64 {
        self.cost.time as f64 / 1e6
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.seconds().max(1e-6)
    }

    /// The server's processor seconds for a million of the unit.
    fn per_million(&self, seconds: f64) -> Option<f64> {
        let (_, count) = self.counts.iter().find(|(name, _)| *name == self.unit)?;
        (*count > 0).then(|| seconds * 1e6 / *count as f64)
    }

    fn json(&self, run: &Run) -> Value {
        let members = |all: &mut dyn Iterator<Item = (&'static str, Value)>| {
            Value::Object(all.map(|(name, value)| (key(name), value)).collect::<Map<_, _>>())
        };
        let Wrongs {
            lost,
            doubled,
            swapped,
            told,
            unsent,
            refused,
        } = &self.wrongs;
        let server = self.cost.server.map(|(seconds, resident)| {
            let million = format!("cpuSecondsPerMillion{}", capital(self.unit));
            json!({"cpuSeconds": rounded(seconds), million: self.per_million(seconds).map(rounded), "residentBytes": resident})
        });
        json!({
            "bench": self.bench, "run": run.name, "server": run.target.url, "settings": self.settings,
            "loop": self.pace.map(word), "seconds": rounded(self.seconds()),
            "counts": members(&mut self.counts.iter().map(|(name, count)| (*name, json!(count)))),
            "perSecond": members(&mut self.counts.iter().map(|(name, count)| (*name, json!(rounded(self.per_second(*count)))))),
            "wrong": {"lost": lost, "doubled": doubled, "swapped": swapped, "told": told, "unsent": unsent, "refused": refused},
            "latencyUs": members(&mut self.times.iter().map(|(name, times)| (*name, times.json()))),
            "generator": {
                "keptUp": self.kept_up, "cpuCores": self.cost.own.map(|seconds| rounded(seconds / self.seconds())),
                "busiestReader": self.busiest.map(rounded), "notes": self.notes,
            },
            "cost": server, "good": self.wrongs.are_none(),
        })
    }

    fn text(&self, run: &Run) -> String {
        let mut text = format!(
            "{}: {}\n{}, run {}\n\n",
            self.bench, self.what, run.target.url, run.name
        );
        // Writing to a string cannot fail.
        for (name, count) in &self.counts {
            let _ = writeln!(text, "  {name:<12}{count:>14}{:>14.0} /s", self.per_second(*count));
        }
        let Wrongs {
            lost,
            doubled,
            swapped,
            told,
            unsent,
            ..
        } = &self.wrongs;
        let refused = self.wrongs.all_refused();
        let _ = writeln!(
            text,
            "\n  lost {lost}, doubled {doubled}, swapped {swapped}, told as missing {told}, refused {refused}, never sent {unsent}"
        );
        for (code, count) in &self.wrongs.refused {
            let _ = writeln!(text, "  refused {count} times, {code}: {}", advice(code));
        }
        self.put_times(&mut text);
        self.put_costs(&mut text);
        for note in &self.notes {
            let _ = writeln!(text, "  {note}");
        }
        text.trim_end().to_owned()
    }

    fn put_times(&self, text: &mut String) {
        let names = SHOWN.map(|(name, _)| name).into_iter().chain(["max"]);
        let _ = writeln!(
            text,
            "\n  {:<12}{}",
            "ms",
            names.map(|name| format!("{name:>11}")).collect::<String>()
        );
        for (name, times) in self.times.iter().filter(|(_, times)| times.count() > 0) {
            let row: String = times.shown().iter().map(|time| format!("{:>11}", ms(*time))).collect();
            let _ = writeln!(text, "  {name:<12}{row}");
        }
        let meaning = match self.pace {
            None => "",
            Some(Pace::Open(_)) => "  Open loop: times count from when a request was due, not from when it was sent.\n",
            Some(Pace::Closed) => {
                "  Closed loop, as fast as it goes: times are mostly those of waiting in line; for latency give a --rate.\n"
            }
        };
        text.push_str(meaning);
        text.push('\n');
    }

    fn put_costs(&self, text: &mut String) {
        if let Some((seconds, resident)) = self.cost.server {
            let million = self.per_million(seconds).unwrap_or_default();
            let resident = resident.map_or_else(String::new, |bytes| format!(", {:.1} MiB resident", mib(bytes)));
            let _ = writeln!(
                text,
                "  the server used {seconds:.2} processor seconds, {million:.3} for a million {}{resident}",
                self.unit
            );
        }
        if let Some(own) = self.cost.own {
            let busiest = self
                .busiest
                .map_or_else(String::new, |share| format!(", its busiest reader {}", percent(share)));
            let share = percent(own / self.seconds());
            let _ = writeln!(text, "  the generator used {share} of a processor{busiest}");
        }
    }
}

/// A time in milliseconds.
fn ms(time: Micros) -> String {
    format!("{:.3}", time as f64 / 1e3)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// As many digits as mean something.
fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

fn word(pace: Pace) -> &'static str {
    match pace {
        Pace::Open(_) => "open",
        Pace::Closed => "closed",
    }
}

fn advice(code: &str) -> &'static str {
    let known = Code::ALL
        .iter()
        .map(|known| known.entry())
        .find(|entry| entry.code == code);
    known.map_or("", |entry| entry.advice)
}

/// A name of several words as a member: `sent late` is `sentLate`.
fn key(name: &str) -> String {
    let mut words = name.split(' ');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |key, word| key + &capital(word))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(pace: Pace, sent: &Sent) -> Report {
        let cost = Cost {
            time: 1_000_000,
            own: None,
            server: None,
        };
        let mut report = Report::new("ingest", String::new(), Value::Null, cost);
        report.wrongs = Wrongs::of(sent);
        report.times = vec![("answered", sent.answers.clone())];
        report.sent(pace, sent);
        report
    }

    /// A hundred requests, each sent so late and answered after so long.
    fn sent(late: Micros, took: Micros) -> Sent {
        let mut sent = Sent::new();
        for _ in 0..100 {
            sent.late.record(late);
            sent.answers.record(took);
        }
        sent
    }

    #[test]
    fn a_generator_that_was_the_limit_is_told() {
        let said = |pace, sent: &Sent| {
            let report = report(pace, sent);
            (report.kept_up, report.notes.len())
        };
        let open = Pace::Open(100.0);
        assert_eq!(said(open, &sent(5_000, 8_000)), (false, 1));
        assert_eq!(said(open, &sent(900, 8_000)), (true, 0), "too little to matter");
        assert_eq!(
            said(open, &sent(5_000, 80_000)),
            (true, 0),
            "a small part of what is measured"
        );
        assert_eq!(said(Pace::Closed, &sent(5_000, 8_000)), (true, 0), "nothing was due");
        let mut report = report(open, &sent(0, 10));
        report.read(Some(0.95));
        assert!(
            !report.kept_up && report.notes[0].contains("--threads"),
            "{:?}",
            report.notes
        );
    }

    #[test]
    fn what_was_never_sent_or_was_refused_is_no_success() {
        let mut given_up = sent(0, 10);
        (given_up.unsent, given_up.waited) = (3, 50);
        let report = report(Pace::Open(100.0), &given_up);
        assert!(!report.wrongs.are_none());
        assert!(report.notes[0].starts_with("50 of 100 ") && report.notes[1].starts_with("3 requests"));
        let mut refused = sent(0, 10);
        refused.refused.insert("limit.rate", 2);
        assert!(!Wrongs::of(&refused).are_none() && Wrongs::of(&sent(0, 10)).are_none());
        assert!(advice("limit.rate").contains("STREAMGATE_RATE_SESSIONS"));
    }

    #[test]
    fn names_of_several_words_are_members() {
        assert_eq!(
            (key("sent late").as_str(), key("events").as_str()),
            ("sentLate", "events")
        );
    }
}
