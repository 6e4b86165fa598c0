//! The keys of a resource. One struct for all types, since an overlay does not repeat `type`;
//! `resolve` refuses keys that mean nothing for the type.

use crate::{
    decode::{Decode, Reader},
    keys::keys,
    merge::Table,
    names::{EnvVar, HttpPath},
    plan::{ResourceType, Verify, Weekday},
    scalar::{Clock, Text},
    span::Spanned,
    syntax::{Node, Shape},
    units::{Bytes, Millis, Port, Ppm},
};

keys! {
    /// What services need and do not contain. `via` says who provides it and usually differs per
    /// environment.
    RawResource, "a resource" {
        /// `postgres`, `redis`, `kafka`, `bucket`, `queue`, `http`, `volume` or `image`.
        kind ["type"]: ResourceType = "required";
        /// Who provides it: `local`, `docker`, `url`, or a provider of the type such as `aws-rds`.
        via ["via"]: String = "by the environment's target and cloud";
        /// Version. For postgres, redis, kafka.
        version ["version"]: Text = "16, 7, 3.9";
        /// Extensions that migrations may create. For postgres.
        extensions ["extensions"]: Vec<Spanned<String>> = "none";
        /// When it is copied. For postgres, volume, image.
        backup ["backup"]: RawBackup = "none; daily in production for postgres";
        /// Instance size, in the provider's words. For managed providers.
        size ["size"]: String = "the provider's smallest";
        /// Read replicas, or further nodes. For managed providers.
        replicas ["replicas"]: u32 = "0";
        /// Whether it survives the loss of one zone. For managed providers.
        multi_az ["multi_az"]: bool = "true in production";
        /// Disk.
        storage ["storage"]: Bytes = "20Gi; 10Gi for volumes and images";
        /// Address, when it is there already. For `via: url`.
        url ["url"]: Text = "required with `via: url`";
        /// Image. For `type: image`, and to replace the one of `via: docker`, `kubernetes`, `mock`.
        image ["image"]: String = "the type's own";
        /// Whether data survives a restart. For redis.
        persistent ["persistent"]: bool = "false";
        /// Topics that exist before any service starts: a list of names, or name to details. For
        /// kafka.
        topics ["topics"]: Topics = "none";
        /// Whether overwritten objects are kept. For bucket.
        versioned ["versioned"]: bool = "true";
        /// Objects older than this move to cheap storage. For bucket.
        archive_after ["archive_after"]: Millis = "never";
        /// Objects older than this are deleted. For bucket.
        delete_after ["delete_after"]: Millis = "never";
        /// The region of a second copy. For bucket.
        replicate_to ["replicate_to"]: String = "none";
        /// Whether order is kept and duplicates are dropped. For queue.
        fifo ["fifo"]: bool = "false";
        /// How long a received message stays invisible. For queue.
        visibility ["visibility"]: Millis = "30s";
        /// How long messages are kept. For queue.
        retention ["retention"]: Millis = "4d";
        /// Receives after which a message goes to the dead letters. For queue.
        dead_letter_after ["dead_letter_after"]: u32 = "5";
        /// The path that says whether it works. For http, image.
        health ["health"]: HttpPath = "none";
        /// One attempt's limit. For http.
        timeout ["timeout"]: Millis = "10s";
        /// When an attempt is repeated. For http.
        retry ["retry"]: RawRetry = "2 times";
        /// When no attempt is made. For http.
        breaker ["breaker"]: RawBreaker = "half of the calls fail";
        /// Calls at the same time. For http.
        concurrency ["concurrency"]: u32 = "100";
        /// Calls allowed a day. For http.
        quota ["quota"]: u32 = "none";
        /// The port it listens on. For image, and http `via: mock`.
        port ["port"]: Port = "required for image; 8080 for mock";
        /// Where containers see it. For volume.
        mount ["mount"]: String = "`/data/<name>`";
        /// Storage class. For volume `via: kubernetes`.
        class ["class"]: String = "the cluster's";
        /// Where it keeps data inside the container. For image.
        data ["data"]: String = "nowhere";
        /// Its environment. For image.
        env ["env"]: Table<EnvVar, Text> = "none";
    }

    /// When something is copied, for how long, and how that is proven.
    RawBackup, "`backup`" {
        /// Time of day, UTC.
        at ["at"]: Clock = "03:00";
        /// Only on this day.
        on ["on"]: Weekday = "every day";
        /// How long copies are kept.
        keep ["keep"]: Millis = "7d";
        /// How often one is restored to prove it.
        verify ["verify"]: Verify = "`weekly`";
        /// A second place: a bucket's URL.
        copy_to ["copy_to"]: String = "none";
        /// Whether any moment can be restored, where the provider can.
        point_in_time ["point_in_time"]: bool = "false";
    }

    /// When an attempt is repeated: exponential back-off with jitter.
    RawRetry, "`retry`" {
        /// Attempts after the first.
        max ["max"]: u32 = "2";
        /// Before the first repetition.
        backoff ["backoff"]: Millis = "200ms";
    }

    /// When no attempt is made.
    RawBreaker, "`breaker`" {
        /// Share of failures that opens it.
        failures ["failures"]: Ppm = "50%";
        /// How long it stays open.
        open ["open"]: Millis = "30s";
    }

    /// One Kafka topic.
    RawTopic, "a topic" {
        /// Partitions.
        partitions ["partitions"]: u32 = "6";
        /// How long records are kept.
        retention ["retention"]: Millis = "7d";
        /// Whether only the last record of a key is kept.
        compact ["compact"]: bool = "false";
    }
}

/// Topics as a list of names or as a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topics {
    List(Vec<Spanned<String>>),
    Map(Table<String, RawTopic>),
}

impl crate::merge::Merge for Topics {
    fn merge(&mut self, over: &Topics) {
        match (&mut *self, over) {
            (Topics::Map(base), Topics::Map(over)) => base.merge(over),
            (base, over) => base.clone_from(over),
        }
    }
}

impl Decode for Topics {
    const NOUN: &'static str = "topics";

    fn decode(node: &Node, reader: &mut Reader) -> Option<Topics> {
        match node.shape {
            Shape::List(_) => Vec::decode(node, reader).map(Topics::List),
            Shape::Null | Shape::Text(_) | Shape::Map(_) => {
                Table::decode(node, reader).map(Topics::Map)
            }
        }
    }
}

impl schemars::JsonSchema for Topics {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Topics".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let map = generator.subschema_for::<Table<String, RawTopic>>();
        schemars::json_schema!({"anyOf": [{"type": "array", "items": {"type": "string"}}, map]})
    }
}
