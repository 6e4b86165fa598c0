//! A built site: what is served, how it is cached, and what is never read.

use std::path::Path;

use proxy::{Router, Settings, Site, SiteSettings, Target};

use crate::harness::{Front, field, status};

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A site with a secret beside it.
async fn site(is_spa: bool) -> (tempfile::TempDir, Front) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("dist");
    write(&root, "index.html", "<h1>home</h1>");
    write(&root, "about/index.html", "<h1>about</h1>");
    write(&root, "assets/index-BdKx3f9Q.js", "console.log('plain, and long enough')");
    write(&root, "assets/index-BdKx3f9Q.js.br", "brotli");
    write(&root, "assets/index-BdKx3f9Q.js.gz", "gzip");
    write(&root, "plain.txt", "0123456789");
    write(&root, ".env", "SECRET=1");
    write(&root, ".git/config", "SECRET=2");
    write(&root, ".well-known/security.txt", "Contact: mailto:a@b");
    write(directory.path(), "secret.txt", "SECRET=3");
    std::os::unix::fs::symlink("../secret.txt", root.join("link.txt")).unwrap();
    std::os::unix::fs::symlink("/etc", root.join("etc")).unwrap();
    std::os::unix::fs::symlink("../secret.txt", root.join("plain.txt.br")).unwrap();
    std::os::unix::fs::symlink("plain.txt", root.join("inner.txt")).unwrap();
    let site = Site::new(&root, &SiteSettings { is_spa, ..Default::default() }).unwrap();
    let front = Front::with(Settings::default(), Router::single("site", Target::Site(site))).await;
    (directory, front)
}

async fn get(front: &Front, path: &str, lines: &str) -> String {
    front.raw(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}Connection: close\r\n\r\n")).await
}

#[tokio::test]
async fn pages_are_revalidated_and_hashed_names_kept_for_ever() {
    let (_directory, mut front) = site(false).await;
    let answer = get(&front, "/", "").await;
    assert!(answer.ends_with("<h1>home</h1>"), "{answer}");
    assert_eq!(field(&answer, "content-type"), Some("text/html"));
    assert_eq!(field(&answer, "cache-control"), Some("no-cache"));
    let tag = field(&answer, "etag").expect("an entity tag").to_owned();
    assert!(tag.starts_with('"'), "a strong one: {tag}");
    let answer = get(&front, "/", &format!("If-None-Match: {tag}\r\n")).await;
    assert_eq!(status(&answer), "HTTP/1.1 304 Not Modified");
    let answer = get(&front, "/assets/index-BdKx3f9Q.js", "").await;
    assert_eq!(field(&answer, "cache-control"), Some("public, max-age=31536000, immutable"));
    assert!(get(&front, "/about/", "").await.ends_with("<h1>about</h1>"));
    let finished = front.finished().await;
    assert_eq!((finished.route.as_deref(), finished.bytes_out), (Some("site"), 13));
}

#[tokio::test]
async fn precompressed_files_are_picked_by_what_the_client_accepts() {
    let (_directory, front) = site(false).await;
    let path = "/assets/index-BdKx3f9Q.js";
    let answer = get(&front, path, "Accept-Encoding: gzip, br\r\n").await;
    assert!(answer.ends_with("\r\n\r\nbrotli"), "{answer}");
    assert_eq!(field(&answer, "content-encoding"), Some("br"));
    assert!(
        field(&answer, "vary").is_some_and(|vary| vary.contains("accept-encoding")),
        "{answer}"
    );
    assert!(get(&front, path, "Accept-Encoding: gzip\r\n").await.ends_with("\r\n\r\ngzip"));
    assert!(get(&front, path, "").await.ends_with("long enough')"));
}

#[tokio::test]
async fn ranges_and_head_work() {
    let (_directory, front) = site(false).await;
    let answer = get(&front, "/plain.txt", "Range: bytes=2-4\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.1 206 Partial Content");
    assert_eq!(field(&answer, "content-range"), Some("bytes 2-4/10"));
    assert!(answer.ends_with("\r\n\r\n234"), "{answer}");
    let answer = get(&front, "/plain.txt", "Range: bytes=20-\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.1 416 Range Not Satisfiable");
    let answer =
        front.raw("HEAD /plain.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(field(&answer, "content-length"), Some("10"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"));
    let answer = front.raw("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.1 405 Method Not Allowed");
}

#[tokio::test]
async fn a_file_that_is_too_large_to_keep_is_sent_whole_and_in_parts() {
    let (directory, front) = site(false).await;
    let text: String = (0..60_000).map(|line| format!("{line:>7}\n")).collect();
    write(&directory.path().join("dist"), "large.txt", &text);
    let answer = get(&front, "/large.txt", "").await;
    assert_eq!(field(&answer, "content-length"), Some("480000"));
    assert!(answer.split_once("\r\n\r\n").unwrap().1 == text, "not the file");
    let answer = get(&front, "/large.txt", "Range: bytes=8000-399999\r\n").await;
    assert_eq!(field(&answer, "content-range"), Some("bytes 8000-399999/480000"));
    assert!(answer.split_once("\r\n\r\n").unwrap().1 == &text[8000..400_000], "not the part");
}

#[tokio::test]
async fn a_part_of_a_file_that_has_changed_is_not_sent() {
    let (_directory, front) = site(false).await;
    let answer = get(&front, "/plain.txt", "").await;
    let tag = field(&answer, "etag").unwrap();
    let same = get(&front, "/plain.txt", &format!("Range: bytes=2-4\r\nIf-Range: {tag}\r\n")).await;
    assert!(same.ends_with("\r\n\r\n234"), "{same}");
    let other = get(&front, "/plain.txt", "Range: bytes=2-4\r\nIf-Range: \"old\"\r\n").await;
    assert_eq!(status(&other), "HTTP/1.1 200 OK");
    assert!(other.ends_with("\r\n\r\n0123456789"), "{other}");
}

#[tokio::test]
async fn nothing_outside_and_nothing_hidden_is_ever_read() {
    for is_spa in [false, true] {
        let (_directory, front) = site(is_spa).await;
        for path in [
            "/.env",
            "/%2eenv",
            "/.git/config",
            "/%2egit/config",
            "/../secret.txt",
            "/..%2fsecret.txt",
            "/%2e%2e/secret.txt",
            "/assets/../../secret.txt",
            "//etc/passwd",
            "/etc/passwd",
            "/link.txt",
            "/plain.txt%00.html",
            "/..\\secret.txt",
        ] {
            let answer = get(&front, path, "").await;
            assert!(!answer.contains("SECRET") && !answer.contains("root:"), "{path}: {answer}");
            assert!(
                status(&answer).contains("404") || (is_spa && answer.ends_with("<h1>home</h1>")),
                "{path}: {answer}"
            );
        }
        let answer = get(&front, "/plain.txt", "Accept-Encoding: br\r\n").await;
        assert!(!answer.contains("SECRET"), "a precompressed link leads out: {answer}");
        assert!(
            get(&front, "/inner.txt", "").await.ends_with("0123456789"),
            "a link inside is fine"
        );
        assert!(get(&front, "/.well-known/security.txt", "").await.ends_with("mailto:a@b"));
    }
}

#[tokio::test]
async fn a_single_page_application_answers_its_paths_but_not_missing_files() {
    let (_directory, front) = site(true).await;
    let answer = get(&front, "/documents/42", "").await;
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
    assert!(answer.ends_with("<h1>home</h1>"));
    assert_eq!(field(&answer, "cache-control"), Some("no-cache"));
    let answer = get(&front, "/assets/gone-BdKx3f9Q.js", "Accept: */*\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.1 404 Not Found");
    assert_eq!(field(&answer, "cache-control"), Some("no-store"));
    let (_directory, front) = site(false).await;
    assert_eq!(status(&get(&front, "/documents/42", "").await), "HTTP/1.1 404 Not Found");
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let (_directory, front) = site(false).await;
    for path in ["/", "/plain.txt", "/missing"] {
        let answer = get(&front, path, "").await;
        assert_eq!(field(&answer, "x-content-type-options"), Some("nosniff"), "{path}");
        assert!(field(&answer, "content-security-policy").unwrap().contains("frame-ancestors"));
        assert!(field(&answer, "referrer-policy").is_some(), "{path}");
    }
}

#[test]
fn a_directory_that_is_not_there_is_an_error_that_names_it() {
    let error = Site::new(Path::new("does/not/exist"), &SiteSettings::default()).unwrap_err();
    assert!(error.to_string().starts_with("cannot serve `does/not/exist`"), "{error}");
}

/// A directory whose pages say one letter, over and over.
fn release(directory: &Path, letter: &str) {
    for name in ["index.html", "app.js", "deep/page.html"] {
        write(&directory.join(letter), name, &letter.repeat(200_000));
    }
}

#[tokio::test]
async fn a_release_that_is_switched_under_load_is_never_missing_and_never_mixed() {
    let directory = tempfile::tempdir().unwrap();
    for letter in ["a", "b"] {
        release(directory.path(), letter);
    }
    let root = directory.path().to_path_buf();
    let switch = move |letter: &str| {
        std::os::unix::fs::symlink(letter, root.join("fresh")).unwrap();
        std::fs::rename(root.join("fresh"), root.join("current")).unwrap();
    };
    switch("a");
    let site = Site::new(&directory.path().join("current"), &SiteSettings::default()).unwrap();
    let router = Router::single("site", Target::Site(site));
    let front = std::sync::Arc::new(Front::with(Settings::default(), router).await);
    let clients: Vec<_> = ["/", "/app.js", "/deep/page.html", "/"]
        .into_iter()
        .map(|path| {
            let front = std::sync::Arc::clone(&front);
            tokio::spawn(async move {
                let mut seen = std::collections::BTreeSet::new();
                for _ in 0..150 {
                    let answer = get(&front, path, "").await;
                    assert_eq!(status(&answer), "HTTP/1.1 200 OK", "{path}");
                    let body = answer.split("\r\n\r\n").nth(1).unwrap();
                    assert_eq!(body.len(), 200_000);
                    let letter = body.as_bytes()[0];
                    assert!(body.bytes().all(|it| it == letter), "{path} is of two releases");
                    seen.insert(letter);
                }
                seen
            })
        })
        .collect();
    // On a thread of its own: a switch comes between any two steps of an answer.
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let switching = std::thread::spawn(move || {
        let mut n_switches = 0;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            switch(["b", "a"][n_switches % 2]);
            n_switches += 1;
        }
        n_switches
    });
    let mut seen = std::collections::BTreeSet::new();
    for client in clients {
        seen.extend(client.await.unwrap());
    }
    drop(stop);
    let n_switches = switching.join().unwrap();
    assert_eq!(seen.len(), 2, "both releases were served, after {n_switches} switches");
}
