//! Real processes, ports and files for tests. A dev-dependency only.
//!
//! Tests run programs as users do, and look at them from outside. It deliberately mocks nothing and
//! knows nothing of Plimsoll.
//!
//! Invariant: whatever a test starts with [`Run`] is gone when the `Run` is dropped, wherever it
//! went.

mod aws;
mod cache;
mod certificate;
mod collector;
mod docker;
mod docker_images;
mod http;
mod kafka;
mod kubernetes;
mod postgres;
mod process;
mod redis;
mod run;
mod vault;
mod verifiers;
mod wait;

pub use aws::Aws;
pub use cache::{
    BASE_IMAGES, DOCKER_ENGINE, HELM, KAFKA_JARS, PYTHON_PACKAGES, VAULT, VERIFIERS, python_path,
    tool_cache,
};
pub use certificate::Certificate;
pub use collector::{ArrivedSpan, COLLECTOR, Collector};
pub use docker::Docker;
pub use docker_images::STAND_INS;
pub use http::{Response, get, get_unix, request, request_unix};
pub use kafka::{Kafka, KafkaRecord};
pub use kubernetes::{CUSTOM_RESOURCES, KUBERNETES, Keep, Kubernetes, Taken, prepared};
pub use postgres::Postgres;
pub use process::{Marker, children, is_alive, signal};
pub use redis::Redis;
pub use run::{Ended, Run};
pub use vault::Vault;
pub use verifiers::Verifiers;
pub use wait::{free_port, lasting_port, wait_for, wait_for_some};
