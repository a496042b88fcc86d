//! `POST …/event/<streamId>/aggregate`: the events of a stream in groups, each summed up.

use crate::broker::Broker;
use crate::domain::error::{Error, Refusal};
use crate::domain::stream::Target;
use crate::engine::aggregate::{Plan, Wish};
use crate::protocol::json;
use crate::protocol::reply::Done;
use crate::protocol::rest::verbs::{Outcome, answer, asker, asker_and_body, stream_id};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What is to be put together. Selectors are `$count`, functions of a value (`$sum:t` `$avg:t` `$min:t`
/// `$max:t` `$unique:t` `$all:t`), parts of a date in UTC (`$year` `$month` `$day` `$hour` `$minute`
/// `$second`, of `creationDate` if none is named: `$hour:seen`), and `distance:x` of a rule `x`.
#[derive(Deserialize, ToSchema)]
#[serde(
    deny_unknown_fields,
    rename_all = "camelCase",
    expecting = "an object with \"output\", and \"groupBy\", \"filter\", \"rules\" or \"sorts\""
)]
#[schema(as = Aggregation)]
pub struct AggregateJson {
    /// What each row tells: selectors.
    #[schema(min_items = 1, max_items = 32)]
    output: Vec<String>,
    /// What the events of a row have in common: members, rules, parts of a date, which come with the greater
    /// parts. All are one row if nothing is said.
    #[schema(max_items = 32)]
    group_by: Option<Vec<String>>,
    /// Only the events that it accepts.
    filter: Option<String>,
    /// Filters by name: a rule is 1 where it holds, else 0.
    rules: Option<BTreeMap<String, String>>,
    /// The order of the rows: what `groupBy` or `output` names, with `:asc` or `:desc`.
    #[schema(max_items = 32)]
    sorts: Option<Vec<String>>,
}

impl AggregateJson {
    /// What is to be done. Refused with `body.malformed`, `filter.malformed`, `limit.filter` or `limit.find`.
    pub fn plan(self, max_filter_bytes: usize) -> Result<Plan, Refusal> {
        let wish = Wish {
            output: self.output,
            group_by: self.group_by.unwrap_or_default(),
            filter: self.filter,
            rules: self.rules.unwrap_or_default(),
            sorts: self.sorts.unwrap_or_default(),
        };
        Plan::parse(&wish, max_filter_bytes)
    }
}

/// Answers with a row for each group.
pub async fn aggregate(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_aggregate(&broker, &request, payload).await)
}

async fn try_aggregate(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    asker(broker, request)?;
    let target = Target::Id(stream_id(request)?);
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let wanted: AggregateJson = json::object(json::text(&body)?)?;
    let plan = wanted.plan(broker.limits().max_filter_bytes)?;
    let rows = broker.aggregate(&access, &target, plan).await?;
    Ok::<_, Error>((Done::Processed, Value::Array(rows).to_string()))
}
