//! Watches for the app's first answer: its port accepts, its own path says 2xx, or it sends
//! `READY=1`.
//!
//! It deliberately has no limit of its own: an app that never answers stays `starting`, which
//! `/ready` and the start probe of whoever started us say.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{board::Board, notify::StartedBy, settings::Settings};

/// Between the first attempts.
const WAIT_MIN: Duration = Duration::from_millis(5);
/// Between later ones.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// How long one attempt may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(2);
/// Enough for `HTTP/1.1 200`.
const STATUS_BYTES: usize = 12;

/// Returns once the app has answered; at once when nothing says where to ask.
pub(super) async fn wait(settings: &Settings, board: &Board) {
    if settings.app.started == StartedBy::Notify {
        // The board outlives whoever waits.
        let _ = board.subscribe().wait_for(|snapshot| snapshot.notified.is_ready).await;
        return;
    }
    let Some(port) = settings.app.port else { return };
    let address = SocketAddr::new(settings.app.host, port);
    let mut wait = WAIT_MIN;
    loop {
        let attempt = answers(address, settings.app.ready_http.as_deref());
        if let Ok(Ok(true)) = timeout(ATTEMPT_LIMIT, attempt).await {
            return;
        }
        sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

async fn answers(address: SocketAddr, path: Option<&str>) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let Some(path) = path else { return Ok(true) };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; STATUS_BYTES];
    stream.read_exact(&mut status).await?;
    Ok(status.starts_with(b"HTTP/1.") && status[8] == b' ' && status[9] == b'2')
}
