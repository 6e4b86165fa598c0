//! The worker as a process: several at once, killed, without Tesseract, stopped.

use crate::on_both;
use crate::platform::{Platform, Process, has_ocr, sample, signal, until};

on_both! {
    several_workers_never_read_a_document_twice
    a_killed_workers_document_is_taken_over
}

const READY: &str = "discovery_jobs_total{result=\"ready\"}";

fn several_workers_never_read_a_document_twice(platform: &Platform) {
    let ids: Vec<String> = (0..30)
        .map(|n| platform.upload(&format!("{n}.txt"), format!("Sentence number {n}.").as_bytes()))
        .collect();
    let workers = [platform.worker(), platform.worker(), platform.worker()];
    for id in &ids {
        assert_eq!(platform.settled(id)["status"], "ready");
    }
    let sum = || workers.iter().map(|worker| worker.metric(READY)).sum::<f64>();
    until("all jobs are counted", || sum() >= 30.0);
    assert_eq!(sum(), 30.0);
    assert_eq!(platform.search("sentence")["total"], 30);
    until("the queue is empty", || workers[0].metric("discovery_queue_depth") == 0.0);
}

fn a_killed_workers_document_is_taken_over(platform: &Platform) {
    if !has_ocr() {
        return;
    }
    let short_lease = || {
        let mut command = platform.program("worker");
        command.env("LEASE_SECONDS", "5");
        Process::start(command)
    };
    let mut first = short_lease();
    let id = platform.upload("scan.pdf", &sample("lighthouse-log-scan.pdf"));
    until("it is being read", || platform.document(&id)["status"] == "processing");
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    assert_eq!(platform.document(&id)["status"], "processing");

    let second = short_lease();
    assert_eq!(platform.settled(&id)["status"], "ready");
    until("it is counted", || second.metric(READY) == 1.0);
    assert_eq!(platform.names("kittiwakes"), ["scan.pdf"]);
}

#[test]
fn without_tesseract_pictures_wait_until_it_is_there() {
    if !has_ocr() {
        return;
    }
    let platform = Platform::sqlite();
    let mut command = platform.program("worker");
    command.env("PATH", "/nowhere");
    let without = Process::start(command);
    let scan = platform.upload("scan.pdf", &sample("lighthouse-log-scan.pdf"));
    let picture = platform.upload("notice.png", &sample("harbour-notice.png"));
    for id in [&scan, &picture] {
        let document = platform.settled(id);
        assert_eq!(document["status"], "needs_ocr");
        assert!(document["note"].as_str().unwrap().contains("Tesseract"), "{document}");
    }
    drop(without);

    let requeued = platform.program("worker").arg("requeue").output().unwrap();
    assert_eq!(String::from_utf8(requeued.stdout).unwrap(), "2 documents queued again\n");
    let worker = platform.worker();
    for id in [&scan, &picture] {
        assert_eq!(platform.settled(id)["status"], "ready");
    }
    until("both are counted", || worker.metric(READY) == 2.0);
    assert_eq!(worker.metric("discovery_ocr_duration_seconds_count"), 2.0);
}

#[test]
fn a_document_that_failed_can_be_tried_again() {
    let platform = Platform::sqlite();
    let _worker = platform.worker();
    let id = platform.upload("broken.pdf", b"%PDF-1.7\nbroken");
    assert_eq!(platform.settled(&id)["status"], "failed");
    let (status, document) = platform.post(&format!("/v1/documents/{id}/retry"), b"");
    assert_eq!((status, document["status"].as_str()), (202, Some("queued")));
    assert_eq!(platform.settled(&id)["status"], "failed");
    let ready = platform.upload("ready.txt", b"Fine.");
    platform.settled(&ready);
    assert_eq!(platform.post(&format!("/v1/documents/{ready}/retry"), b"").0, 409);
}

#[test]
fn the_heartbeat_is_touched_and_sigterm_ends_the_worker() {
    let platform = Platform::sqlite();
    let heartbeat = platform.data_dir().join("heartbeat");
    let mut command = platform.program("worker");
    command.env("HEARTBEAT_FILE", &heartbeat);
    let mut worker = Process::start(command);
    let touched = || std::fs::metadata(&heartbeat).and_then(|metadata| metadata.modified()).ok();
    until("there is a heartbeat", || touched().is_some());
    let first = touched();
    until("there is another", || touched() > first);
    signal(&worker.child, "TERM");
    assert!(worker.child.wait().unwrap().success());
}

#[test]
fn metrics_are_valid_text_with_help_type_and_units() {
    let platform = Platform::sqlite();
    let worker = platform.worker();
    let text = worker.metrics();
    for (name, kind) in [
        ("discovery_queue_depth", "gauge"),
        ("discovery_jobs_total", "counter"),
        ("discovery_ocr_duration_seconds", "histogram"),
    ] {
        assert!(text.contains(&format!("# HELP {name} ")), "{text}");
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (sample, value) = line.rsplit_once(' ').unwrap();
        assert!(sample.starts_with("discovery_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(text.ends_with('\n'));
}
