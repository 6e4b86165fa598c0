//! How other commands talk to a running `up`: HTTP and JSON over `<state>/up.sock`.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/status` | 200, a [`Status`](crate::up::Status) |
//! | `GET /v1/logs?name=&tail=&follow=` | 200, an [`Event`](client::Event) a line |
//! | `POST /v1/items/{name}/{start,stop,restart}` | 202, or 404 or 409 with a `Refused` |
//! | `POST /v1/down` | 202, or 409 with a `Refused` |
//! | anything else | 404 |
//!
//! The version is in the path: a later one that means something else is `/v2`. It deliberately
//! decides nothing: it carries wishes to the engine and shows what the engine published.
//! Invariant: only the user who runs `up`, and root, get an answer.

pub mod client;
mod place;
mod server;

use std::io;
use std::path::PathBuf;

use tokio::sync::{mpsc, watch};

use crate::hub::Hub;
use crate::up::{Command, Refused, Status};

pub use place::{Place, SOCKET_NAME, claim};
pub use server::serve;

/// The ends of the engine that the control socket speaks to.
#[derive(Debug, Clone)]
pub struct Ends {
    /// Where wishes go.
    pub commands: mpsc::Sender<Command>,
    /// What the platform is doing.
    pub status: watch::Receiver<Status>,
    /// What its items write.
    pub hub: Hub,
}

/// Why a running `up` could not be asked, or a new one cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nothing listens.
    #[error("no `plimsoll up` runs in `{}`\nhelp: plimsoll up {}", directory.display(), directory.display())]
    NotRunning {
        /// The directory of the platform.
        directory: PathBuf,
    },
    /// Another one has the state directory.
    #[error(
        "`plimsoll up` already runs in `{}`\nhelp: plimsoll status {}\nhelp: plimsoll down {}",
        directory.display(), directory.display(), directory.display()
    )]
    AlreadyRunning {
        /// The directory of the platform.
        directory: PathBuf,
    },
    /// The socket is of another user.
    #[error(
        "the `plimsoll up` of `{}` belongs to another user\nhelp: ask as the user who started it",
        directory.display()
    )]
    Forbidden {
        /// The directory of the platform.
        directory: PathBuf,
    },
    /// The socket or its directory cannot be used.
    #[error("cannot {intent} `{}`: {source}\nhelp: check the permissions of that directory, or give another with `--state-dir`", path.display())]
    Unusable {
        /// What was about to be done.
        intent: &'static str,
        /// The socket, lock or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It listens and does not answer.
    #[error(
        "`plimsoll up` did not answer within {limit_s} s\nhelp: look at its terminal, or stop it there with Ctrl-C"
    )]
    TimedOut {
        /// How long was waited, in seconds.
        limit_s: u64,
    },
    /// It answers something that this version does not understand.
    #[error(
        "`plimsoll up` answered what this version does not understand: {answer}\nhelp: stop it and start it again with this version"
    )]
    Strange {
        /// What it said.
        answer: String,
    },
    /// The engine said no.
    #[error(transparent)]
    Refused(#[from] Refused),
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;
    use tokio::task::JoinHandle;

    use super::client::{Client, LogQuery, Verb};
    use super::*;
    use crate::hub::Stream;
    use crate::machine::State;
    use crate::up::{ItemKind, ItemStatus, Phase, Request};

    fn item(name: &str) -> ItemStatus {
        ItemStatus {
            name: name.into(),
            kind: ItemKind::Service,
            flavour: "web".into(),
            state: State::Ready,
            since_ms: 1,
            note: String::new(),
            pid: Some(7),
            restarts: 0,
            port: Some(8080),
            urls: vec!["http://localhost:8080".into()],
            uses: vec!["db".into()],
            checks: std::collections::BTreeMap::new(),
            error: None,
            last_lines: Vec::new(),
        }
    }

    fn status() -> Status {
        Status {
            app: "shop".into(),
            environment: "dev".into(),
            pid: 1,
            phase: Phase::Running,
            edge: None,
            started_ms: 1,
            items: vec![item("api"), item("worker/one")],
        }
    }

    /// A control socket in front of an engine that knows two items and notes what it is asked.
    struct Fake {
        state: TempDir,
        hub: Hub,
        client: Client,
        asked: mpsc::UnboundedReceiver<Request>,
        status: Option<watch::Sender<Status>>,
        _place: Place,
        tasks: Vec<JoinHandle<()>>,
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            self.tasks.iter().for_each(JoinHandle::abort);
        }
    }

    fn fake() -> Fake {
        let state = tempfile::tempdir().unwrap();
        let (commands, mut wishes) = mpsc::channel::<Command>(4);
        let (published, status) = watch::channel(status());
        let (note, asked) = mpsc::unbounded_channel();
        let hub = Hub::default();
        let ends = Ends { commands, status, hub: hub.clone() };
        let mut place = claim(Path::new("shop"), state.path()).unwrap();
        let listener = place.take_listener().unwrap();
        let server = tokio::spawn(async move { serve(listener, ends).await.unwrap() });
        let engine = tokio::spawn(async move {
            while let Some(Command { request, answer }) = wishes.recv().await {
                let answered = match &request {
                    Request::Start { name } if name == "nobody" => Err(Refused::Unknown {
                        name: name.clone(),
                        known: vec!["api".into(), "worker/one".into()],
                    }),
                    Request::Stop { .. } => Err(Refused::Stopping),
                    _ => Ok(()),
                };
                note.send(request).unwrap();
                answer.unwrap().send(answered).unwrap();
            }
        });
        let client = Client::new(Path::new("shop"), state.path());
        Fake {
            state,
            hub,
            client,
            asked,
            status: Some(published),
            _place: place,
            tasks: vec![server, engine],
        }
    }

    #[tokio::test]
    async fn status_arrives_as_it_was_published() {
        assert_eq!(fake().client.status().await.unwrap(), status());
    }

    #[tokio::test]
    async fn a_wish_reaches_the_engine_with_the_name_unchanged() {
        let mut fake = fake();
        fake.client.item(Verb::Restart, "worker/one").await.unwrap();
        let wish = fake.asked.recv().await.unwrap();
        assert_eq!(wish, Request::Restart { name: "worker/one".into() });
        fake.client.down().await.unwrap();
        assert_eq!(fake.asked.recv().await.unwrap(), Request::Shutdown);
    }

    #[tokio::test]
    async fn a_refusal_arrives_with_its_help() {
        let fake = fake();
        let error = fake.client.item(Verb::Start, "nobody").await.unwrap_err();
        assert!(error.to_string().contains("help: one of `api`, `worker/one`"), "{error}");
        let error = fake.client.item(Verb::Stop, "api").await.unwrap_err();
        assert!(matches!(error, ControlError::Refused(Refused::Stopping)), "{error}");
    }

    #[tokio::test]
    async fn old_lines_come_and_then_the_end() {
        let fake = fake();
        for n in 0..1_000 {
            fake.hub.push("api", Stream::Stdout, format!("line {n}"));
        }
        let query = LogQuery { name: Some("api".into()), tail: 600, is_followed: false };
        let mut events = fake.client.logs(&query).await.unwrap();
        let mut n_lines = 0;
        while let Some(event) = events.next().await.unwrap() {
            assert_eq!(event.item, "api");
            n_lines += 1;
        }
        assert_eq!(n_lines, 600);
    }

    #[tokio::test]
    async fn followed_lines_keep_their_bytes_and_end_with_the_platform() {
        let fake = fake();
        let query = LogQuery { name: None, tail: 10, is_followed: true };
        let mut events = fake.client.logs(&query).await.unwrap();
        let text = r#"{ "msg":"x", "n": 1.50 }"#;
        fake.hub.push("api", Stream::Stdout, text);
        let event = events.next().await.unwrap().unwrap();
        assert_eq!(event.line.unwrap().get(), text);
        fake.hub.close();
        assert!(events.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_follower_reads_to_the_end_of_a_platform_that_has_ended() {
        let mut fake = fake();
        let query = LogQuery { name: None, tail: 0, is_followed: true };
        let mut events = fake.client.logs(&query).await.unwrap();
        fake.status.take();
        fake.hub.push("api", Stream::Stdout, "last words");
        fake.hub.close();
        assert_eq!(events.next().await.unwrap().unwrap().item, "api");
        assert!(events.next().await.unwrap().is_none());
        fake.tasks.remove(0).await.unwrap();
        let error = fake.client.status().await.unwrap_err();
        assert!(matches!(error, ControlError::NotRunning { .. }), "{error}");
    }

    #[tokio::test]
    async fn logs_of_an_unknown_item_are_refused_with_the_names_there_are() {
        let query = LogQuery { name: Some("apu".into()), ..LogQuery::default() };
        let error = fake().client.logs(&query).await.unwrap_err();
        assert!(error.to_string().contains("`api`"), "{error}");
    }

    #[tokio::test]
    async fn without_an_up_the_error_says_how_to_start_one() {
        let state = tempfile::tempdir().unwrap();
        let client = Client::new(Path::new("shop"), state.path());
        let error = client.status().await.unwrap_err().to_string();
        assert_eq!(error, "no `plimsoll up` runs in `shop`\nhelp: plimsoll up shop");
    }

    #[tokio::test]
    async fn a_refused_claim_leaves_the_socket_of_the_other() {
        let fake = fake();
        claim(Path::new("shop"), fake.state.path()).unwrap_err();
        fake.client.status().await.unwrap();
    }
}
