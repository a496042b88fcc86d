//! Streams: all SQL of what there is to publish to and subscribe to.

use crate::catalogue::audit::record;
use crate::catalogue::database::{exact, unsigned};
use crate::catalogue::tokens::AT_ONCE;
use crate::catalogue::{Catalogue, on_constraint};
use crate::database::now_ms;
use crate::domain::audit::{Action, Actor, Note};
use crate::domain::durability::Durability;
use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::id::{IdentityId, StreamId};
use crate::domain::path::{CompanyName, Path};
use crate::domain::stream::{NewStream, Rules, Stream, StreamChange};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

impl Catalogue {
    /// Makes a stream; refused with `company.unknown` or `stream.exists`.
    pub async fn add_stream(&self, new: &NewStream, creator: IdentityId, by: &Actor) -> Result<Stream, Error> {
        self.add_stream_as(StreamId::random(), new, creator, by).await
    }

    /// The same, with an id that nobody has.
    pub async fn add_stream_as(
        &self,
        id: StreamId,
        new: &NewStream,
        creator: IdentityId,
        by: &Actor,
    ) -> Result<Stream, Error> {
        let company_id = self.company_id(&CompanyName::parse(new.path.company())?).await?;
        let taken = Refusal::new(Code::StreamExists, format!("there is a stream at {} already", new.path));
        let stream = Stream {
            id,
            path: new.path.clone(),
            description: new.description.clone(),
            capacity: new.capacity,
            rules: new.rules.clone(),
            creator,
            created_ms: now_ms(),
            edited: None,
        };
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        sqlx::query(
            "insert into stream (stream_id, company_id, path, description, capacity, creator, created_ms,
             ack, filter, max_age_s, max_bytes) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(&stream.id.bytes()[..])
        .bind(company_id)
        .bind(stream.path.as_str())
        .bind(&stream.description)
        .bind(stream.capacity as i64)
        .bind(&creator.bytes()[..])
        .bind(stream.created_ms as i64)
        .bind(stream.rules.ack.word())
        .bind(&stream.rules.filter)
        .bind(stream.rules.max_age_s.map(|seconds| seconds as i64))
        .bind(stream.rules.max_bytes.map(|bytes| bytes as i64))
        .execute(&mut *transaction)
        .await
        .map_err(|error| on_constraint(error, "stream.path", taken))?;
        let detail = json!({"id": stream.id, "capacity": stream.capacity});
        let note = Note::with(Action::StreamCreated, &stream.path, detail);
        record(&mut transaction, company_id, by, &note).await?;
        transaction.commit().await?;
        Ok(stream)
    }

    /// Changes a stream; `None` if there is none of this id.
    pub async fn change_stream(
        &self,
        id: StreamId,
        change: &StreamChange,
        editor: IdentityId,
        by: &Actor,
    ) -> Result<Option<Stream>, Fault> {
        let signed = |number: Option<u64>| number.map(|number| number as i64);
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let Some((company_id, path)) = place_of(&mut transaction, id).await? else {
            return Ok(None);
        };
        sqlx::query(
            "update stream set description = coalesce($1, description), capacity = coalesce($2, capacity),
             ack = coalesce($3, ack), filter = iif($4, $5, filter), max_age_s = iif($6, $7, max_age_s),
             max_bytes = iif($8, $9, max_bytes), editor = $10, edited_ms = $11 where stream_id = $12",
        )
        .bind(&change.description)
        .bind(signed(change.capacity))
        .bind(change.ack.map(Durability::word))
        .bind(change.filter.is_some())
        .bind(change.filter.as_ref().and_then(Option::as_deref))
        .bind(change.max_age_s.is_some())
        .bind(signed(change.max_age_s.flatten()))
        .bind(change.max_bytes.is_some())
        .bind(signed(change.max_bytes.flatten()))
        .bind(&editor.bytes()[..])
        .bind(now_ms() as i64)
        .bind(&id.bytes()[..])
        .execute(&mut *transaction)
        .await?;
        let note = Note::with(Action::StreamChanged, path, describe(id, change));
        record(&mut transaction, company_id, by, &note).await?;
        transaction.commit().await?;
        self.load_stream(id).await
    }

    /// Deletes a stream; returns whether there was one.
    pub async fn remove_stream(&self, id: StreamId, by: &Actor) -> Result<bool, Fault> {
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let Some((company_id, path)) = place_of(&mut transaction, id).await? else {
            return Ok(false);
        };
        sqlx::query("delete from stream where stream_id = $1")
            .bind(&id.bytes()[..])
            .execute(&mut *transaction)
            .await?;
        let note = Note::with(Action::StreamDeleted, path, json!({"id": id}));
        record(&mut transaction, company_id, by, &note).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// A company's streams, by path; refused with `company.unknown`.
    pub async fn streams_of(&self, company: &CompanyName) -> Result<Vec<Stream>, Error> {
        let company_id = self.company_id(company).await?;
        let rows = sqlx::query("select * from stream where company_id = $1 order by path")
            .bind(company_id)
            .fetch_all(&self.readers)
            .await?;
        Ok(rows.iter().map(parse_stream).collect::<Result<_, _>>()?)
    }

    pub(super) async fn load_streams(&self) -> Result<Vec<Stream>, Fault> {
        let rows = sqlx::query("select * from stream").fetch_all(&self.readers).await?;
        rows.iter().map(parse_stream).collect()
    }

    pub(super) async fn load_stream(&self, id: StreamId) -> Result<Option<Stream>, Fault> {
        let row = sqlx::query("select * from stream where stream_id = $1")
            .bind(&id.bytes()[..])
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(parse_stream).transpose()
    }
}

/// A stream's company and path.
async fn place_of(connection: &mut SqliteConnection, id: StreamId) -> Result<Option<(i64, String)>, Fault> {
    let row = sqlx::query_as("select company_id, path from stream where stream_id = $1");
    Ok(row.bind(&id.bytes()[..]).fetch_optional(connection).await?)
}

/// What was asked to be different, by the names of the HTTP API.
fn describe(id: StreamId, change: &StreamChange) -> Value {
    let mut detail = json!({"id": id});
    let members = [
        ("description", change.description.as_ref().map(|text| json!(text))),
        ("capacity", change.capacity.map(|capacity| json!(capacity))),
        ("ack", change.ack.map(|ack| json!(ack.word()))),
        ("filter", change.filter.as_ref().map(|filter| json!(filter))),
        ("maxAge", change.max_age_s.map(|seconds| json!(seconds))),
        ("maxBytes", change.max_bytes.map(|bytes| json!(bytes))),
    ];
    for (name, value) in members {
        if let Some(value) = value {
            detail[name] = value;
        }
    }
    detail
}

fn parse_stream(row: &SqliteRow) -> Result<Stream, Fault> {
    let id: Vec<u8> = row.try_get("stream_id")?;
    let path = Path::parse(row.try_get("path")?).map_err(|refusal| Fault::Stored {
        what: "path",
        why: refusal.to_string(),
    })?;
    let identity = |column| -> Result<Option<IdentityId>, Fault> {
        let bytes: Option<Vec<u8>> = row.try_get(column)?;
        bytes
            .map(|bytes| Ok(IdentityId::new(exact(&bytes, "identity")?)))
            .transpose()
    };
    let edited_ms: Option<i64> = row.try_get("edited_ms")?;
    let number = |column| -> Result<Option<u64>, Fault> {
        let number: Option<i64> = row.try_get(column)?;
        Ok(number.map(unsigned))
    };
    let ack = Durability::parse(row.try_get("ack")?, Code::BodyMalformed).map_err(|refusal| Fault::Stored {
        what: "durability",
        why: refusal.to_string(),
    })?;
    Ok(Stream {
        id: StreamId::new(exact(&id, "stream id")?),
        path,
        description: row.try_get("description")?,
        capacity: unsigned(row.try_get("capacity")?),
        rules: Rules {
            ack,
            filter: row.try_get("filter")?,
            max_age_s: number("max_age_s")?,
            max_bytes: number("max_bytes")?,
        },
        creator: identity("creator")?.unwrap_or(crate::domain::id::SYSTEM),
        created_ms: unsigned(row.try_get("created_ms")?),
        edited: identity("editor")?.zip(edited_ms.map(unsigned)),
    })
}
