//! The end of a run: every figure, what it has to be, and whether it is.
//!
//! Pure. A line that must be zero is a promise; one that must not be is a fault or a check without
//! which the others say nothing. Invariant: what was not put to the test does not hold.

use crate::cli::torture::oracle::Tally;
use serde_json::{Map, Value, json};

/// What was done in a run, and what went wrong apart from events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests that publish, without retries.
    pub requests: u64,
    /// The same request sent again, because nobody knew what had become of it.
    pub retries: u64,
    /// Requests without a key of which nobody knows what became.
    pub unknown: u64,
    /// Requests given up after a minute of retries.
    pub abandoned: u64,
    /// Answers that should not have come.
    pub refused: u64,
    /// The first of them, in words.
    pub first_refused: Option<String>,
    /// Answered requests sent again on purpose.
    pub replays: u64,
    /// Those that got another answer.
    pub replays_differing: u64,
    /// Batches whose places do not rise.
    pub disordered: u64,
    /// Sockets opened by readers.
    pub sockets: u64,
    /// Subscriptions that went on from a position.
    pub resumed: u64,
    /// Readers that went without a word.
    pub vanished: u64,
    /// Readers that stopped reading for a while.
    pub stalls: u64,
    /// Sockets that the server ended.
    pub ended: u64,
    /// Positions asked about when opening a session.
    pub standings: u64,
    /// Those whose answer contradicts itself.
    pub standings_wrong: u64,
    /// Frames that no subscription explains.
    pub unasked: u64,
    /// Events that readers had not got in the end.
    pub arrears: u64,
    /// kill -9, those with power cuts among them.
    pub kills: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// Changes of files that were not synced at power cuts.
    pub unsaved: u64,
    /// Those of them that were kept all the same.
    pub kept: u64,
    /// Times the server was stopped and continued.
    pub freezes: u64,
    /// Orderly restarts.
    pub restarts: u64,
    /// Episodes of a failing disk.
    pub illnesses: u64,
    /// Writes and syncs that failed in them.
    pub bites: u64,
    /// Episodes in which the server said that it was not ready.
    pub red: u64,
    /// Episodes after which publishing did not go on.
    pub unrecovered: u64,
    /// Times the server ended without having been told to.
    pub died: u64,
    /// Orderly ends that were none.
    pub bad_exits: u64,
    /// Streams made under load.
    pub founded: u64,
    /// Those of them that are no more.
    pub founded_lost: u64,
    /// Changes of files that the simulated disk saw.
    pub disk_changes: u64,
    /// Syncs that it let pass.
    pub disk_syncs: u64,
    /// Scans that the server did not answer.
    pub unscanned: u64,
    /// Lines about what is still held at the end.
    pub leaks: Vec<String>,
    /// Memory when there was most, in KiB.
    pub resident_kib: u64,
    /// What is wrong with the file at the end; nothing if it is sound, or cannot be judged.
    pub unsound: Option<String>,
}

impl Figures {
    /// Counts an answer that should not have come.
    pub fn refuse(&mut self, why: &str) {
        self.refused += 1;
        self.first_refused.get_or_insert_with(|| why.to_owned());
    }
}

/// What a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Anything.
    Free,
    /// Zero: a promise.
    Zero,
    /// More than zero: or nothing was put to the test.
    Some,
}

struct Line {
    name: &'static str,
    figure: u64,
    rule: Rule,
}

impl Line {
    fn holds(&self) -> bool {
        match self.rule {
            Rule::Free => true,
            Rule::Zero => self.figure == 0,
            Rule::Some => self.figure > 0,
        }
    }
}

/// All lines.
pub struct Verdict {
    seed: u64,
    seconds: u64,
    lines: Vec<Line>,
    remarks: Vec<String>,
}

impl Verdict {
    /// From what was counted.
    pub fn new(seed: u64, seconds: u64, tally: &Tally, figures: &Figures) -> Self {
        let mut lines = load(tally, figures);
        lines.extend(faults(figures));
        lines.extend(promises(tally, figures));
        let mut remarks = tally.notes.clone();
        remarks.extend(figures.leaks.clone());
        remarks.extend(figures.unsound.clone());
        remarks.extend(
            figures
                .first_refused
                .as_ref()
                .map(|why| format!("first unexpected answer: {why}")),
        );
        Self {
            seed,
            seconds,
            lines,
            remarks,
        }
    }

    /// Whether every line is as it has to be.
    pub fn holds(&self) -> bool {
        self.lines.iter().all(Line::holds)
    }

    /// For scripts.
    pub fn json(&self) -> Value {
        let figure = |line: &Line| (line.name.to_owned(), json!(line.figure));
        let figures: Map<String, Value> = self.lines.iter().map(figure).collect();
        let broken = self.lines.iter().filter(|line| !line.holds()).map(|line| line.name);
        json!({
            "seed": self.seed, "seconds": self.seconds, "holds": self.holds(), "figures": figures,
            "broken": broken.collect::<Vec<_>>(), "remarks": self.remarks,
        })
    }

    /// For people: a table, what is not as it has to be marked.
    pub fn text(&self) -> String {
        let mut text = format!("torture, seed {}, {} s\n\n", self.seed, self.seconds);
        for line in &self.lines {
            let mark = match (line.rule, line.holds()) {
                (_, false) => "BROKEN",
                (Rule::Zero, true) => "ok",
                _ => "",
            };
            text.push_str(format!("{:<38}{:>12}  {mark}", line.name, line.figure).trim_end());
            text.push('\n');
        }
        for remark in &self.remarks {
            text.push_str(&format!("  {remark}\n"));
        }
        text.push_str(match self.holds() {
            true => "\nevery promise held",
            false => "\nPROMISES BROKEN",
        });
        text
    }
}

const fn line(name: &'static str, figure: u64, rule: Rule) -> Line {
    Line { name, figure, rule }
}

fn load(tally: &Tally, figures: &Figures) -> Vec<Line> {
    vec![
        line("requests", figures.requests, Rule::Some),
        line("acked durable", tally.acked_durable, Rule::Some),
        line("acked written", tally.acked_written, Rule::Some),
        line("acked accepted", tally.acked_accepted, Rule::Some),
        line("acked without a level", tally.acked_plain, Rule::Free),
        line("retries", figures.retries, Rule::Free),
        line("unknown", figures.unknown, Rule::Free),
        line("replays", figures.replays, Rule::Free),
        line("sockets", figures.sockets, Rule::Some),
        line("delivered", tally.delivered, Rule::Some),
        line("told as gaps", tally.told, Rule::Free),
        line("resumed", figures.resumed, Rule::Some),
        line("vanished", figures.vanished, Rule::Free),
        line("stalls", figures.stalls, Rule::Free),
        line("sockets ended by the server", figures.ended, Rule::Free),
        line("positions asked about", figures.standings, Rule::Free),
        line("streams made", figures.founded, Rule::Some),
        line("scans", tally.scans, Rule::Some),
    ]
}

fn faults(figures: &Figures) -> Vec<Line> {
    // An episode may fall on a moment without writes; several do not.
    let must_show = if figures.illnesses > 2 { Rule::Some } else { Rule::Free };
    vec![
        line("changes of files", figures.disk_changes, Rule::Some),
        line("syncs", figures.disk_syncs, Rule::Some),
        line("kills", figures.kills, Rule::Free),
        line("power cuts", figures.power_cuts, Rule::Free),
        line("changes not synced then", figures.unsaved, Rule::Free),
        line("of them kept", figures.kept, Rule::Free),
        line("freezes", figures.freezes, Rule::Free),
        line("restarts", figures.restarts, Rule::Free),
        line("failing disks", figures.illnesses, Rule::Free),
        line("writes and syncs failed", figures.bites, must_show),
        line("told as not ready", figures.red, must_show),
        line("memory at most, KiB", figures.resident_kib, Rule::Free),
    ]
}

fn promises(tally: &Tally, figures: &Figures) -> Vec<Line> {
    let zero = |name, figure| line(name, figure, Rule::Zero);
    vec![
        zero("lost, durable", tally.lost_durable),
        zero("lost, written", tally.lost_written),
        zero("lost streams", figures.founded_lost),
        zero("duplicated", tally.duplicated),
        zero("swapped", tally.swapped),
        zero("altered", tally.altered),
        zero("holes in what is stored", tally.stored_holes),
        zero("fewer stored than to be kept", tally.stored_short),
        zero("delivered again or too late", tally.repeated),
        zero("untold gaps", tally.untold),
        zero("miscounted gaps", tally.miscounted),
        zero("numbered anew without need", tally.renumbered),
        zero("never arrived", figures.arrears),
        zero("frames nobody asked for", figures.unasked),
        zero("acked less than asked for", tally.shortfalls),
        zero("batches out of order", figures.disordered),
        zero("replays answered otherwise", figures.replays_differing),
        zero("positions misjudged", figures.standings_wrong),
        zero("unexpected answers", figures.refused),
        zero("retries without an end", figures.abandoned),
        zero("scans not answered", figures.unscanned),
        zero("disks never recovered from", figures.unrecovered),
        zero("ended by itself", figures.died),
        zero("disorderly ends", figures.bad_exits),
        zero("leaks", figures.leaks.len() as u64),
        zero("unsound files", u64::from(figures.unsound.is_some())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that saw some of everything and nothing wrong.
    fn good() -> (Tally, Figures) {
        let tally = Tally {
            acked_durable: 5,
            acked_written: 5,
            acked_accepted: 5,
            delivered: 9,
            scans: 1,
            ..Tally::default()
        };
        let figures = Figures {
            requests: 9,
            sockets: 2,
            resumed: 1,
            founded: 1,
            disk_changes: 1,
            disk_syncs: 1,
            ..Figures::default()
        };
        (tally, figures)
    }

    fn broken(change: impl FnOnce(&mut Tally, &mut Figures)) -> Vec<String> {
        let (mut tally, mut figures) = good();
        change(&mut tally, &mut figures);
        let verdict = Verdict::new(1, 2, &tally, &figures);
        let json = verdict.json();
        assert_eq!(json["holds"], verdict.holds());
        assert_eq!(verdict.text().contains("BROKEN"), !verdict.holds());
        let names = json["broken"].as_array().expect("a list");
        names
            .iter()
            .map(|name| name.as_str().expect("a name").to_owned())
            .collect()
    }

    #[test]
    fn a_run_without_a_fault_holds() {
        assert_eq!(broken(|_, _| {}), Vec::<String>::new());
    }

    #[test]
    fn one_broken_promise_is_enough() {
        assert_eq!(broken(|tally, _| tally.lost_durable = 1), ["lost, durable"]);
        assert_eq!(broken(|tally, _| tally.untold = 3), ["untold gaps"]);
        assert_eq!(broken(|_, figures| figures.leaks.push("socket".to_owned())), ["leaks"]);
        let unsound = |_: &mut Tally, figures: &mut Figures| figures.unsound = Some("torn".to_owned());
        assert_eq!(broken(unsound), ["unsound files"]);
    }

    #[test]
    fn what_was_not_tested_does_not_hold() {
        assert_eq!(broken(|tally, _| tally.scans = 0), ["scans"]);
        assert_eq!(broken(|tally, _| tally.acked_durable = 0), ["acked durable"]);
        assert_eq!(broken(|_, figures| figures.disk_changes = 0), ["changes of files"]);
        let blind = broken(|_, figures| figures.illnesses = 3);
        assert_eq!(blind, ["writes and syncs failed", "told as not ready"]);
    }
}
