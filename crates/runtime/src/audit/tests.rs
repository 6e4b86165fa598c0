//! The log as a whole: written, torn, rotated, forged.

use std::io::Write;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;

fn entry(target: &str) -> Entry {
    Entry {
        action: "test",
        actor: "me \"quoted\"\n".to_owned(),
        target: target.to_owned(),
        outcome: Outcome::Allowed,
        details: Map::from_iter([("n".to_owned(), 1.into())]),
    }
}

/// A log with so many records, written and closed.
fn log(path: &Path, n_records: usize) {
    let audit = Audit::open(path, "api", "api-1", |_| ()).expect("a log");
    for number in 0..n_records {
        audit.record(entry(&number.to_string()));
    }
}

#[test]
fn what_was_recorded_is_there_and_holds_also_after_another_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit.log");
    log(&path, 3);
    log(&path, 2);
    let verified = verify(&path).expect("a chain");
    assert_eq!((verified.n_records, verified.first_prev.as_str()), (5, chain::GENESIS));
    let text = std::fs::read_to_string(&path).expect("text");
    let targets: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["target"].clone())
        .collect();
    assert_eq!(targets, ["0", "1", "2", "0", "1"]);
    let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["hash"].as_str(), verified.last.as_deref());
    assert_eq!(last["actor"], "me \"quoted\"\n");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_line_that_was_changed_removed_moved_or_doubled_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit.log");
    log(&path, 5);
    let text = std::fs::read_to_string(&path).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    let forged = |lines: Vec<String>| {
        let path = directory.path().join("forged.log");
        std::fs::write(&path, lines.join("\n") + "\n").expect("written");
        verify(&path).expect_err("it was forged").to_string()
    };
    let of = |order: &[usize]| order.iter().map(|at| lines[*at].to_owned()).collect::<Vec<_>>();
    let mut changed = of(&[0, 1, 2, 3, 4]);
    changed[2] = changed[2].replace("allowed", "denied");
    assert!(forged(changed).starts_with("line 3 was changed"));
    for (order, line) in [(&[0, 1, 3, 4][..], 3), (&[0, 2, 1, 3, 4], 2), (&[0, 1, 1, 2], 3)] {
        assert!(
            forged(of(order)).starts_with(&format!("line {line} does not follow")),
            "{order:?}"
        );
    }
    let mut inserted = of(&[0, 1]);
    inserted.insert(1, "{\"action\":\"x\"}".to_owned());
    assert!(forged(inserted).starts_with("line 2"));
}

#[test]
fn a_torn_last_line_is_cut_off_and_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit.log");
    log(&path, 3);
    let whole = std::fs::read(&path).expect("bytes");
    for n_torn in [1, 40, 200] {
        std::fs::write(&path, &whole[..whole.len() - n_torn]).expect("written");
        assert!(verify(&path).is_err(), "torn by {n_torn}");
        log(&path, 1);
        assert_eq!(verify(&path).expect("a chain").n_records, 4, "2 whole, 1 on the cut, 1 new");
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(text.contains("\"action\":\"audit.recovered\""), "{text}");
    }
}

#[test]
fn a_log_whose_end_was_changed_is_not_continued() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit.log");
    log(&path, 2);
    let text = std::fs::read_to_string(&path).expect("text");
    std::fs::write(&path, text.replace("\"target\":\"1\"", "\"target\":\"2\"")).expect("written");
    let error = Audit::open(&path, "api", "api-1", |_| ()).expect_err("forged").to_string();
    assert!(error.contains("plimsoll audit verify"), "{error}");
}

#[test]
fn a_file_that_was_put_aside_links_to_the_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit.log");
    let lost = Arc::new(AtomicU64::new(0));
    let writer = writer::Writer::open(&path, "api", "api-1", lost).expect("a log");
    let mut writer = writer.rotating_at(600);
    for number in 0..12 {
        writer.write(&writer::Record::now(entry(&number.to_string()), None)).expect("room");
    }
    drop(writer);
    let mut files: Vec<_> = std::fs::read_dir(directory.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|file| *file != path)
        .collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    files.push(path.clone());
    let mut last = chain::GENESIS.to_owned();
    let mut n_records = 0;
    for file in &files {
        let verified = verify(file).expect("a chain");
        assert_eq!(verified.first_prev, last, "{file:?}");
        last = verified.last.expect("records");
        n_records += verified.n_records;
    }
    assert_eq!(n_records, 12);
    // A start that finds the new file still empty goes on from the one put aside.
    let next = files.len();
    std::fs::rename(&path, format!("{}.{next:06}", path.display())).expect("renamed");
    log(&path, 1);
    assert_eq!(verify(&path).expect("a chain").first_prev, last);
}

#[test]
fn records_without_room_are_counted_in_the_next_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit.log");
    let lost = Arc::new(AtomicU64::new(7));
    let mut writer = writer::Writer::open(&path, "api", "api-1", lost).expect("a log");
    writer.write(&writer::Record::now(entry("next"), None)).expect("room");
    let text = std::fs::read_to_string(&path).expect("text");
    assert!(
        text.contains("\"action\":\"audit.lost\"") && text.contains("{\"records\":7}"),
        "{text}"
    );
    assert_eq!(verify(&path).expect("a chain").n_records, 2);
}

/// A log that remembers what was told of it.
fn heard(path: &Path) -> (Audit, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = Arc::clone(&heard);
    let tell = move |told: Told<'_>| ears.lock().expect("no panic").push(format!("{told:?}"));
    (Audit::open(path, "api", "api-1", tell).expect("a log"), heard)
}

#[tokio::test]
async fn what_was_committed_is_in_the_file_when_the_answer_comes() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit.log");
    let (audit, heard) = heard(&path);
    for n_records in 1..4 {
        audit.commit(entry("now")).await.expect("kept");
        assert_eq!(verify(&path).expect("a chain").n_records, n_records);
    }
    assert_eq!(heard.lock().expect("no panic").len(), 3);
}

#[tokio::test]
async fn a_write_that_fails_is_answered_and_told() {
    let (audit, heard) = heard(Path::new("/dev/full"));
    let why = audit.commit(entry("x")).await.expect_err("it is full");
    assert!(matches!(&why, Unkept::Write(_)) && why.to_string().contains("No space"), "{why}");
    assert!(heard.lock().expect("no panic")[0].starts_with("Lost(1, Write"));
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_refuses_what_needs_a_record() {
    let why = Audit::open(Path::new("/nonexistent/log"), "api", "api-1", |_| ());
    let heard = Arc::new(Mutex::new(0));
    let told = Arc::clone(&heard);
    let count = move |_: Told<'_>| *told.lock().expect("no panic") += 1;
    let audit = Audit::closed(&why.expect_err("no directory"), count);
    let why = audit.commit(entry("x")).await.expect_err("there is no log");
    assert!(matches!(&why, Unkept::Write(it) if it.contains("/nonexistent/log")), "{why}");
    audit.record(entry("y"));
    assert_eq!(*heard.lock().expect("no panic"), 2);
}

#[tokio::test]
async fn a_sync_that_fails_is_answered_and_told() {
    // It takes every byte and can keep none.
    let (audit, heard) = heard(Path::new("/dev/null"));
    let why = audit.commit(entry("x")).await.expect_err("nothing is kept");
    assert!(matches!(why, Unkept::Sync(_)), "{why}");
    assert!(heard.lock().expect("no panic")[0].starts_with("Lost(1, Sync"));
}

#[test]
fn what_was_not_synced_is_taken_back_and_counted_in_the_next_record() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit.log");
    let lost = Arc::new(AtomicU64::new(0));
    let mut writer = writer::Writer::open(&path, "api", "api-1", lost).expect("a log");
    let take = |writer: &mut writer::Writer, target: &str| {
        writer.take(writer::Record::now(entry(target), None));
    };
    take(&mut writer, "first");
    writer.sync().expect("synced");
    take(&mut writer, "second");
    take(&mut writer, "third");
    let kept = writer.with_file_that_cannot_sync(|writer| writer.sync().expect_err("no sync"));
    assert_eq!(kept.raw_os_error(), Some(nix::libc::EINVAL));
    take(&mut writer, "fourth");
    writer.sync().expect("synced");
    assert_eq!(verify(&path).expect("a chain").n_records, 3, "first, the count, fourth");
    let text = std::fs::read_to_string(&path).expect("text");
    assert!(text.contains("{\"records\":2}") && !text.contains("second"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_single_byte_can_be_changed(at in 0_usize..2000, to in any::<u8>()) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        log(&path, 4);
        let mut bytes = std::fs::read(&path).expect("bytes");
        let at = at % bytes.len();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        std::fs::File::create(&path).expect("a file").write_all(&bytes).expect("written");
        prop_assert!(verify(&path).is_err());
    }
}
