//! A real Redis for one test.
//!
//! It deliberately keeps nothing: data is in memory and gone with it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use crate::{
    run::Run,
    wait::{free_port, wait_for},
};

/// How long it may take to answer the first time.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Where Debian keeps it.
const PROGRAM: &str = "/usr/bin/redis-server";

/// A running Redis on a port of its own; it ends when dropped.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    args: Vec<String>,
    run: Option<Run>,
}

impl Redis {
    /// Starts it, with more arguments such as `["--requirepass", "x"]`, and waits until it answers.
    ///
    /// # Panics
    /// When it is not installed or does not answer.
    #[must_use]
    pub fn start(args: &[&str]) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut redis = Self { port: free_port(), args, run: None };
        redis.resume();
        redis
    }

    /// The port on `127.0.0.1`.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address without a password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Ends it at once; its port answers no more.
    pub fn kill(&mut self) {
        self.run = None;
    }

    /// Starts it again on the same port, empty.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn resume(&mut self) {
        let port = self.port.to_string();
        let fixed = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let args = fixed.into_iter().chain(self.args.iter().map(String::as_str));
        self.run = Some(Run::start(Path::new(PROGRAM), args));
        wait_for("Redis to answer", START_LIMIT, || answers(self.port));
    }
}

/// With a password it says that one is needed, which is an answer.
fn answers(port: u16) -> bool {
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.set_read_timeout(Some(START_LIMIT))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    });
    asked.is_ok_and(|answer| &answer == b"+PONG" || answer.starts_with(b"-NOAU"))
}
