//! A certificate for a TLS server of a test, and the authority that vouches for it.
//!
//! Made by the `openssl` program, as operators do. It deliberately lives for two days only.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// Files in PEM; they go when dropped.
#[derive(Debug)]
pub struct Certificate {
    directory: TempDir,
}

impl Certificate {
    /// For 127.0.0.1, `localhost` and these names.
    ///
    /// # Panics
    /// When `openssl` is missing.
    #[must_use]
    pub fn of(names: &[&str]) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let it = Self { directory };
        let names = ["localhost"].iter().chain(names).map(|name| format!("DNS:{name}"));
        let names = names.collect::<Vec<_>>().join(",");
        let extension = format!("subjectAltName=IP:127.0.0.1,{names}");
        std::fs::write(it.path("names"), extension).expect("the directory is ours");
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        it.openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca"
        ));
        it.openssl(&format!("req {key} -keyout key.pem -out request.pem -subj /CN=localhost"));
        it.openssl(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile names -out cert.pem",
        );
        it
    }

    /// The authority's certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The server's certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.path("cert.pem")
    }

    /// The server's key, in PKCS #8.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.path("key.pem")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn openssl(&self, args: &str) {
        let directory: &Path = self.directory.path();
        let output = Command::new("openssl")
            .args(args.split_whitespace())
            .current_dir(directory)
            .output()
            .expect("`openssl` starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {args}: {said}");
    }
}
