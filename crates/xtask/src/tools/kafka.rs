//! The jars of a real Kafka broker, from Maven Central, for tests and benchmarks.
//!
//! A flat directory for Java's class path. It deliberately builds nothing and brings no scripts:
//! `testkit::Kafka` starts the broker's own main class.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

/// What is copied, pinned.
const POM: &str = "crates/testkit/kafka/pom.xml";
/// Maven's own step for that, pinned.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// Where they go: a name for this version.
pub(super) fn directory() -> String {
    testkit::KAFKA_JARS.to_owned()
}

/// Copies them with Maven.
pub(super) fn install(into: &Path) -> Result<()> {
    copy_jars(POM, into)
}

/// Copies the jars that a project file names, and what they need.
pub(super) fn copy_jars(pom: &str, into: &Path) -> Result<()> {
    super::run(
        Command::new("mvn")
            .args(["--quiet", "--batch-mode", "--file", pom, COPY, "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", into.display())),
    )
}
