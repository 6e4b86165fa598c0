//! Servers that pass messages on: Kafka, and an SQS API.

use manifest::plan::{Kafka, Queue, QueueVia, Resource, Topic};
use manifest::template::{Output, Template};

use super::server::{Server, ask, slow_check};
use super::{Fragment, named_volume};
use crate::address::{self, Place, port};
use crate::node::{Map, Node};
use crate::target::compose::hardening::Share;
use crate::target::compose::ports;
use crate::target::compose::stack::{Stack, companion, escaped};

/// The listener for programs on a developer's machine: a broker tells clients where to come back
/// to, and that is another address for them.
pub(super) const KAFKA_FROM_HOST: u16 = 19092;
/// Where the broker talks to itself.
const KAFKA_CONTROLLER: u16 = 9093;
/// Where the image has the programs.
const KAFKA_BIN: &str = "/opt/kafka/bin";

pub(super) fn kafka(stack: &Stack<'_>, resource: &Resource, kafka: &Kafka) -> Fragment {
    let name = resource.name.dns();
    let broker = format!("{name}:{}", port::KAFKA);
    let mut server = Server::new(&kafka.image(), Share::new(2000, 2048, 1024));
    server.environment = broker_settings(stack, resource, &broker);
    server.mounts = vec![format!("{name}:/var/lib/kafka/data")];
    let program = format!("{KAFKA_BIN}/kafka-broker-api-versions.sh");
    server.health = Some(slow_check(&[&program, "--bootstrap-server", &broker]));
    let mut fragment = server.fragment(stack, resource);
    fragment.volumes.push(named_volume(resource));
    if !kafka.topics.is_empty() {
        let mut setup = Server::new(&kafka.image(), Share::new(1000, 512, 128));
        setup.entrypoint = vec!["sh".to_owned(), "-ceu".to_owned()];
        setup.command = vec![topics(&broker, kafka)];
        setup.environment = vec![("KAFKA_HEAP_OPTS".to_owned(), "-Xmx256m".into())];
        let setup_name = companion(stack.plan, &name, "topics");
        fragment.containers.push((setup_name.clone(), setup.once(stack, resource)));
        fragment.waits.push((setup_name, "service_completed_successfully"));
    }
    fragment
}

fn broker_settings(stack: &Stack<'_>, resource: &Resource, broker: &str) -> Vec<(String, Node)> {
    let mut listeners = format!("INSIDE://:{},CONTROLLER://:{KAFKA_CONTROLLER}", port::KAFKA);
    let mut advertised = format!("INSIDE://{broker}");
    let mut protocols = "INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
    if stack.is_dev {
        let host = ports::host_of(stack, resource.name.as_str(), KAFKA_FROM_HOST);
        listeners.push_str(&format!(",HOST://:{KAFKA_FROM_HOST}"));
        advertised.push_str(&format!(",HOST://127.0.0.1:{host}"));
        protocols.push_str(",HOST:PLAINTEXT");
    }
    let settings: [(&str, String); 16] = [
        ("NODE_ID", "1".into()),
        ("PROCESS_ROLES", "broker,controller".into()),
        ("LISTENERS", listeners),
        ("ADVERTISED_LISTENERS", advertised),
        ("LISTENER_SECURITY_PROTOCOL_MAP", protocols),
        ("INTER_BROKER_LISTENER_NAME", "INSIDE".into()),
        ("CONTROLLER_LISTENER_NAMES", "CONTROLLER".into()),
        ("CONTROLLER_QUORUM_VOTERS", format!("1@localhost:{KAFKA_CONTROLLER}")),
        ("LOG_DIRS", "/var/lib/kafka/data".into()),
        // One broker: nothing can be kept twice.
        ("DEFAULT_REPLICATION_FACTOR", "1".into()),
        ("MIN_INSYNC_REPLICAS", "1".into()),
        ("OFFSETS_TOPIC_REPLICATION_FACTOR", "1".into()),
        ("TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1".into()),
        ("TRANSACTION_STATE_LOG_MIN_ISR", "1".into()),
        ("GROUP_INITIAL_REBALANCE_DELAY_MS", "0".into()),
        ("AUTO_CREATE_TOPICS_ENABLE", "false".into()),
    ];
    let mut all: Vec<(String, Node)> =
        settings.into_iter().map(|(key, value)| (format!("KAFKA_{key}"), value.into())).collect();
    all.push(("KAFKA_HEAP_OPTS".to_owned(), "-Xms1g -Xmx1g".into()));
    all
}

/// Makes every topic; what exists keeps its records and gets the settings of the manifest.
fn topics(broker: &str, kafka: &Kafka) -> String {
    let mut lines = Vec::new();
    for (name, topic) in &kafka.topics {
        let Topic { partitions, retention, compact } = topic;
        let policy = if *compact { "compact" } else { "delete" };
        lines.push(format!(
            "{KAFKA_BIN}/kafka-topics.sh --bootstrap-server {broker} --create --if-not-exists \
             --topic {name} --partitions {partitions} --replication-factor 1"
        ));
        lines.push(format!(
            "{KAFKA_BIN}/kafka-configs.sh --bootstrap-server {broker} --alter --entity-type topics \
             --entity-name {name} --add-config retention.ms={},cleanup.policy={policy}",
            retention.0
        ));
    }
    lines.join("\n")
}

pub(super) fn queue(stack: &Stack<'_>, resource: &Resource, queue: &Queue) -> Fragment {
    let QueueVia::Docker { image } = &queue.via else { return Fragment::default() };
    let name = resource.name.dns();
    let of = |output| {
        let template = address::of_resource(stack.plan, Place::Compose, resource, output);
        template.as_ref().and_then(Template::as_literal).map(Into::into).unwrap_or_default()
    };
    let (queue_name, region): (String, String) = (of(Output::Name), of(Output::Region));
    let mut server = Server::new(image, Share::new(500, 512, 128));
    let config = Map::new().with("source", &name).with("target", "/opt/elasticmq.conf");
    server.configs = vec![config.into()];
    server.health = Some(ask(port::ELASTICMQ, "/?Action=ListQueues"));
    let mut fragment = server.fragment(stack, resource);
    let content = settings(&name, &queue_name, &region, queue);
    let config = Map::new().with("content", escaped(&content));
    let config = Node::from(config).because(format!("resources.{}", resource.name));
    fragment.configs.push((name, config));
    fragment
}

/// The server's configuration. Its messages are in memory, and so have no retention.
fn settings(host: &str, name: &str, region: &str, queue: &Queue) -> String {
    let seconds = queue.visibility.0.div_ceil(1000);
    let (stem, end) = match name.strip_suffix(".fifo") {
        Some(stem) => (stem, ".fifo"),
        None => (name, ""),
    };
    let dead = format!("{stem}-dead{end}");
    let fifo =
        if queue.fifo { "\n    fifo = true\n    contentBasedDeduplication = true" } else { "" };
    let fifo_dead = if queue.fifo { " fifo = true " } else { "" };
    let times = queue.dead_letter_after;
    format!(
        r#"include classpath("application.conf")
node-address {{ protocol = http, host = "{host}", port = {port}, context-path = "" }}
rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = "0.0.0.0" }}
aws {{ region = "{region}", accountId = "000000000000" }}
queues {{
  "{name}" {{
    defaultVisibilityTimeout = {seconds} seconds{fifo}
    deadLettersQueue {{ name = "{dead}", maxReceiveCount = {times} }}
  }}
  "{dead}" {{{fifo_dead}}}
}}
"#,
        port = port::ELASTICMQ
    )
}
