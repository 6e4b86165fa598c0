//! The last good values in an encrypted file, for a start while providers do not answer.
//!
//! ChaCha20-Poly1305 under a key that HKDF makes of a file's bytes, with a fresh nonce for each
//! write. It deliberately keeps nothing that has a lease: what a provider made for us is gone with
//! it. Invariant: nothing is taken that was changed, or is older than its time to live.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ring::{
    aead, hkdf,
    rand::{SecureRandom, SystemRandom},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    provider::Place,
    settings::CacheSettings,
    store::{Entry, Key},
    value::Document,
};

/// Also says which form the file has.
const MAGIC: &[u8; 8] = b"PLIMSEC1";
/// Fewer bytes are no key.
const KEY_BYTES_MIN: u64 = 32;
const KEY_BYTES_MAX: u64 = 4096;
const NONCE_BYTES: usize = 12;
/// The longest file.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The file and what opens it.
#[derive(Debug)]
pub(super) struct Cache {
    settings: CacheSettings,
}

/// One value, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    provider: String,
    path: String,
    field: Option<String>,
    version: Option<u64>,
    text: Option<String>,
    fields: Option<BTreeMap<String, String>>,
    /// Seconds since 1970 when it was last known to hold.
    at: u64,
}

impl Cache {
    pub(super) fn new(settings: CacheSettings) -> Self {
        Self { settings }
    }

    /// Replaces what is kept.
    pub(super) fn write(&self, entries: &BTreeMap<Key, Entry>) -> io::Result<()> {
        let fresh = entries.iter().filter(|(_, entry)| entry.lease.is_none());
        let kept: Vec<_> = fresh.map(|(key, entry)| keep(key, entry)).collect();
        let mut sealed = Zeroizing::new(serde_json::to_vec(&kept)?);
        drop(kept);
        let mut nonce = [0; NONCE_BYTES];
        let failed = |_| io::Error::other("the machine gives no randomness");
        SystemRandom::new().fill(&mut nonce).map_err(failed)?;
        let seal = aead::Nonce::assume_unique_for_key(nonce);
        let key = self.key()?;
        key.seal_in_place_append_tag(seal, aead::Aad::from(MAGIC), &mut *sealed)
            .map_err(|_| io::Error::other("the values are too long"))?;
        let path = &self.settings.path;
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}", std::process::id()));
        let mut options = File::options();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(MAGIC)?;
        file.write_all(&nonce)?;
        file.write_all(&sealed)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    }

    /// What is kept and not too old.
    pub(super) fn read(&self) -> io::Result<BTreeMap<Key, Entry>> {
        let mut bytes = Vec::new();
        File::open(&self.settings.path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        let wrong = || io::Error::other("it is not ours, or it was changed");
        let rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or_else(wrong)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(wrong)?;
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let mut plain = Zeroizing::new(sealed.to_vec());
        let opened = self.key()?.open_in_place(nonce, aead::Aad::from(MAGIC), &mut plain);
        let kept: Vec<Kept> = serde_json::from_slice(opened.map_err(|_| wrong())?)?;
        let fresh = |kept| unkeep(kept, self.settings.ttl);
        Ok(kept.into_iter().filter_map(fresh).collect())
    }

    fn key(&self) -> io::Result<aead::LessSafeKey> {
        struct Length;
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                aead::CHACHA20_POLY1305.key_len()
            }
        }
        let mut bytes = Zeroizing::new(Vec::new());
        File::open(&self.settings.key_file)?.take(KEY_BYTES_MAX).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).unwrap_or(0) < KEY_BYTES_MIN {
            return Err(io::Error::other(format!("a key has at least {KEY_BYTES_MIN} bytes")));
        }
        let mut key = Zeroizing::new([0; 32]);
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, MAGIC).extract(&bytes);
        let failed = |_| io::Error::other("the key cannot be derived");
        derived
            .expand(&[b"cache"], Length)
            .and_then(|okm| okm.fill(&mut key[..]))
            .map_err(failed)?;
        let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, &key[..]).map_err(failed)?;
        Ok(aead::LessSafeKey::new(key))
    }
}

fn keep(key: &Key, entry: &Entry) -> Kept {
    let plain = |text: &SecretString| text.expose_secret().to_owned();
    let (text, fields) = match &entry.document {
        Document::Text(text) => (Some(plain(text)), None),
        Document::Fields(fields) => {
            (None, Some(fields.iter().map(|(name, text)| (name.clone(), plain(text))).collect()))
        }
    };
    let at = SystemTime::now().checked_sub(entry.at.elapsed()).unwrap_or(UNIX_EPOCH);
    Kept {
        provider: key.provider.clone(),
        path: key.place.path.clone(),
        field: key.place.field.clone(),
        version: key.place.version,
        text,
        fields,
        at: at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
    }
}

fn unkeep(kept: Kept, ttl: Duration) -> Option<(Key, Entry)> {
    let at = UNIX_EPOCH + Duration::from_secs(kept.at);
    let age = at.elapsed().unwrap_or_default();
    if age > ttl {
        return None;
    }
    let document = match (kept.text, kept.fields) {
        (Some(text), None) => Document::Text(text.into()),
        (None, Some(fields)) => {
            Document::Fields(fields.into_iter().map(|(name, text)| (name, text.into())).collect())
        }
        _ => return None,
    };
    let place = Place { path: kept.path, field: kept.field, version: kept.version };
    let key = Key { provider: kept.provider, place };
    // A machine that was started since knows no earlier time.
    let at = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
    Some((key, Entry { document, lease: None, at, fault: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(dir: &std::path::Path, ttl: Duration) -> Cache {
        let key_file = dir.join("key");
        fs::write(&key_file, [7; 32]).expect("it is written");
        Cache::new(CacheSettings { path: dir.join("cache"), key_file, ttl })
    }

    fn entries() -> BTreeMap<Key, Entry> {
        let place = Place { path: "p".into(), field: None, version: Some(2) };
        let document = Document::Text(SecretString::from("hunter2-hunter2"));
        let entry = Entry { document, lease: None, at: Instant::now(), fault: None };
        [(Key { provider: "v".into(), place }, entry)].into()
    }

    #[test]
    fn what_is_kept_is_not_readable_and_comes_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = cache(dir.path(), Duration::from_secs(60));
        cache.write(&entries()).expect("it is written");
        let bytes = fs::read(dir.path().join("cache")).expect("it is there");
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(cache.read().expect("it is ours").keys().next(), entries().keys().next());
    }

    #[test]
    fn what_was_changed_or_has_another_key_or_is_old_is_not_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = cache(dir.path(), Duration::ZERO);
        cache.write(&entries()).expect("it is written");
        let mut old = entries();
        old.values_mut().for_each(|entry| {
            entry.at = Instant::now().checked_sub(Duration::from_secs(2)).expect("an uptime");
        });
        cache.write(&old).expect("it is written");
        assert!(cache.read().expect("it is ours").is_empty());
        let path = dir.path().join("cache");
        let mut bytes = fs::read(&path).expect("it is there");
        *bytes.last_mut().expect("it has bytes") ^= 1;
        fs::write(&path, bytes).expect("it is written");
        assert!(cache.read().is_err());
        fs::write(dir.path().join("key"), b"short").expect("it is written");
        assert!(cache.write(&entries()).is_err());
    }
}
