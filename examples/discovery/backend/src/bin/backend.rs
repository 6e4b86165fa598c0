//! The HTTP server: `backend`, `backend migrate`, `backend seed [directory]`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use discovery::api::{App, router};
use discovery::blobs::Blobs;
use discovery::config::Config;
use discovery::seed::{Seeded, seed};
use discovery::store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

const USAGE: &str = "usage: backend [serve | migrate | seed [DIRECTORY]]";
/// How long requests in flight may go on after SIGTERM.
const FINISH_LIMIT: Duration = Duration::from_secs(15);

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    discovery::log::start();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [] | ["serve"] => serve().await,
        ["migrate"] => migrate().await,
        ["seed"] => fill(Path::new("../samples")).await,
        ["seed", directory] => fill(Path::new(directory)).await,
        ["-h" | "--help"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn open(config: &Config) -> Result<(Store, Blobs), Error> {
    let store = Store::open(config.database_url.as_deref(), &config.data_dir)?;
    let blobs = Blobs::open(&config.data_dir)
        .map_err(|error| format!("cannot use `{}`: {error}", config.data_dir.display()))?;
    Ok((store, blobs))
}

async fn serve() -> Result<(), Error> {
    let config = Config::backend()?;
    let (store, blobs) = open(&config)?;
    store.check_schema().await?;
    let app = App::new(store, blobs)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on `{}`: {error}", config.listen))?;
    info!(address = %listener.local_addr()?, "listening");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, mut stopping) = tokio::sync::watch::channel(false);
    let mut stopping_too = stopping.clone();
    let server = axum::serve(listener, router(app)).with_graceful_shutdown(async move {
        // An error means that nobody can ask any more: then stop as well.
        let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
    });
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        info!("stopping: finishing the requests in flight");
        stop.send_replace(true);
        std::future::pending::<()>().await;
    });
    let give_up = async {
        let _ = stopping_too.wait_for(|is_stopping| *is_stopping).await;
        tokio::time::sleep(FINISH_LIMIT).await;
    };
    tokio::select! {
        result = IntoFuture::into_future(server) => result?,
        () = give_up => return Err("requests were still in flight".into()),
    }
    info!("stopped");
    Ok(())
}

async fn migrate() -> Result<(), Error> {
    let config = Config::backend()?;
    let (store, _) = open(&config)?;
    let version = store.migrate().await?;
    println!("the database is at version {version}");
    Ok(())
}

async fn fill(directory: &Path) -> Result<(), Error> {
    let config = Config::backend()?;
    let (store, blobs) = open(&config)?;
    store.check_schema().await?;
    let all = seed(&store, &blobs, directory)
        .await
        .map_err(|error| format!("cannot seed from `{}`: {error}", directory.display()))?;
    for seeded in all {
        match seeded {
            Seeded::Added(name) => println!("added    {name}"),
            Seeded::Known(name) => println!("known    {name}"),
            Seeded::Skipped(name) => println!("skipped  {name}"),
        }
    }
    Ok(())
}
