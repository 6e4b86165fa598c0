//! The container of a server that is not ours.

use manifest::names::SecretName;
use manifest::plan::Resource;

use super::Fragment;
use crate::node::{Map, Node};
use crate::target::compose::hardening::{self, Share, confine};
use crate::target::compose::stack::{Stack, escaped};
use crate::target::compose::{ports, secret};

/// What such a container needs; everything else is the same for all.
#[derive(Clone, Debug)]
pub(in crate::target::compose) struct Server {
    image: String,
    pub(in crate::target::compose) entrypoint: Vec<String>,
    pub(in crate::target::compose) command: Vec<String>,
    pub(in crate::target::compose) environment: Vec<(String, Node)>,
    pub(in crate::target::compose) secrets: Vec<SecretName>,
    pub(in crate::target::compose) configs: Vec<Node>,
    /// Volumes and directories, as Compose writes them.
    pub(in crate::target::compose) mounts: Vec<String>,
    /// Directories in memory; with them the root is read-only.
    pub(in crate::target::compose) tmpfs: Vec<&'static str>,
    /// Shared memory, where the engine's default is too little.
    pub(in crate::target::compose) shm_size: Option<&'static str>,
    /// How it shows that it works.
    pub(in crate::target::compose) health: Option<Node>,
    pub(in crate::target::compose) user: Option<&'static str>,
    /// Capabilities that its start needs.
    pub(in crate::target::compose) capabilities: &'static [&'static str],
    share: Share,
}

impl Server {
    /// A container of an image that may take this much.
    pub(in crate::target::compose) fn new(image: &str, share: Share) -> Server {
        Server {
            image: image.to_owned(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            environment: Vec::new(),
            secrets: Vec::new(),
            configs: Vec::new(),
            mounts: Vec::new(),
            tmpfs: Vec::new(),
            shm_size: None,
            health: None,
            user: None,
            capabilities: &[],
            share,
        }
    }

    /// As the server of its resource, which clients wait for.
    pub(in crate::target::compose) fn fragment(
        self,
        stack: &Stack<'_>,
        resource: &Resource,
    ) -> Fragment {
        let name = resource.name.dns();
        let condition = if self.health.is_some() { "service_healthy" } else { "service_started" };
        let container = Node::from(self.container(stack, resource))
            .because(format!("resources.{}", resource.name));
        Fragment {
            containers: vec![(name.clone(), container)],
            waits: vec![(name, condition)],
            ..Fragment::default()
        }
    }

    /// The container.
    pub(in crate::target::compose) fn container(
        self,
        stack: &Stack<'_>,
        resource: &Resource,
    ) -> Map {
        let ports = ports::of(stack, resource.name.as_str());
        self.written(stack, resource)
            .with_any("ports", Node::list(ports))
            .with("restart", "unless-stopped")
            .with("stop_grace_period", "1m")
    }

    /// As a container that prepares its server once it works, and ends.
    pub(in crate::target::compose) fn once(self, stack: &Stack<'_>, resource: &Resource) -> Node {
        let wait = Map::new().with("condition", "service_healthy");
        let container = self
            .written(stack, resource)
            .with("depends_on", Map::new().with(resource.name.dns(), wait))
            .with("restart", "on-failure:5");
        Node::from(container).because(format!("resources.{}", resource.name))
    }

    fn written(self, stack: &Stack<'_>, resource: &Resource) -> Map {
        // A script is read line by line, words beside each other.
        let row = |words: &[String]| {
            let words = words.iter().map(|word| escaped(word));
            match words.clone().any(|word| word.contains('\n')) {
                true => Node::list(words),
                false => Node::row(words),
            }
        };
        let secrets = self.secrets.iter().map(secret::mount);
        let is_read_only = !self.tmpfs.is_empty() && !stack.is_dev;
        let mut container = Map::new()
            .with("image", stack.platform.pinned(&self.image))
            .with_any("entrypoint", row(&self.entrypoint))
            .with_any("command", row(&self.command))
            .with_any("environment", self.environment.into_iter().collect::<Map>())
            .with_any("secrets", Node::list(secrets))
            .with_any("configs", Node::list(self.configs))
            .with_any("volumes", Node::list(self.mounts))
            .with_some("shm_size", self.shm_size)
            .with_some("healthcheck", self.health);
        if stack.is_dev {
            return container;
        }
        container.put("networks", Node::row([resource.name.dns()]));
        container = container.with_some("user", self.user);
        if is_read_only {
            container.put("read_only", true);
            container.put("tmpfs", Node::row(self.tmpfs));
        }
        confine(container, self.capabilities)
            .with("deploy", self.share.deploy())
            .with("logging", hardening::logging(stack.plan))
    }
}

/// A health check that is run as it stands.
pub(super) fn check(words: &[&str]) -> Node {
    let words = ["CMD"].iter().chain(words).map(|word| escaped(word));
    timing(Node::row(words), "10s")
}

/// A health check for a shell.
pub(super) fn script(script: &str) -> Node {
    timing(Node::row(["CMD-SHELL".to_owned(), escaped(script)]), "10s")
}

/// A health check that takes long to answer, and so is made less often.
pub(super) fn slow_check(words: &[&str]) -> Node {
    let words = ["CMD"].iter().chain(words).map(|word| escaped(word));
    timing(Node::row(words), "30s")
}

fn timing(test: Node, interval: &str) -> Node {
    Map::new()
        .with("test", test)
        .with("interval", interval)
        .with("timeout", if interval == "10s" { "5s" } else { "20s" })
        .with("retries", 6u32)
        .with("start_period", "60s")
        .into()
}

/// A health check over HTTP with whatever the image has; one that has nothing is taken as well.
pub(in crate::target::compose) fn ask(port: u16, path: &str) -> Node {
    let url = format!("http://127.0.0.1:{port}{path}");
    script(&format!(
        "if command -v wget >/dev/null; then wget -q -O /dev/null {url}; \
         elif command -v curl >/dev/null; then curl -fsS -o /dev/null {url}; \
         elif command -v bash >/dev/null; then bash -c ': </dev/tcp/127.0.0.1/{port}'; fi"
    ))
}
