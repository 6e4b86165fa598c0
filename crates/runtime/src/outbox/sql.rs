//! The table: what `plimsoll outbox init` prints, and the statements of a round.
//!
//! Beside Debezium's columns it has `seq`, the order of insertion: a random id has none. Without it
//! the order is that of `id`, which is right for UUIDs of version 7. It deliberately decides
//! nothing. Invariant: names go into SQL only after [`super::OutboxSettings::check`], and quoted.

use tokio_postgres::{Client, Transaction};

use super::settings::{Done, OutboxSettings};

/// Into how many parts aggregates are divided; a part is one instance's at a time.
pub const SHARDS: i32 = 16;
/// How many of them a round takes, so that others find some.
const SHARDS_OF_A_ROUND: i64 = 4;
/// How many of the oldest events are looked at for parts that have work.
const HEAD: i64 = 2000;

/// The statements that make what an outbox needs.
pub fn ddl(table: &str) -> String {
    let quoted = quote(table);
    let dead = quote(&format!("{table}_dead"));
    let name = table.replace('.', "_");
    format!(
        r#"-- An outbox for `plimsoll run --outbox`. Insert an event in the transaction that makes it true:
--   INSERT INTO {quoted} (aggregatetype, aggregateid, type, payload)
--   VALUES ('order', '42', 'OrderPlaced', '{{"total": 12}}');
CREATE TABLE IF NOT EXISTS {quoted} (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    aggregatetype text NOT NULL,
    aggregateid   text NOT NULL,
    type          text NOT NULL,
    payload       jsonb NOT NULL,
    traceparent   text,
    seq           bigint GENERATED ALWAYS AS IDENTITY,
    created_at    timestamptz NOT NULL DEFAULT now(),
    published_at  timestamptz  -- only for "done": "mark"
);
CREATE INDEX IF NOT EXISTS "{name}_waiting" ON {quoted} (seq) WHERE published_at IS NULL;
-- Events that Kafka refuses for good, with the reason.
CREATE TABLE IF NOT EXISTS {dead} (
    id            uuid PRIMARY KEY,
    aggregatetype text NOT NULL,
    aggregateid   text NOT NULL,
    type          text NOT NULL,
    payload       jsonb NOT NULL,
    error         text NOT NULL,
    failed_at     timestamptz NOT NULL DEFAULT now()
);
-- Tells the relay at once; without it the relay looks every `poll`.
CREATE OR REPLACE FUNCTION "{name}_notify"() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NOTIFY "{name}"; RETURN NULL; END $$;
DROP TRIGGER IF EXISTS "{name}_notify" ON {quoted};
CREATE TRIGGER "{name}_notify" AFTER INSERT ON {quoted}
    FOR EACH STATEMENT EXECUTE FUNCTION "{name}_notify"();
"#
    )
}

fn quote(table: &str) -> String {
    table.split('.').map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(".")
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) aggregate_type: String,
    pub(super) aggregate_id: String,
    pub(super) kind: String,
    pub(super) payload: String,
    pub(super) traceparent: Option<String>,
}

/// The statements for one table.
#[derive(Debug)]
pub(super) struct Table {
    claim: String,
    select: String,
    finish: String,
    bury: String,
}

impl Table {
    /// Looks at the table as it is, and listens to its notifications.
    pub(super) async fn find(
        client: &mut Client,
        settings: &OutboxSettings,
    ) -> Result<Self, String> {
        let columns = columns(client, &settings.table).await?;
        let has = |name: &str| columns.iter().any(|column| column == name);
        let needed = ["id", "aggregatetype", "aggregateid", "type", "payload"];
        let missing: Vec<_> = needed.into_iter().filter(|name| !has(name)).collect();
        if columns.is_empty() || !missing.is_empty() {
            let table = &settings.table;
            let what = if columns.is_empty() { "does not exist" } else { "lacks columns" };
            let missing = missing.join(", ");
            return Err(format!(
                "table `{table}` {what} ({missing}): see `plimsoll outbox init --print`"
            ));
        }
        if settings.done == Done::Mark && !has("published_at") {
            return Err("`\"done\": \"mark\"` needs a column `published_at timestamptz`".into());
        }
        let dead = format!("{}_dead", settings.table);
        if self::columns(client, &dead).await?.is_empty() {
            return Err(format!(
                "table `{dead}` does not exist: see `plimsoll outbox init --print`"
            ));
        }
        let channel = settings.table.replace('.', "_");
        client.batch_execute(&format!("LISTEN \"{channel}\"")).await.map_err(said)?;
        Ok(Self::new(settings, has("seq"), has("traceparent"), has("published_at")))
    }

    fn new(
        settings: &OutboxSettings,
        has_seq: bool,
        has_traceparent: bool,
        has_published_at: bool,
    ) -> Self {
        let table = quote(&settings.table);
        let dead = quote(&format!("{}_dead", settings.table));
        let order = if has_seq { "seq" } else { "id" };
        let traceparent = if has_traceparent { "traceparent" } else { "NULL::text" };
        let waits = if has_published_at { "published_at IS NULL" } else { "true" };
        // Never negative, and the same for all instances.
        let shard = format!("(hashtext(aggregatetype || '/' || aggregateid) & {})", SHARDS - 1);
        let finish = match settings.done {
            Done::Delete => format!("DELETE FROM {table} WHERE id = ANY($1::text[]::uuid[])"),
            Done::Mark => format!(
                "UPDATE {table} SET published_at = now() WHERE id = ANY($1::text[]::uuid[])"
            ),
        };
        Self {
            claim: format!(
                "WITH head AS MATERIALIZED (SELECT {shard} AS shard FROM {table} WHERE {waits} \
                 ORDER BY {order} LIMIT {HEAD}), \
                 shards AS MATERIALIZED (SELECT DISTINCT shard FROM head), \
                 mixed AS MATERIALIZED (SELECT shard FROM shards ORDER BY random()) \
                 SELECT shard FROM mixed \
                 WHERE pg_try_advisory_xact_lock(hashtext('plimsoll outbox {name}'), shard) \
                 LIMIT {SHARDS_OF_A_ROUND}",
                name = settings.table,
            ),
            select: format!(
                "SELECT id::text, aggregatetype::text, aggregateid::text, type::text, \
                 payload::text, {traceparent} FROM {table} \
                 WHERE {waits} AND {shard} = ANY($1) ORDER BY {order} LIMIT $2 FOR UPDATE"
            ),
            finish,
            bury: format!(
                "INSERT INTO {dead} (id, aggregatetype, aggregateid, type, payload, error) \
                 SELECT id, aggregatetype, aggregateid, type, payload, $2 FROM {table} \
                 WHERE id = $1::text::uuid ON CONFLICT (id) DO UPDATE SET error = excluded.error"
            ),
        }
    }

    /// Claims parts with work and returns their oldest events; the claim ends with the transaction.
    pub(super) async fn take(
        &self,
        transaction: &Transaction<'_>,
        count: i64,
    ) -> Result<Vec<Row>, String> {
        let claimed = transaction.query(&self.claim, &[]).await.map_err(said)?;
        let shards: Vec<i32> = claimed.iter().map(|row| row.get(0)).collect();
        if shards.is_empty() {
            return Ok(Vec::new());
        }
        // Another statement, another snapshot: what the last holder removed is not in it.
        let rows = transaction.query(&self.select, &[&shards, &count]).await.map_err(said)?;
        let row = |row: &tokio_postgres::Row| {
            Ok(Row {
                id: row.try_get(0)?,
                aggregate_type: row.try_get(1)?,
                aggregate_id: row.try_get(2)?,
                kind: row.try_get(3)?,
                payload: row.try_get(4)?,
                traceparent: row.try_get(5)?,
            })
        };
        rows.iter().map(row).collect::<Result<_, _>>().map_err(said)
    }

    /// The events of these ids are delivered, or dead letters.
    pub(super) async fn finish(
        &self,
        transaction: &Transaction<'_>,
        ids: &[String],
    ) -> Result<(), String> {
        transaction.execute(&self.finish, &[&ids]).await.map(drop).map_err(said)
    }

    /// Makes a dead letter of an event.
    pub(super) async fn bury(
        &self,
        transaction: &Transaction<'_>,
        id: &str,
        why: &str,
    ) -> Result<(), String> {
        transaction.execute(&self.bury, &[&id, &why]).await.map(drop).map_err(said)
    }
}

async fn columns(client: &Client, table: &str) -> Result<Vec<String>, String> {
    let sql = "SELECT attname::text FROM pg_attribute \
               WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
    let rows = client.query(sql, &[&quote(table)]).await.map_err(said)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The server's words; those of the client hold no credential either.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
pub(super) fn said(error: tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("database: {}: {}", said.severity(), said.message()),
        None => format!("database: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_wherever_they_are() {
        let ddl = ddl("app.outbox");
        assert!(ddl.contains(r#"CREATE TABLE IF NOT EXISTS "app"."outbox" ("#));
        assert!(ddl.contains(r#""app"."outbox_dead""#) && ddl.contains(r#"NOTIFY "app_outbox""#));
    }
}
