//! The HTTP API.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::on_both;
use crate::platform::{Platform, agent, has_ocr, sample, signal, until};

on_both! {
    every_sample_is_found_by_its_words
    the_same_bytes_are_the_same_document
    lists_come_in_pages
    a_deleted_document_is_gone_and_can_come_back
    a_document_must_hold_all_words_in_whatever_sentences
    marks_are_ranges_of_characters
    the_original_comes_back_byte_for_byte
    figures_count_documents_and_jobs
}

/// Sample, words that only it holds, in the spelling of someone in a hurry.
const FINDS: [(&str, &str); 8] = [
    ("load-line-survey.pdf", "freeboard"),
    ("load-line-survey.pdf", "windlass equinox"),
    ("lighthouse-log-scan.pdf", "barometer"),
    ("lighthouse-log-scan.pdf", "\"distress rocket\""),
    ("harbour-notice.png", "kingfisher"),
    ("harbour-notice.png", "dredg"),
    ("lettre-de-saint-malo.txt", "goeland epices"),
    ("lettre-de-saint-malo.txt", "SØRENSEN"),
];

fn every_sample_is_found_by_its_words(platform: &Platform) {
    if !has_ocr() {
        return;
    }
    let _worker = platform.worker();
    for (name, _) in FINDS {
        let id = platform.upload(name, &sample(name));
        let document = platform.settled(&id);
        assert_eq!(document["status"], "ready", "{document}");
    }
    for (name, query) in FINDS {
        assert_eq!(platform.names(query), [name], "`{query}`");
    }
}

fn the_same_bytes_are_the_same_document(platform: &Platform) {
    let (first_status, first) = platform.post("/v1/documents?name=a.txt", b"The same bytes.");
    let (second_status, second) = platform.post("/v1/documents?name=b.txt", b"The same bytes.");
    assert_eq!((first_status, second_status), (201, 200));
    assert_eq!(first, second);
    assert_eq!(platform.get("/v1/documents").1["documents"], json!([first]));
}

fn lists_come_in_pages(platform: &Platform) {
    for n in 0..7 {
        platform.upload(&format!("{n}.txt"), format!("Document {n}.").as_bytes());
    }
    let mut names = Vec::new();
    let mut after = String::new();
    for n_expected in [3, 3, 1] {
        let (_, page) = platform.get(&format!("/v1/documents?limit=3{after}"));
        let documents = page["documents"].as_array().unwrap();
        assert_eq!(documents.len(), n_expected);
        names.extend(documents.iter().map(|document| document["name"].to_string()));
        after = format!("&after={}", page["next"].as_str().unwrap_or("none"));
    }
    assert_eq!(after, "&after=none");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 7);
    assert_eq!(platform.get("/v1/documents?status=ready").1["documents"], json!([]));
}

fn a_deleted_document_is_gone_and_can_come_back(platform: &Platform) {
    let _worker = platform.worker();
    let bytes = b"An ephemeral sentence.";
    let id = platform.upload("e.txt", bytes);
    platform.settled(&id);
    assert_eq!(platform.names("ephemeral"), ["e.txt"]);

    let path = format!("/v1/documents/{id}");
    assert_eq!(platform.delete(&path), 204);
    assert_eq!(platform.delete(&path), 404);
    assert_eq!(platform.get(&path).0, 404);
    assert_eq!(platform.names("ephemeral"), Vec::<String>::new());
    let blob = platform.data_dir().join("blobs").join(&id[..2]).join(&id);
    assert!(!blob.exists());

    assert_eq!(platform.upload("again.txt", bytes), id);
    platform.settled(&id);
    assert_eq!(platform.names("ephemeral"), ["again.txt"]);
}

fn a_document_must_hold_all_words_in_whatever_sentences(platform: &Platform) {
    let _worker = platform.worker();
    let both = platform.upload("both.txt", b"A mast stands here. A rudder hangs there.");
    let one = platform.upload("one.txt", b"Only a mast. And another mast.");
    platform.settled(&both);
    platform.settled(&one);
    assert_eq!(platform.names("rudder mast"), ["both.txt"]);
    assert_eq!(platform.names("mast").len(), 2);
    assert_eq!(platform.names("\"mast stands\""), ["both.txt"]);
    assert_eq!(platform.names("\"stands mast\""), Vec::<String>::new());
    let found = platform.search("rudder mast");
    assert_eq!(found["hits"][0]["snippets"].as_array().unwrap().len(), 2);
}

fn marks_are_ranges_of_characters(platform: &Platform) {
    let _worker = platform.worker();
    let id = platform.upload("m.txt", "𝔘nd <b>Élan</b> & élans.".as_bytes());
    platform.settled(&id);
    let snippet = &platform.search("elan")["hits"][0]["snippets"][0];
    assert_eq!(snippet["text"], "𝔘nd <b>Élan</b> & élans.");
    assert_eq!(snippet["marks"], json!([[7, 11], [18, 23]]));
    let (_, text) = platform.get(&format!("/v1/documents/{id}/text?q=elan"));
    assert_eq!(text["lines"][0]["marks"], snippet["marks"]);
    assert_eq!(text["next"], json!(null));
}

fn the_original_comes_back_byte_for_byte(platform: &Platform) {
    let bytes = sample("harbour-notice.png");
    let id = platform.upload("notice \"ü\".png", &bytes);
    let url = format!("{}/v1/documents/{id}/file", platform.base);
    let mut response = agent().get(&url).call().unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "image/png");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("content-disposition"), "inline; filename*=UTF-8''notice%20%22%C3%BC%22.png");
    assert_eq!(response.body_mut().read_to_vec().unwrap(), bytes);
    let mut part = agent().get(&url).header("range", "bytes=1-3").call().unwrap();
    assert_eq!(part.status().as_u16(), 206);
    assert_eq!(part.body_mut().read_to_vec().unwrap(), b"PNG");
}

fn figures_count_documents_and_jobs(platform: &Platform) {
    platform.upload("a.txt", b"Waiting.");
    let (_, stats) = platform.get("/v1/stats");
    assert_eq!((&stats["documents"], &stats["by_status"]["queued"]), (&json!(1), &json!(1)));
    assert_eq!(stats["queue"], json!({"waiting": 1, "running": 0, "dead": 0}));
    let mut response = agent().get(format!("{}/metrics", platform.base)).call().unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    assert!(text.contains("discovery_uploads_total{result=\"created\"} 1\n"), "{text}");
    assert!(text.contains("discovery_documents{status=\"queued\"} 1\n"), "{text}");
}

#[test]
fn a_form_is_an_upload_too() {
    let platform = Platform::sqlite();
    let form = b"--x\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n\
        --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../form.txt\"\r\n\r\n\
        From a form.\r\n--x--\r\n";
    let response = agent()
        .post(format!("{}/v1/documents", platform.base))
        .header("content-type", "multipart/form-data; boundary=x")
        .send(&form[..])
        .unwrap();
    assert_eq!(response.status().as_u16(), 201);
    let (_, listing) = platform.get("/v1/documents");
    assert_eq!(listing["documents"][0]["name"], "form.txt");
}

#[test]
fn what_cannot_be_taken_is_refused_with_a_reason() {
    let platform = Platform::sqlite();
    let zip = b"PK\x03\x04\x14\0\0\0";
    for (path, body, status, code) in [
        ("/v1/documents?name=e.txt", &b""[..], 422, "file_empty"),
        ("/v1/documents?name=z.docx", &zip[..], 415, "file_unsupported"),
        ("/v1/nothing", &b"x"[..], 404, "route_unknown"),
        ("/v1/search", &b"x"[..], 405, "method_unknown"),
    ] {
        let (found, problem) = platform.post(path, body);
        assert_eq!(found, status, "{path} {problem}");
        assert_eq!(problem["type"], format!("urn:discovery:problem:{code}"));
    }
    for (path, status) in [
        ("/v1/documents?limit=many", 400),
        ("/v1/documents?status=odd", 400),
        ("/v1/documents?after=..", 400),
        ("/v1/documents/..%2F..%2Fetc%2Fpasswd", 404),
        ("/v1/documents/%00/file", 404),
        ("/v1/documents/zz/text", 404),
    ] {
        assert_eq!(platform.get(path).0, status, "{path}");
    }
    let long = format!("/v1/search?q={}", "a".repeat(1001));
    assert_eq!(platform.get(&long).0, 400);
}

#[test]
fn more_than_a_hundred_megabytes_are_refused_and_nothing_is_left() {
    let platform = Platform::sqlite();
    let address = platform.base.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    let head = "POST /v1/documents?name=big.txt HTTP/1.1\r\nhost: x\r\n\
        transfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    let megabyte = [b"100000\r\n", &vec![b'a'; 1 << 20][..], b"\r\n"].concat();
    // The server may answer, and hang up, before the last byte.
    let _ = (0..=100).try_for_each(|_| socket.write_all(&megabyte));
    let _ = socket.write_all(b"0\r\n\r\n");
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    let blobs = std::fs::read_dir(platform.data_dir().join("blobs")).unwrap();
    assert_eq!(blobs.count(), 0);
}

#[test]
fn a_request_in_flight_is_finished_after_sigterm() {
    let mut platform = Platform::sqlite();
    let address = platform.base.strip_prefix("http://").unwrap().to_owned();
    let mut socket = TcpStream::connect(&address).unwrap();
    let head = "POST /v1/documents?name=slow.txt HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
        expect: 100-continue\r\ncontent-length: 11\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    socket.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"half a ").unwrap();

    signal(&platform.backend().child, "TERM");
    until("the port is closed", || TcpStream::connect(&address).is_err());
    socket.write_all(b"word").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(platform.backend().child.wait().unwrap().success());
}

#[test]
fn an_unmigrated_database_is_named_with_its_remedy() {
    let platform = Platform::sqlite();
    let empty = tempfile::tempdir().unwrap();
    let mut command = platform.program("backend");
    let output = command.env("DATA_DIR", empty.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("at version 0") && message.contains("help: backend migrate"));
}

#[test]
fn migrating_and_seeding_can_be_repeated() {
    let platform = Platform::sqlite();
    for word in ["added", "known"] {
        assert!(platform.program("backend").arg("migrate").status().unwrap().success());
        let mut seed = platform.program("backend");
        let output = seed.arg("seed").arg(crate::platform::samples()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        assert_eq!(lines.lines().filter(|line| line.starts_with(word)).count(), 4, "{lines}");
    }
}

#[test]
fn a_database_that_goes_away_is_waited_for() {
    let Some(cluster) = crate::postgres::Cluster::start() else { return };
    let cluster = std::sync::Arc::new(cluster);
    let platform = Platform::postgres(std::sync::Arc::clone(&cluster));
    let _worker = platform.worker();
    cluster.stop();
    let (status, problem) = platform.get("/v1/documents");
    assert_eq!(status, 503, "{problem}");
    assert_eq!(problem["type"], "urn:discovery:problem:database_unavailable");
    let mut response = agent().get(format!("{}/metrics", platform.base)).call().unwrap();
    assert!(response.body_mut().read_to_string().unwrap().contains("discovery_uploads_total"));
    cluster.start_again();
    until("the backend answers again", || platform.get("/v1/documents").0 == 200);
    let id = platform.upload("after.txt", b"After the storm.");
    assert_eq!(platform.settled(&id)["status"], "ready");
}
