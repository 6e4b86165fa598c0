//! What is kept in memory, and that nothing of it is believed.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use http::Request;
use http_body_util::BodyExt as _;

use super::*;
use crate::limits::{SHELF_BYTES_MAX, SHELF_FILE_BYTES_MAX, SHELF_PAGES_MAX};

/// A site whose files are kept at once, and what is around it.
struct Rig {
    around: tempfile::TempDir,
    site: Arc<Site>,
}

fn rig() -> Rig {
    rig_with(0)
}

fn rig_with(settle_seconds: u64) -> Rig {
    let around = tempfile::tempdir().unwrap();
    std::fs::create_dir(around.path().join("dist")).unwrap();
    let settings = SiteSettings::default();
    let site = Site::with_patience(&around.path().join("dist"), &settings, settle_seconds).unwrap();
    Rig { around, site }
}

impl Rig {
    fn path(&self, name: &str) -> PathBuf {
        self.around.path().join("dist").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask(path, "").await
    }

    async fn ask(&self, path: &str, accepts: &str) -> (u16, String) {
        let response = self.site.answer(&request(path, accepts)).await;
        let status = response.status().as_u16();
        let length = response.headers().get(CONTENT_LENGTH).cloned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        if status == 200 {
            assert_eq!(length, Some(body.len().into()), "{path}");
        }
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Whether a page is in memory, and still what is there.
    fn is_kept(&self, path: &str, accepts: &str) -> bool {
        let name = names::below(path).unwrap();
        let accepted = Encodings::of(&request(path, accepts).headers);
        self.site.files.shelf.get(&name, &accepted).is_some()
    }
}

fn request(path: &str, accepts: &str) -> Parts {
    let request = Request::get(path).header("accept-encoding", accepts);
    request.body(()).unwrap().into_parts().0
}

#[tokio::test]
async fn what_was_read_is_sent_again_without_asking_the_disk_for_it() {
    let rig = rig();
    rig.write("a.js", "plain");
    rig.write("a.js.br", "brotli");
    assert!(!rig.is_kept("/a.js", ""));
    assert_eq!(rig.get("/a.js").await, (200, "plain".to_owned()));
    assert!(rig.is_kept("/a.js", ""));
    assert!(!rig.is_kept("/a.js", "br"), "another file");
    assert_eq!(rig.ask("/a.js", "br").await, (200, "brotli".to_owned()));
    assert!(rig.is_kept("/a.js", "br"));
    assert_eq!(rig.get("/a.js").await, (200, "plain".to_owned()));
}

#[tokio::test]
async fn a_file_that_was_rebuilt_is_seen_at_once() {
    let rig = rig();
    rig.write("index.html", "before");
    assert_eq!(rig.get("/").await.1, "before");
    rig.write("index.html", "after it");
    assert_eq!(rig.get("/").await.1, "after it");
    // Another inode, of the same length and time.
    rig.write("fresh", "replaced");
    let modified = std::fs::metadata(rig.path("index.html")).unwrap().modified().unwrap();
    let fresh = std::fs::File::options().append(true).open(rig.path("fresh")).unwrap();
    fresh.set_modified(modified).unwrap();
    std::fs::rename(rig.path("fresh"), rig.path("index.html")).unwrap();
    assert_eq!(rig.get("/").await.1, "replaced");
    rig.write("index.html.gz", "packed");
    assert_eq!(rig.ask("/", "gzip").await.1, "packed", "a file beside it that is new");
    std::fs::remove_file(rig.path("index.html.gz")).unwrap();
    assert_eq!(rig.ask("/", "gzip").await.1, "replaced", "and one that is gone");
    std::fs::remove_file(rig.path("index.html")).unwrap();
    assert_eq!(rig.get("/").await.0, 404);
}

#[tokio::test]
async fn a_file_that_changed_a_moment_ago_is_not_kept() {
    let rig = rig_with(SETTLE_SECONDS);
    rig.write("index.html", "young");
    assert_eq!(rig.get("/").await.1, "young");
    assert!(!rig.is_kept("/", ""), "the next change might bear the same time");
}

#[tokio::test]
async fn a_file_that_became_a_link_out_is_refused_though_it_was_kept() {
    let rig = rig();
    rig.write("a.txt", "page");
    rig.write("deep/b.txt", "page");
    rig.write("c.txt", "page");
    for path in ["/a.txt", "/deep/b.txt", "/c.txt"] {
        assert_eq!(rig.get(path).await.0, 200, "{path}");
        assert!(rig.is_kept(path, ""), "{path}");
    }
    let outside = |name: &str| rig.around.path().join(name);
    // The very files, elsewhere: same inode, same times.
    std::fs::rename(rig.path("a.txt"), outside("a.txt")).unwrap();
    symlink("../a.txt", rig.path("a.txt")).unwrap();
    std::fs::rename(rig.path("deep"), outside("deep")).unwrap();
    symlink(outside("deep"), rig.path("deep")).unwrap();
    std::fs::hard_link(rig.path("c.txt"), outside("c.txt")).unwrap();
    std::fs::remove_file(rig.path("c.txt")).unwrap();
    symlink(outside("c.txt"), rig.path("c.txt")).unwrap();
    for path in ["/a.txt", "/deep/b.txt", "/c.txt"] {
        assert_eq!(rig.get(path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_release_that_was_switched_is_seen_at_once_and_the_old_one_forgotten() {
    let around = tempfile::tempdir().unwrap();
    for letter in ["a", "b"] {
        std::fs::create_dir(around.path().join(letter)).unwrap();
        std::fs::write(around.path().join(letter).join("index.html"), letter).unwrap();
    }
    let switch = |letter: &str| {
        symlink(letter, around.path().join("fresh")).unwrap();
        std::fs::rename(around.path().join("fresh"), around.path().join("current")).unwrap();
    };
    switch("a");
    let current = around.path().join("current");
    let site = Site::with_patience(&current, &SiteSettings::default(), 0).unwrap();
    let rig = Rig { around: tempfile::tempdir().unwrap(), site };
    for letter in ["a", "a", "b", "b", "a"] {
        switch(letter);
        assert_eq!(rig.get("/").await, (200, letter.to_owned()));
        assert!(rig.is_kept("/", ""));
        assert_eq!(rig.site.files.shelf.size(), (1, 1), "one page of one byte");
    }
}

#[tokio::test]
async fn what_is_kept_is_bounded_in_bytes_and_in_pages() {
    let rig = rig();
    let shelf = &rig.site.files.shelf;
    rig.write("large", &"x".repeat(SHELF_FILE_BYTES_MAX + 1));
    assert_eq!(rig.get("/large").await.1.len(), SHELF_FILE_BYTES_MAX + 1);
    assert_eq!(shelf.size(), (0, 0));
    rig.write("first", &"x".repeat(SHELF_FILE_BYTES_MAX));
    let n_fitting = SHELF_BYTES_MAX / SHELF_FILE_BYTES_MAX;
    for index in 0..=n_fitting {
        if index > 0 {
            std::fs::hard_link(rig.path("first"), rig.path(&format!("l{index}"))).unwrap();
        }
        rig.get(&if index == 0 { "/first".to_owned() } else { format!("/l{index}") }).await;
        // Asked for again and again, it is not the one that goes.
        rig.get("/first").await;
        assert!(shelf.size().1 <= SHELF_BYTES_MAX);
    }
    assert_eq!(shelf.size(), (n_fitting, SHELF_BYTES_MAX));
    assert!(rig.is_kept("/first", ""), "asked for last");
    assert!(!rig.is_kept("/l1", ""), "asked for first");
    for index in 0..=SHELF_PAGES_MAX {
        rig.write(&format!("s{index}"), "x");
        rig.get(&format!("/s{index}")).await;
    }
    assert_eq!(shelf.size(), (SHELF_PAGES_MAX, SHELF_PAGES_MAX));
}

#[tokio::test]
async fn links_that_stay_inside_are_followed_absolute_ones_too() {
    let rig = rig();
    rig.write("real/page.txt", "page");
    symlink("real", rig.path("short")).unwrap();
    symlink(rig.path("real/page.txt"), rig.path("absolute.txt")).unwrap();
    symlink("loop", rig.path("loop")).unwrap();
    for _ in 0..2 {
        assert_eq!(rig.get("/short/page.txt").await, (200, "page".to_owned()));
        assert_eq!(rig.get("/absolute.txt").await, (200, "page".to_owned()));
        assert_eq!(rig.get("/loop").await.0, 404);
    }
}

#[tokio::test]
async fn a_directory_without_its_slash_is_named_with_one_and_never_as_a_host() {
    let rig = rig();
    rig.write("deep/er/index.html", "page");
    for (path, location) in
        [("/deep/er", "/deep/er/"), ("//deep/er?q=1", "/deep/er/?q=1"), ("/deep//er", "/deep//er/")]
    {
        let response = rig.site.answer(&request(path, "")).await;
        assert_eq!(response.status(), 307, "{path}");
        assert_eq!(response.headers()[LOCATION], location);
    }
    assert_eq!(rig.get("/deep/er/").await, (200, "page".to_owned()));
    assert_eq!(rig.get("/deep/").await.0, 404, "no page of its own, and no list");
}
