//! Secrets in a file that `age` has encrypted: JSON, or lines of `NAME=value`.
//!
//! Reads what `age -r age1...` and `age-keygen` write (X25519 recipients, armoured or not), by
//! <https://age-encryption.org/v1>: `ring` for HKDF, HMAC and ChaCha20-Poly1305, `x25519-dalek` for
//! the agreement. The crate `age` would bring some fifty others, a good part of them for messages
//! in several languages. It deliberately reads no SSH keys, passphrases or plug-ins: a provider of
//! type `exec` runs `age` itself for those. Invariant: nothing of the plain text is given away
//! before all of it has been authenticated.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD};
use ring::{aead, hkdf, hmac};
use secrecy::SecretString;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{Place, file};
use crate::secret::{
    fault::Fault,
    value::{self, Document, Fetched},
};

const INTRO: &str = "age-encryption.org/v1";
const LABEL_X25519: &[u8] = b"age-encryption.org/v1/X25519";
const ARMOR_BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const ARMOR_END: &str = "-----END AGE ENCRYPTED FILE-----";
const KEY_BYTES: usize = 32;
const FILE_KEY_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
/// Plain text of one chunk.
const CHUNK_BYTES: usize = 64 * 1024;
/// Most stanzas of a header.
const STANZAS_MAX: usize = 128;

/// An encrypted file and the key to it.
#[derive(Debug)]
pub(in crate::secret) struct AgeFile {
    file: PathBuf,
    identity: PathBuf,
}

impl AgeFile {
    pub(super) fn new(file: PathBuf, identity: PathBuf) -> Self {
        Self { file, identity }
    }

    pub(super) async fn fetch(&self, place: &Place) -> Result<Fetched, Fault> {
        let (path, identity, name) = (self.file.clone(), self.identity.clone(), place.path.clone());
        let work = tokio::task::spawn_blocking(move || {
            let identities = identities(&read(&identity)?, &identity)?;
            let plain = decrypt(&read(&path)?, &identities).map_err(|problem| {
                Fault::invalid(format!("the file `{}` {problem}", path.display()))
            })?;
            pick(&value::text(&plain)?, &name)
        });
        work.await.map_err(|_| Fault::unreachable("reading was broken off"))?
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Fault> {
    file::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Fault::missing(format!("there is no file `{}`", path.display()))
        }
        _ => file::unreadable(path, &error),
    })
}

/// The value of one name of the document.
fn pick(text: &SecretString, name: &str) -> Result<Fetched, Fault> {
    use secrecy::ExposeSecret;
    let missing = || Fault::missing(format!("the file has no name `{name}`"));
    if let Ok(serde_json::Value::Object(mut object)) = serde_json::from_str(text.expose_secret()) {
        let document = match object.remove(name).ok_or_else(missing)? {
            serde_json::Value::Object(inner) => value::fields(inner)?,
            serde_json::Value::String(inner) => Document::Text(inner.into()),
            other => Document::Text(other.to_string().into()),
        };
        return Ok(Fetched { document, lease: None });
    }
    let of_line = |line: &str| {
        let (key, value) = line.trim_start_matches("export ").split_once('=')?;
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let bare = bare.or(value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')));
        (key.trim() == name).then(|| SecretString::from(bare.unwrap_or(value)))
    };
    let value = text.expose_secret().lines().find_map(of_line).ok_or_else(missing)?;
    Ok(Fetched { document: Document::Text(value), lease: None })
}

/// The keys of an identity file, whose other lines are comments.
fn identities(bytes: &[u8], path: &Path) -> Result<Vec<StaticSecret>, Fault> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let keys: Vec<_> = text.lines().filter_map(|line| identity(line.trim())).collect();
    if keys.is_empty() {
        return Err(Fault::config(format!(
            "the file `{}` holds no `AGE-SECRET-KEY-1`\nhelp: make one with `age-keygen`",
            path.display()
        )));
    }
    Ok(keys)
}

fn identity(line: &str) -> Option<StaticSecret> {
    let parsed = bech32::primitives::decode::CheckedHrpstring::new::<bech32::Bech32>(line).ok()?;
    if !parsed.hrp().as_str().eq_ignore_ascii_case("age-secret-key-") {
        return None;
    }
    let bytes = Zeroizing::new(parsed.byte_iter().collect::<Vec<u8>>());
    <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).ok().map(StaticSecret::from)
}

/// Reads an encrypted file with whichever of the keys fits.
fn decrypt(bytes: &[u8], keys: &[StaticSecret]) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    const FORM: &str = "is not an age file, or it is cut short";
    let unarmored;
    let bytes = if bytes.starts_with(ARMOR_BEGIN.as_bytes()) {
        unarmored = unarmor(bytes).ok_or(FORM)?;
        unarmored.as_slice()
    } else {
        bytes
    };
    let header = Header::parse(bytes).ok_or(FORM)?;
    let file_key = header
        .stanzas
        .iter()
        .find_map(|stanza| keys.iter().find_map(|key| stanza.open(key)))
        .ok_or("is encrypted to somebody else\nhelp: encrypt it to the key of `identity` too")?;
    let mac_key = derive::<KEY_BYTES>(&[], &file_key[..], b"header").ok_or(FORM)?;
    let mac_key = hmac::Key::new(hmac::HMAC_SHA256, &mac_key[..]);
    hmac::verify(&mac_key, header.signed, &header.mac)
        .map_err(|_| "was changed after it was encrypted")?;
    let (nonce, payload) = header.rest.split_at_checked(FILE_KEY_BYTES).ok_or(FORM)?;
    let key = derive::<KEY_BYTES>(nonce, &file_key[..], b"payload").ok_or(FORM)?;
    open_payload(&key[..], payload).ok_or("was changed or cut short after it was encrypted")
}

fn unarmor(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let inner = text.strip_prefix(ARMOR_BEGIN)?.strip_suffix(ARMOR_END)?;
    STANDARD.decode(inner.split_whitespace().collect::<String>()).ok()
}

struct Header<'a> {
    stanzas: Vec<Stanza>,
    /// What the MAC covers.
    signed: &'a [u8],
    mac: Vec<u8>,
    rest: &'a [u8],
}

/// A file key, wrapped for one X25519 key.
struct Stanza {
    share: [u8; KEY_BYTES],
    wrapped: Vec<u8>,
}

impl<'a> Header<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut at = 0;
        let mut line = || -> Option<(&'a str, usize)> {
            let length = bytes.get(at..)?.iter().position(|&byte| byte == b'\n')?;
            let start = at;
            at += length + 1;
            Some((std::str::from_utf8(&bytes[start..start + length]).ok()?, start))
        };
        (line()?.0 == INTRO).then_some(())?;
        let mut stanzas = Vec::new();
        for _ in 0..STANZAS_MAX {
            let (text, start) = line()?;
            if let Some(mac) = text.strip_prefix("--- ") {
                let mac = STANDARD_NO_PAD.decode(mac).ok()?;
                return Some(Self {
                    stanzas,
                    signed: &bytes[..start + "---".len()],
                    mac,
                    rest: &bytes[start + text.len() + 1..],
                });
            }
            let mut words = text.strip_prefix("-> ")?.split(' ');
            let (kind, share) = (words.next()?, words.next());
            let mut body = String::new();
            loop {
                let (text, _) = line()?;
                body.push_str(text);
                if text.len() < 64 {
                    break;
                }
            }
            if kind != "X25519" {
                continue;
            }
            let share = STANDARD_NO_PAD.decode(share?).ok()?.try_into().ok()?;
            stanzas.push(Stanza { share, wrapped: STANDARD_NO_PAD.decode(body).ok()? });
        }
        None
    }
}

impl Stanza {
    /// The file key, if it was wrapped for `key`.
    fn open(&self, key: &StaticSecret) -> Option<Zeroizing<Vec<u8>>> {
        let shared = key.diffie_hellman(&PublicKey::from(self.share));
        if !shared.was_contributory() {
            return None;
        }
        let salt = [self.share, *PublicKey::from(key).as_bytes()].concat();
        let wrap = derive::<KEY_BYTES>(&salt, shared.as_bytes(), LABEL_X25519)?;
        let mut file_key = Zeroizing::new(self.wrapped.clone());
        open_chunk(&opening_key(&wrap[..])?, [0; 12], &mut file_key)?;
        (file_key.len() == FILE_KEY_BYTES).then_some(file_key)
    }
}

/// HKDF-SHA-256.
fn derive<const N: usize>(salt: &[u8], secret: &[u8], info: &[u8]) -> Option<Zeroizing<[u8; N]>> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut key = Zeroizing::new([0; N]);
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    extracted.expand(&[info], Length(N)).ok()?.fill(&mut key[..]).ok()?;
    Some(key)
}

fn opening_key(key: &[u8]) -> Option<aead::LessSafeKey> {
    aead::UnboundKey::new(&aead::CHACHA20_POLY1305, key).ok().map(aead::LessSafeKey::new)
}

fn open_chunk(key: &aead::LessSafeKey, nonce: [u8; 12], chunk: &mut Vec<u8>) -> Option<()> {
    let nonce = aead::Nonce::assume_unique_for_key(nonce);
    let length = key.open_in_place(nonce, aead::Aad::empty(), chunk).ok()?.len();
    chunk.truncate(length);
    Some(())
}

/// STREAM: chunks with a counter, and a mark on the last.
fn open_payload(key: &[u8], payload: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let key = opening_key(key)?;
    let mut plain = Zeroizing::new(Vec::with_capacity(payload.len()));
    let mut chunks = payload.chunks(CHUNK_BYTES + TAG_BYTES).enumerate().peekable();
    chunks.peek()?;
    while let Some((index, sealed)) = chunks.next() {
        let is_last = chunks.peek().is_none();
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&u64::try_from(index).ok()?.to_be_bytes());
        nonce[11] = u8::from(is_last);
        let mut chunk = Zeroizing::new(sealed.to_vec());
        open_chunk(&key, nonce, &mut chunk)?;
        if is_last && chunk.is_empty() && index > 0 {
            return None;
        }
        plain.extend_from_slice(&chunk);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    /// Made for this test by `age-keygen`; it opens nothing else.
    const IDENTITY: &str =
        "AGE-SECRET-KEY-1NMS0PGS8S5FNLPHQMMMTMH6LT2ZLXNGNGQHQVF60ZM56PTJRDFUQD5PDS9";
    /// `DB_PASSWORD="pw with space"` and `API=abc`, encrypted by `age -a -r age19cptq...`.
    const FILE: &str = "-----BEGIN AGE ENCRYPTED FILE-----
YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSB6TklyVUd2RnJINHF2Skth
REVTSExIYkgrdjBrQzc1eDRlZ2l4QkVLcW1jClhwN2RlOXE5L1FwTWZvOWZuY0Zw
OUV6OUc2cTZlTFpOdElwZ2pRdGorUEkKLS0tIE90aml5dUZaaFlQNktXVWt3WWdS
c1NjTEluZHRZL29XM3pnZGdqOVJXd1UKmUyGR97QAjPqp8MuiLfuUw1z8w9tDhiZ
VcH1CidTroIki8rKcXCTUmH+WKV71BaKpxGSnfmOFXmocbCut81oNWngXWo=
-----END AGE ENCRYPTED FILE-----
";

    fn key() -> Vec<StaticSecret> {
        identities(format!("# a comment\n{IDENTITY}\n").as_bytes(), Path::new("k")).expect("a key")
    }

    #[test]
    fn a_file_that_age_wrote_is_read() {
        let plain = decrypt(FILE.as_bytes(), &key()).expect("it is ours");
        let text = value::text(&plain).expect("it is text");
        let document = |name| pick(&text, name).map(|fetched| fetched.document);
        let Document::Text(value) = document("DB_PASSWORD").expect("it is there") else {
            unreachable!("lines are text")
        };
        assert_eq!(value.expose_secret(), "pw with space");
        assert!(document("NO").is_err());
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let bytes = unarmor(FILE.as_bytes()).expect("it is armoured");
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert!(decrypt(&changed, &key()).is_err(), "byte {index}");
            assert!(decrypt(&bytes[..index], &key()).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn another_key_opens_nothing() {
        let error = decrypt(FILE.as_bytes(), &[StaticSecret::from([7; 32])]);
        assert!(error.expect_err("it is not ours").contains("somebody else"));
        assert!(identities(b"nothing", Path::new("k")).is_err());
    }
}
