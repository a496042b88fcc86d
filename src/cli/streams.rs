//! The commands that keep streams, on the database file itself.
//!
//! A server that runs on the same file does what they say within a second. Invariant: what they
//! take is what the HTTP API takes.

use crate::cli::catalogue::open;
use crate::cli::{Output, malformed};
use crate::config::Config;
use crate::domain::audit::Actor;
use crate::domain::durability::Durability;
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::id::SYSTEM;
use crate::domain::path::{CompanyName, Path};
use crate::domain::stream::{DEFAULT_CAPACITY, NewStream, RULE_NUMBERS, Rules, Stream, StreamChange, Target};
use crate::engine::filter::Filter;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What takes a rule away.
const NONE: &str = "none";

#[derive(Subcommand)]
pub enum StreamCommand {
    /// Add a stream.
    Add {
        /// Where: /company/segment…, at most 128 characters.
        path: String,
        #[command(flatten)]
        rules: RuleArgs,
    },
    /// Change a stream; what is not given stays as it is.
    Set {
        /// The stream's path.
        path: String,
        #[command(flatten)]
        rules: RuleArgs,
    },
    /// List a company's streams.
    List {
        /// The company.
        company: String,
    },
}

#[derive(Args)]
pub struct RuleArgs {
    /// How many events it keeps (1000 if never given); 0 keeps nothing, 1 keeps the last.
    #[arg(long, value_name = "N")]
    capacity: Option<u64>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// How safe an event is when its publisher is answered: accepted, written or durable (if never given).
    #[arg(long, value_name = "LEVEL", value_parser = durability)]
    ack: Option<Durability>,
    /// Which events it takes: 'elems.temp > 20 && EXISTS hash'; none for all.
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// How old events get before it lets go of them: 30d, 12h; none for any age.
    #[arg(long, value_name = "TIME", value_parser = age)]
    max_age: Option<Rule>,
    /// How many bytes of events it keeps at most, counted in whole pieces; none for any number.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_bytes: Option<Rule>,
}

/// A rule's number, or that there is to be none.
#[derive(Clone, Copy)]
pub struct Rule(Option<u64>);

fn durability(text: &str) -> Result<Durability, String> {
    Durability::parse(text, Code::BodyMalformed).map_err(|refusal| refusal.to_string())
}

fn age(text: &str) -> Result<Rule, String> {
    let wanted = || "a time with its unit in whole seconds is wanted, such as 30d or 12h, or none".to_owned();
    if text == NONE {
        return Ok(Rule(None));
    }
    let age: Duration = humantime::parse_duration(text).map_err(|_| wanted())?;
    let is_rule = age.subsec_nanos() == 0 && RULE_NUMBERS.contains(&age.as_secs());
    is_rule.then_some(Rule(Some(age.as_secs()))).ok_or_else(wanted)
}

fn bytes(text: &str) -> Result<Rule, String> {
    if text == NONE {
        return Ok(Rule(None));
    }
    let number = text.parse().ok().filter(|number| RULE_NUMBERS.contains(number));
    let wanted = || format!("a whole number from 1 to {} is wanted, or none", RULE_NUMBERS.end());
    number.map(|number| Rule(Some(number))).ok_or_else(wanted)
}

impl RuleArgs {
    fn change(self, config: &Config) -> Result<StreamChange, Refusal> {
        config.limits.check_capacity(self.capacity.unwrap_or(0))?;
        let description = self.description.as_deref().unwrap_or_default();
        config.limits.check_text("a description", description)?;
        let filter = self.filter.map(|text| (text != NONE).then_some(text));
        if let Some(text) = filter.as_ref().and_then(Option::as_deref) {
            Filter::parse(text, config.limits.max_filter_bytes)?;
        }
        Ok(StreamChange {
            description: self.description,
            capacity: self.capacity,
            ack: self.ack,
            filter,
            max_age_s: self.max_age.map(|Rule(seconds)| seconds),
            max_bytes: self.max_bytes.map(|Rule(bytes)| bytes),
        })
    }
}

impl StreamCommand {
    pub async fn run(self, config: &Config) -> Result<Output, Error> {
        match self {
            Self::Add { path, rules } => add(config, &path, rules).await,
            Self::Set { path, rules } => set(config, &path, rules).await,
            Self::List { company } => list(config, &company).await,
        }
    }
}

async fn add(config: &Config, path: &str, rules: RuleArgs) -> Result<Output, Error> {
    let path = Path::parse(path)?;
    let said = rules.change(config)?;
    let usual = || DEFAULT_CAPACITY.min(config.limits.max_capacity);
    let new = NewStream {
        path,
        description: said.description.unwrap_or_default(),
        capacity: said.capacity.unwrap_or_else(usual),
        rules: Rules {
            ack: said.ack.unwrap_or_default(),
            filter: said.filter.flatten(),
            max_age_s: said.max_age_s.flatten(),
            max_bytes: said.max_bytes.flatten(),
        },
    };
    let stream = open(config)
        .await?
        .add_stream(&new, SYSTEM, &Actor::COMMAND_LINE)
        .await?;
    let text = format!("{}  {}", stream.id, stream.path);
    Ok(Output::new(&describe(&stream), text))
}

async fn set(config: &Config, path: &str, rules: RuleArgs) -> Result<Output, Error> {
    let path = Path::parse(path)?;
    let change = rules.change(config)?;
    if change == StreamChange::default() {
        return Err(malformed("there is nothing to set: give at least one of the options"));
    }
    let catalogue = open(config).await?;
    catalogue.refresh().await?;
    let unknown = || Refusal::no_stream(&path);
    let stream = catalogue.find(&Target::Path(path.clone())).ok_or_else(unknown)?;
    let by = Actor::COMMAND_LINE;
    let stream = catalogue.change_stream(stream.id, &change, SYSTEM, &by).await?;
    let stream = stream.ok_or_else(unknown)?;
    Ok(Output::new(&describe(&stream), line(&stream)))
}

async fn list(config: &Config, company: &str) -> Result<Output, Error> {
    let company = CompanyName::parse(company)?;
    let streams = open(config).await?.streams_of(&company).await?;
    let lines: Vec<String> = streams.iter().map(line).collect();
    let text = if lines.is_empty() {
        format!("company {company} has no streams")
    } else {
        lines.join("\n")
    };
    let json: Value = streams.iter().map(describe).collect();
    Ok(Output::new(&json, text))
}

/// What is unusual about a stream's rules, by the names of the HTTP API.
fn unusual(rules: &Rules) -> Map<String, Value> {
    let ack = (rules.ack != Durability::default()).then(|| json!(rules.ack.word()));
    let all = [
        ("ack", ack),
        ("filter", rules.filter.as_ref().map(|text| json!(text))),
        ("maxAge", rules.max_age_s.map(|seconds| json!(seconds))),
        ("maxBytes", rules.max_bytes.map(|bytes| json!(bytes))),
    ];
    let there = all
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    there.collect()
}

fn describe(stream: &Stream) -> Value {
    let mut json = json!({
        "id": stream.id, "path": stream.path, "description": stream.description, "capacity": stream.capacity,
        "creationDate": stream.created_ms,
    });
    if let Value::Object(members) = &mut json {
        members.extend(unusual(&stream.rules));
    }
    json
}

fn line(stream: &Stream) -> String {
    let mut line = format!("{}  {}  capacity {}", stream.id, stream.path, stream.capacity);
    for (name, value) in unusual(&stream.rules) {
        line.push_str(&format!("  {name} {value}"));
    }
    line
}
