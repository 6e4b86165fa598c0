//! Resources of a plan: parameters by type, and who provides them in this environment.

use std::collections::BTreeMap;

use super::{
    Resolver,
    environment::start,
    origin::{Origin, join},
    uses::Edges,
};
use crate::{
    diagnostics::{Code, Problem},
    literal,
    merge::{Field, Table, Written},
    names::ResourceName,
    plan::{
        Backup, Breaker, Bucket, Environment, Http, Image, Kafka, Postgres, Queue, Redis, Resource,
        ResourceSpec, ResourceType, Retry, Topic, Verify, Volume,
    },
    raw::resource::{RawBackup, RawResource, Topics},
    scalar::{Clock, Text},
    span::{Span, Spanned},
    suggest,
    template::Template,
    units::{Bytes, Millis, Port, Ppm},
};

/// One resource while it is resolved.
pub(super) struct Draft<'a> {
    pub(super) at: String,
    pub(super) name: &'a ResourceName,
    pub(super) raw: &'a RawResource,
    pub(super) span: Span,
    pub(super) kind: ResourceType,
    /// The word of `via`, written or chosen.
    pub(super) via: String,
    pub(super) environment: &'a Environment,
}

/// Keys that every type has.
const COMMON_KEYS: [&str; 2] = ["type", "via"];

/// Keys of managed providers.
const MANAGED_KEYS: &[&str] = &["size", "replicas", "multi_az", "storage"];

/// The keys that mean something for a type, beside the common ones.
const fn keys_of(kind: ResourceType) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        ResourceType::Postgres => {
            (&["version", "extensions", "backup", "url", "image"], MANAGED_KEYS)
        }
        ResourceType::Redis => (&["version", "persistent", "url", "image"], MANAGED_KEYS),
        ResourceType::Kafka => (&["version", "topics", "url", "image"], MANAGED_KEYS),
        ResourceType::Bucket => {
            (&["versioned", "archive_after", "delete_after", "replicate_to", "url", "image"], &[])
        }
        ResourceType::Queue => {
            (&["fifo", "visibility", "retention", "dead_letter_after", "url", "image"], &[])
        }
        ResourceType::Http => (
            &[
                "health",
                "timeout",
                "retry",
                "breaker",
                "concurrency",
                "quota",
                "url",
                "image",
                "port",
            ],
            &[],
        ),
        ResourceType::Volume => (&["mount", "storage", "backup", "class"], &[]),
        ResourceType::Image => {
            (&["image", "port", "health", "data", "storage", "env", "backup", "url"], &[])
        }
    }
}

impl Resolver<'_> {
    pub(super) fn resources(
        &mut self,
        environment: &Environment,
    ) -> BTreeMap<ResourceName, Resource> {
        let mut resources = BTreeMap::new();
        let merged = self.merged;
        for (name, key, spanned) in merged.resources.iter() {
            let raw = &spanned.value;
            let at = join("resources", name.as_str());
            let origin = self.written(spanned.span);
            self.note("", &at, origin);
            let Some(kind) = self.opt(&at, "type", &raw.kind) else {
                let message = format!("resource `{name}` has no `type`");
                let words: Vec<_> = ResourceType::ALL.iter().map(|kind| kind.as_str()).collect();
                let help = format!("write one of {}", words.join(", "));
                self.tell(Problem::error(Code::MissingKey, message).at(key, "").help(help));
                continue;
            };
            self.check_keys(name, kind, raw);
            let Some(via) = self.via(&at, name, kind, spanned, environment) else { continue };
            let span = spanned.span;
            let draft = Draft { at, name, raw, span, kind, via, environment };
            if let Some(spec) = self.spec(&draft) {
                resources.insert(name.clone(), Resource { name: name.clone(), spec });
            }
        }
        resources
    }

    fn check_keys(&mut self, name: &ResourceName, kind: ResourceType, raw: &RawResource) {
        let (own, managed) = keys_of(kind);
        for (key, span) in raw.written() {
            let known = COMMON_KEYS.contains(&key) || own.contains(&key) || managed.contains(&key);
            if !known {
                let message =
                    format!("`{key}` means nothing for resource `{name}`, which is a {kind}");
                let keys = own.iter().chain(managed).copied().collect::<Vec<_>>();
                let help = format!("a {kind} knows: {}", keys.join(", "));
                self.tell(Problem::error(Code::NotApplicable, message).at(span, "").help(help));
            }
        }
    }

    /// Who provides it: the written word, `url` when there is one, else by place. `None` when the
    /// problem was told.
    fn via(
        &mut self,
        at: &str,
        name: &ResourceName,
        kind: ResourceType,
        raw: &Spanned<RawResource>,
        environment: &Environment,
    ) -> Option<String> {
        if let Some(via) = self.opt(at, "via", &raw.value.via) {
            return Some(via);
        }
        if raw.value.url.is_set() || kind == ResourceType::Http {
            self.note(at, "via", Origin::Derived { from: "`url`".to_owned() });
            return Some("url".to_owned());
        }
        if let Some(via) = super::provider::usual(kind, environment) {
            return Some(via.to_owned());
        }
        let message =
            format!("nobody provides a {kind} by default in environment `{}`", environment.name);
        let words = kind.providers().join(", ");
        let help = format!(
            "write `environments.{}.resources.{name}.via`: one of {words}",
            environment.name
        );
        let problem = Problem::error(Code::MissingKey, message).at(start(raw.span), "");
        self.tell(problem.help(help));
        None
    }

    fn spec(&mut self, draft: &Draft<'_>) -> Option<ResourceSpec> {
        Some(match draft.kind {
            ResourceType::Postgres => ResourceSpec::Postgres(self.postgres(draft)?),
            ResourceType::Redis => ResourceSpec::Redis(self.redis(draft)?),
            ResourceType::Kafka => ResourceSpec::Kafka(self.kafka(draft)?),
            ResourceType::Bucket => ResourceSpec::Bucket(self.bucket(draft)?),
            ResourceType::Queue => ResourceSpec::Queue(self.queue_resource(draft)?),
            ResourceType::Http => ResourceSpec::Http(self.http(draft)?),
            ResourceType::Volume => ResourceSpec::Volume(self.volume(draft)?),
            ResourceType::Image => ResourceSpec::Image(self.image(draft)?),
        })
    }

    fn postgres(&mut self, draft: &Draft<'_>) -> Option<Postgres> {
        let raw = draft.raw;
        let version = self.version(draft, "16");
        let extensions = self.list(&draft.at, "extensions", &raw.extensions, Vec::new);
        let via = self.postgres_via(draft, &version, &extensions);
        let backup = match &raw.backup {
            Field::Absent if draft.environment.production => {
                self.note(&draft.at, "backup", Origin::Default);
                Some(USUAL_BACKUP)
            }
            field => self.backup(&draft.at, field),
        };
        Some(Postgres { version, extensions, backup, via: via? })
    }

    fn redis(&mut self, draft: &Draft<'_>) -> Option<Redis> {
        let version = self.version(draft, "7");
        let persistent = self.or(&draft.at, "persistent", &draft.raw.persistent, || false);
        let via = self.redis_via(draft, &version)?;
        Some(Redis { version, persistent, via })
    }

    fn kafka(&mut self, draft: &Draft<'_>) -> Option<Kafka> {
        let version = self.version(draft, "3.9");
        let topics = self.topics(&draft.at, &draft.raw.topics);
        let via = self.kafka_via(draft, &version)?;
        Some(Kafka { version, topics, via })
    }

    fn topics(&mut self, at: &str, field: &Field<Topics>) -> BTreeMap<String, Topic> {
        let at = &join(at, "topics");
        let mut topics = BTreeMap::new();
        let mut add = |resolver: &mut Self, name: &str, raw: &crate::raw::resource::RawTopic| {
            let at = &join(at, name);
            let topic = Topic {
                partitions: resolver.or(at, "partitions", &raw.partitions, || 6),
                retention: resolver.or(at, "retention", &raw.retention, || DAYS_7),
                compact: resolver.or(at, "compact", &raw.compact, || false),
            };
            topics.insert(name.to_owned(), topic);
        };
        match field.value() {
            None => {}
            Some(Topics::List(names)) => {
                names.iter().for_each(|name| add(self, &name.value, &Default::default()));
            }
            Some(Topics::Map(table)) => {
                table.iter().for_each(|(name, _, raw)| add(self, name, &raw.value));
            }
        }
        topics
    }

    fn bucket(&mut self, draft: &Draft<'_>) -> Option<Bucket> {
        let (at, raw) = (&draft.at, draft.raw);
        Some(Bucket {
            versioned: self.or(at, "versioned", &raw.versioned, || true),
            archive_after: self.opt(at, "archive_after", &raw.archive_after),
            delete_after: self.opt(at, "delete_after", &raw.delete_after),
            replicate_to: self.opt(at, "replicate_to", &raw.replicate_to),
            via: self.bucket_via(draft)?,
        })
    }

    fn queue_resource(&mut self, draft: &Draft<'_>) -> Option<Queue> {
        let (at, raw) = (&draft.at, draft.raw);
        Some(Queue {
            fifo: self.or(at, "fifo", &raw.fifo, || false),
            visibility: self.or(at, "visibility", &raw.visibility, || Millis::from_secs(30)),
            retention: self.or(at, "retention", &raw.retention, || Millis::from_secs(4 * 86_400)),
            dead_letter_after: self.or(at, "dead_letter_after", &raw.dead_letter_after, || 5),
            via: self.queue_via(draft)?,
        })
    }

    fn http(&mut self, draft: &Draft<'_>) -> Option<Http> {
        let (at, raw) = (&draft.at, draft.raw);
        let retry = raw.retry.value().cloned().unwrap_or_default();
        let breaker = raw.breaker.value().cloned().unwrap_or_default();
        let (retry_at, breaker_at) = (&join(at, "retry"), &join(at, "breaker"));
        Some(Http {
            health: self.opt(at, "health", &raw.health),
            timeout: self.or(at, "timeout", &raw.timeout, || Millis::from_secs(10)),
            retry: Retry {
                max: self.or(retry_at, "max", &retry.max, || 2),
                backoff: self.or(retry_at, "backoff", &retry.backoff, || Millis(200)),
            },
            breaker: Breaker {
                failures: self
                    .or(breaker_at, "failures", &breaker.failures, || Ppm::from_percent(50)),
                open: self.or(breaker_at, "open", &breaker.open, || Millis::from_secs(30)),
            },
            concurrency: self.or(at, "concurrency", &raw.concurrency, || 100),
            quota: self.opt(at, "quota", &raw.quota),
            via: self.http_via(draft)?,
        })
    }

    fn volume(&mut self, draft: &Draft<'_>) -> Option<Volume> {
        let (at, raw) = (&draft.at, draft.raw);
        Some(Volume {
            mount: self.or(at, "mount", &raw.mount, || format!("/data/{}", draft.name)),
            storage: self.or(at, "storage", &raw.storage, || Bytes(10 << 30)),
            backup: self.backup(at, &raw.backup),
            via: self.volume_via(draft)?,
        })
    }

    fn image(&mut self, draft: &Draft<'_>) -> Option<Image> {
        let (at, raw) = (&draft.at, draft.raw);
        let image = self.opt(at, "image", &raw.image);
        let port = self.opt(at, "port", &raw.port);
        for (key, is_set) in [("image", image.is_some()), ("port", port.is_some())] {
            if !is_set {
                let message = format!("resource `{}` has no `{key}`", draft.name);
                let help = "write `{type: image, image: chromadb/chroma:0.5.20, port: 8000}`";
                let problem = Problem::error(Code::MissingKey, message).at(start(draft.span), "");
                self.tell(problem.help(help));
            }
        }
        let mut env = BTreeMap::new();
        for (variable, _, value) in raw.env.value().into_iter().flat_map(Table::iter) {
            let text = Spanned::new(value.value.0.clone(), value.span);
            env.insert(variable.clone(), self.template(&text, &Edges::Any));
        }
        Some(Image {
            health: self.opt(at, "health", &raw.health),
            data: self.opt(at, "data", &raw.data),
            storage: self.or(at, "storage", &raw.storage, || Bytes(10 << 30)),
            backup: self.backup(at, &raw.backup),
            via: self.image_via(draft)?,
            image: image?,
            port: port?,
            env,
        })
    }

    fn version(&mut self, draft: &Draft<'_>, usual: &str) -> String {
        self.or(&draft.at, "version", &draft.raw.version, || Text(usual.to_owned())).0
    }

    fn backup(&mut self, at: &str, field: &Field<RawBackup>) -> Option<Backup> {
        let raw = field.value()?;
        let at = &join(at, "backup");
        Some(Backup {
            at: self.or(at, "at", &raw.at, || Clock(USUAL_BACKUP.at)).0,
            on: self.opt(at, "on", &raw.on),
            keep: self.or(at, "keep", &raw.keep, || USUAL_BACKUP.keep),
            verify: self.or(at, "verify", &raw.verify, || USUAL_BACKUP.verify),
            copy_to: self.opt(at, "copy_to", &raw.copy_to),
            point_in_time: self.or(at, "point_in_time", &raw.point_in_time, || false),
        })
    }

    /// The address of something that is there already.
    pub(super) fn url(&mut self, draft: &Draft<'_>) -> Option<Template> {
        let at = &draft.at;
        let Some(url) = self.opt(at, "url", &draft.raw.url) else {
            let message = format!("resource `{}` is `via: url`, but has no `url`", draft.name);
            let help = "write `url: \"${secret:NAME}\"`, or choose another `via`";
            let problem = Problem::error(Code::MissingKey, message).at(start(draft.span), "");
            self.tell(problem.help(help));
            return None;
        };
        let span = draft.raw.url.get().map_or(draft.span, |url| url.span);
        if literal::has_password(&url.0) {
            let message = "this URL holds a password, in a file that everybody reads";
            let help = "write `${secret:NAME}` in place of the password, or of the whole URL";
            self.tell(Problem::warning(Code::SecretLiteral, message).at(span, "").help(help));
        }
        Some(self.template(&Spanned::new(url.0, span), &Edges::Any))
    }

    /// A port that is only needed sometimes.
    pub(super) fn mock_port(&mut self, draft: &Draft<'_>) -> Option<Port> {
        self.opt(&draft.at, "port", &draft.raw.port).or_else(|| Port::new(8080))
    }

    /// The word of `via` is none of the type's.
    pub(super) fn unknown_via(&mut self, draft: &Draft<'_>) {
        let words = draft.kind.providers();
        let (via, kind) = (crate::names::shortened(&draft.via), draft.kind);
        let span = draft.raw.via.get().map_or(start(draft.span), |via| via.span);
        let message = format!("`{via}` does not provide a {kind}");
        let help = suggest::help(&draft.via, words.iter().copied());
        self.tell(Problem::error(Code::InvalidValue, message).at(span, "").help(help));
    }
}

const DAYS_7: Millis = Millis::from_secs(7 * 86_400);

/// What a production database gets when nobody said anything.
const USUAL_BACKUP: Backup = Backup {
    at: 180,
    on: None,
    keep: DAYS_7,
    verify: Verify::Weekly,
    copy_to: None,
    point_in_time: false,
};
