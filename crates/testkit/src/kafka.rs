//! A real Kafka broker in KRaft mode: one node, in a directory and on ports of its own.
//!
//! It is Apache's own, started as users' operators start it, so that what tests see of outages is
//! true. It deliberately replicates nothing: `acks=all` means this one node.
//!
//! Invariant: the port stays the same from start to drop, whatever happens to the broker between.

mod client;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

pub use self::client::KafkaRecord;
use crate::{
    Run,
    cache::{KAFKA_JARS, tool_cache},
    certificate::Certificate,
    wait::{lasting_port, wait_for},
};

/// How long the broker may take to start on a machine that does other things, too.
const START_LIMIT: Duration = Duration::from_secs(90);
/// How long it may take to stop in order.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How often other ports are tried when somebody was faster.
const PORT_TRIES: usize = 5;
/// Any identity of a cluster does.
const CLUSTER_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// A broker, and what it has stored.
#[derive(Debug)]
pub struct Kafka {
    directory: TempDir,
    port: u16,
    secure: Option<Secure>,
    settings: Vec<String>,
    run: Option<Run>,
}

/// A listener with TLS and a login.
#[derive(Debug)]
struct Secure {
    port: u16,
    /// As the tool that lays out the log takes it.
    login: String,
}

impl Kafka {
    /// Starts a broker and waits until it answers.
    ///
    /// # Panics
    /// When its jars are not installed, or it does not answer in time; the message has its log.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with more lines of `server.properties`.
    ///
    /// # Panics
    /// As [`Kafka::start`].
    #[must_use]
    pub fn start_with(settings: &[&str]) -> Self {
        Self::new(settings).started()
    }

    /// The same, with a second listener that speaks TLS and takes one user, by SCRAM-SHA-512.
    ///
    /// # Panics
    /// As [`Kafka::start`].
    #[must_use]
    pub fn start_secure(certificate: &Certificate, user: &str, password: &str) -> Self {
        let mut kafka = Self::new(&[]);
        // Its format for both in one file.
        let parts = [certificate.key(), certificate.certificate()].map(fs::read_to_string);
        let parts = parts.map(|part| part.expect("it was just made"));
        fs::write(kafka.keystore(), parts.concat()).expect("the directory is ours");
        let login = format!("SCRAM-SHA-512=[name={user},password={password}]");
        kafka.secure = Some(Secure { port: 0, login });
        kafka.started()
    }

    fn new(settings: &[&str]) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let settings = settings.iter().map(|&line| line.to_owned()).collect();
        Self { directory, port: 0, secure: None, settings, run: None }
    }

    fn started(mut self) -> Self {
        for _ in 0..PORT_TRIES {
            self.port = lasting_port();
            if let Some(secure) = &mut self.secure {
                secure.port = lasting_port();
            }
            self.format();
            if self.spawn() {
                return self;
            }
        }
        self.fail("no port stayed free for")
    }

    /// The address of the listener of [`Kafka::start_secure`].
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn secure_bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.secure.as_ref().expect("it was started so").port)
    }

    /// The address for `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Stops it in order: what it has is on disk.
    pub fn stop(&mut self) {
        self.end(SIGTERM);
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        self.end(SIGKILL);
    }

    /// Starts it again with the same port and data; a running one is stopped first.
    ///
    /// # Panics
    /// When it does not answer in time.
    pub fn restart(&mut self) {
        self.stop();
        if !self.spawn() {
            self.fail("somebody took the port of");
        }
    }

    /// The process of the broker, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.run.as_ref().map(Run::pid)
    }

    fn end(&mut self, signal: i32) {
        if let Some(mut run) = self.run.take() {
            run.signal(signal);
            run.wait(STOP_LIMIT);
        }
    }

    /// Writes the settings and lays out an empty log.
    fn format(&self) {
        let (port, controller) = (self.port, lasting_port());
        let data = self.directory.path().join("data");
        // A try that failed may have left one.
        let _ = fs::remove_dir_all(&data);
        let mut lines = vec![
            "process.roles=broker,controller".to_owned(),
            "node.id=1".to_owned(),
            format!("listeners=CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"),
            format!("controller.quorum.voters=1@127.0.0.1:{controller}"),
            format!("log.dirs={}", data.display()),
        ];
        lines.extend(SETTINGS.iter().map(|&line| line.to_owned()));
        // Of two lines for one key, the later holds.
        lines.extend(self.settings.iter().cloned());
        let mut tool = java("kafka.tools.StorageTool");
        tool.args(["format", "--cluster-id", CLUSTER_ID, "--config"]).arg(self.properties());
        if let Some(Secure { port: secure, login }) = &self.secure {
            lines.extend(SECURE_SETTINGS.iter().map(|&line| line.to_owned()));
            lines.push(format!(
                "listeners=CLIENT://127.0.0.1:{port},SECURE://127.0.0.1:{secure},\
                 CONTROLLER://127.0.0.1:{controller}"
            ));
            let keystore = self.keystore();
            lines
                .push(format!("listener.name.secure.ssl.keystore.location={}", keystore.display()));
            tool.args(["--add-scram", login]);
        }
        fs::write(self.properties(), lines.join("\n")).expect("the directory is ours");
        let output = tool.output().expect("`java` starts: run `cargo xtask tools --for test`");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "a new log for Kafka: {said}");
    }

    /// Starts the process and waits; `false` when a port was taken.
    fn spawn(&mut self) -> bool {
        let java = java("kafka.Kafka");
        let args = java.get_args().map(ToOwned::to_owned).collect::<Vec<_>>();
        let args = args.into_iter().chain([self.properties().into()]);
        let run = self.run.insert(Run::start(Path::new(java.get_program()), args));
        let pid = run.pid();
        wait_for("Kafka to start", START_LIMIT, || {
            !crate::is_alive(pid) || client::answers(self.port)
        });
        if crate::is_alive(pid) {
            return true;
        }
        if self.log().contains("Address already in use") {
            self.run = None;
            return false;
        }
        self.fail("it ended:")
    }

    fn properties(&self) -> PathBuf {
        self.directory.path().join("server.properties")
    }

    fn keystore(&self) -> PathBuf {
        self.directory.path().join("keystore.pem")
    }

    fn log(&self) -> String {
        self.run.as_ref().map(|run| run.stdout() + &run.stderr()).unwrap_or_default()
    }

    #[expect(clippy::panic, reason = "that is how a test fails")]
    fn fail(&self, what: &str) -> ! {
        panic!("{what} Kafka on port {}; its log:\n{}", self.port, self.log())
    }
}

/// Small and quick: what a test needs of a broker.
const SETTINGS: &[&str] = &[
    "listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name=CLIENT",
    "controller.listener.names=CONTROLLER",
    "num.partitions=3",
    "num.network.threads=1",
    "num.io.threads=2",
    "background.threads=1",
    "log.cleaner.dedupe.buffer.size=2097152",
    "offsets.topic.num.partitions=1",
    "offsets.topic.replication.factor=1",
    "transaction.state.log.num.partitions=1",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "group.initial.rebalance.delay.ms=0",
    // So that a broker that was killed is let back in at once.
    "broker.session.timeout.ms=3000",
    "broker.heartbeat.interval.ms=500",
    "controlled.shutdown.enable=false",
];

/// The listener of [`Kafka::start_secure`].
const SECURE_SETTINGS: &[&str] = &[
    "listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
    "listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-512",
    "listener.name.secure.scram-sha-512.sasl.jaas.config=\
     org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "listener.name.secure.ssl.keystore.type=PEM",
];

/// A command for one of Kafka's main classes. When the test dies, it dies.
fn java(class: &str) -> Command {
    let jars = tool_cache().join(KAFKA_JARS);
    assert!(jars.is_dir(), "`{}` is missing: run `cargo xtask tools --for test`", jars.display());
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "java", "-Xmx256m", "-XX:+UseSerialGC"]);
    // Its tests are short: what the second compiler would gain comes too late.
    command.args(["-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);
    command.arg("-cp").arg(jars.join("*")).arg(class);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_was_killed_comes_back_with_what_it_had() {
        let mut kafka = Kafka::start();
        kafka.create_topic("orders", 2, &[]);
        kafka.produce("orders", "7", "one");
        kafka.kill();
        assert_eq!(kafka.pid(), None);
        kafka.restart();
        kafka.produce("orders", "7", "two");
        let texts = kafka.consume("orders").iter().map(KafkaRecord::text).collect::<Vec<_>>();
        assert_eq!(texts, ["one", "two"]);
    }
}
