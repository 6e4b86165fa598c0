//! The queue, with time as an argument.

use std::time::Duration;

use discovery::blobs::Blobs;
use discovery::documents::{self, Status};
use discovery::queue::{self, ATTEMPTS_MAX, Job, Reading};
use discovery::sentences::sentences;
use discovery::store::{Store, now_ms};
use tempfile::TempDir;

use crate::postgres::Cluster;

const LEASE: Duration = Duration::from_secs(60);
const LEASE_MS: i64 = 60_000;

struct Fixture {
    store: Store,
    blobs: Blobs,
    _directory: TempDir,
}

/// Runs one claim on an empty queue in each database.
fn on_both<F: Future<Output = ()>>(claim: impl Fn(Fixture) -> F) {
    let run = |url: Option<String>| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(url.as_deref(), directory.path()).unwrap();
            store.migrate().await.unwrap();
            let blobs = Blobs::open(directory.path()).unwrap();
            claim(Fixture { store: store.clone(), blobs, _directory: directory }).await;
            store.pool.close().await;
        });
    };
    run(None);
    if let Some(cluster) = Cluster::shared() {
        run(Some(cluster.create_database()));
    }
}

impl Fixture {
    async fn add(&self, text: &str) -> String {
        let mut incoming = self.blobs.create().unwrap();
        incoming.write(text.as_bytes()).await.unwrap();
        let complete = incoming.finish().await.unwrap();
        let added = documents::add(&self.store, &self.blobs, complete, "a.txt", "text/plain").await;
        added.unwrap().0.id
    }

    async fn claim(&self, now: i64) -> Option<Job> {
        queue::claim(&self.store, "test", now, LEASE).await.unwrap()
    }

    async fn status(&self, id: &str) -> Status {
        documents::get(&self.store, id).await.unwrap().unwrap().status
    }
}

fn reading() -> Reading {
    let sentences = sentences(&["It was read.".to_owned()]);
    Reading { sentences, n_pages: 1, status: Status::Ready, note: String::new() }
}

#[test]
fn a_job_is_given_once_and_again_only_after_its_lease() {
    on_both(async |fixture| {
        let id = fixture.add("x").await;
        let now = now_ms();
        let first = fixture.claim(now).await.unwrap();
        assert!(fixture.claim(now).await.is_none());
        assert!(fixture.claim(now + LEASE_MS - 1).await.is_none());
        let second = fixture.claim(now + LEASE_MS).await.unwrap();
        assert_eq!((second.document_id.as_str(), second.attempts), (id.as_str(), 2));

        // The first worker was only slow. Nothing that it does counts any more.
        assert!(!queue::extend(&fixture.store, &first, now, LEASE).await.unwrap());
        assert!(!queue::finish(&fixture.store, &first, &reading()).await.unwrap());
        assert!(!queue::fail(&fixture.store, &first, "late", true, now).await.unwrap());
        assert_eq!(fixture.status(&id).await, Status::Processing);

        assert!(queue::finish(&fixture.store, &second, &reading()).await.unwrap());
        assert_eq!(fixture.status(&id).await, Status::Ready);
        assert!(fixture.claim(now + 10 * LEASE_MS).await.is_none());
    });
}

#[test]
fn an_extended_lease_keeps_the_job() {
    on_both(async |fixture| {
        fixture.add("x").await;
        let now = now_ms();
        let job = fixture.claim(now).await.unwrap();
        assert!(queue::extend(&fixture.store, &job, now + 50_000, LEASE).await.unwrap());
        assert!(fixture.claim(now + LEASE_MS + 1).await.is_none());
        assert!(fixture.claim(now + 50_000 + LEASE_MS).await.is_some());
    });
}

#[test]
fn a_failing_job_backs_off_and_is_given_up_with_its_error() {
    on_both(async |fixture| {
        let id = fixture.add("x").await;
        let mut now = now_ms();
        for attempt in 1..=ATTEMPTS_MAX {
            let job = fixture.claim(now).await.unwrap();
            assert_eq!(job.attempts, attempt);
            assert!(queue::fail(&fixture.store, &job, "no disk", true, now).await.unwrap());
            assert!(fixture.claim(now + 1).await.is_none(), "no pause after attempt {attempt}");
            now += 300_000;
        }
        assert!(fixture.claim(now).await.is_none());
        let document = documents::get(&fixture.store, &id).await.unwrap().unwrap();
        assert_eq!((document.status, document.note.as_str()), (Status::Failed, "no disk"));
        assert_eq!(queue::depth(&fixture.store).await.unwrap().dead, 1);

        // Someone mended it: all attempts are there again.
        assert!(queue::requeue_one(&fixture.store, &id, Status::Failed).await.unwrap());
        assert_eq!(fixture.claim(now_ms()).await.unwrap().attempts, 1);
    });
}

#[test]
fn an_unreadable_document_is_not_tried_again() {
    on_both(async |fixture| {
        let id = fixture.add("x").await;
        let job = fixture.claim(now_ms()).await.unwrap();
        assert!(queue::fail(&fixture.store, &job, "no pages", false, now_ms()).await.unwrap());
        assert_eq!(fixture.status(&id).await, Status::Failed);
        assert!(fixture.claim(now_ms() + 10 * LEASE_MS).await.is_none());
    });
}

#[test]
fn a_job_given_back_costs_no_attempt() {
    on_both(async |fixture| {
        let id = fixture.add("x").await;
        let now = now_ms();
        let job = fixture.claim(now).await.unwrap();
        assert!(queue::release(&fixture.store, &job, now).await.unwrap());
        assert_eq!(fixture.status(&id).await, Status::Queued);
        assert_eq!(fixture.claim(now).await.unwrap().attempts, 1);
    });
}

#[test]
fn a_document_deleted_while_it_is_read_stays_deleted() {
    on_both(async |fixture| {
        let id = fixture.add("x").await;
        let job = fixture.claim(now_ms()).await.unwrap();
        assert!(documents::delete(&fixture.store, &fixture.blobs, &id).await.unwrap());
        assert!(!queue::extend(&fixture.store, &job, now_ms(), LEASE).await.unwrap());
        assert!(!queue::finish(&fixture.store, &job, &reading()).await.unwrap());
        assert!(documents::get(&fixture.store, &id).await.unwrap().is_none());
        assert!(!queue::requeue_one(&fixture.store, &id, Status::Ready).await.unwrap());
    });
}

#[test]
fn many_claims_at_once_never_share_a_job() {
    on_both(async |fixture| {
        for n in 0..20 {
            fixture.add(&n.to_string()).await;
        }
        let now = now_ms();
        let claims = (0..8).map(|_| {
            let store = fixture.store.clone();
            tokio::spawn(async move {
                let mut ids = Vec::new();
                while let Some(job) = queue::claim(&store, "w", now, LEASE).await.unwrap() {
                    ids.push(job.document_id);
                }
                ids
            })
        });
        let mut ids = Vec::new();
        for claim in claims.collect::<Vec<_>>() {
            ids.extend(claim.await.unwrap());
        }
        assert_eq!(ids.len(), 20);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 20);
    });
}
