//! `POST …/event/<streamId>/aggregate`: the events of a stream in groups, each summed up.

use crate::broker::Broker;
use crate::domain::error::{Code, Error, Refusal};
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

/// Longest answer.
const MAX_BYTES: usize = 16_777_216;
/// What is written of it before others get their turn.
const TURN_BYTES: usize = 65_536;

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
    Ok::<_, Error>((Done::Processed, list(rows, MAX_BYTES).await?))
}

/// The rows as one text, of which others get their turns in between. Refused with `limit.find` if it is longer.
async fn list(rows: impl Iterator<Item = Value>, most: usize) -> Result<String, Refusal> {
    let (mut text, mut turn) = ("[".to_owned(), 0);
    for (number, row) in rows.enumerate() {
        if number > 0 {
            text.push(',');
        }
        text.push_str(&row.to_string());
        if text.len() > most {
            let text = format!("the rows have more than {most} bytes in all");
            return Err(Refusal::new(Code::LimitFind, text));
        }
        if text.len() - turn >= TURN_BYTES {
            turn = text.len();
            tokio::task::yield_now().await;
        }
    }
    text.push(']');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn rows_are_a_list_of_no_more_bytes_than_it_may_have() {
        let rows = || [json!({"id": {}, "$count": 1}), json!({"id": {}, "$count": 2})].into_iter();
        let text = list(rows(), 100).await.expect("room");
        assert_eq!(text, r#"[{"id":{},"$count":1},{"id":{},"$count":2}]"#);
        let refused = list(rows(), 30).await.expect_err("too much");
        assert_eq!(refused.code, Code::LimitFind);
        assert_eq!(list(rows().take(0), 100).await.expect("room"), "[]");
    }
}
