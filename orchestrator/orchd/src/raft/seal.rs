//! Seals what the log writes: a thief of the disk must not find the CA's key in it.
//!
//! ChaCha20-Poly1305 under a random key of this member. Each value is bound to its place
//! (`context`), so that values cannot be swapped.

use std::io;
use std::path::Path;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use super::LogFileError;
use crate::durable;

const KEY_LEN: usize = 32;

/// The member's sealing key.
pub struct SealKey {
    key: LessSafeKey,
    random: SystemRandom,
}

impl SealKey {
    /// Reads the key file.
    pub fn read(path: &Path) -> Result<Self, LogFileError> {
        let bytes = std::fs::read(path).map_err(|source| LogFileError::io(path, source))?;
        Self::from_bytes(&bytes).ok_or_else(|| {
            let source = io::Error::other(format!("it does not hold a key of {KEY_LEN} bytes"));
            LogFileError::io(path, source)
        })
    }

    /// Makes a new key file.
    pub fn create(path: &Path) -> Result<Self, LogFileError> {
        let mut bytes = [0; KEY_LEN];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| no_randomness(path))?;
        durable::write(path, &bytes).map_err(|source| LogFileError::io(path, source))?;
        Self::from_bytes(&bytes).ok_or_else(|| no_randomness(path))
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes).ok()?;
        Some(Self {
            key: LessSafeKey::new(key),
            random: SystemRandom::new(),
        })
    }

    /// Seals `plain` for the place `context`: nonce, ciphertext, tag.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, LogFileError> {
        let mut nonce = [0; NONCE_LEN];
        self.random
            .fill(&mut nonce)
            .map_err(|_| LogFileError::Seal("no randomness"))?;
        let mut body = plain.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut body,
            )
            .map_err(|_| LogFileError::Seal("the value is too large"))?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// Opens what [`seal`](Self::seal) made for the same place.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, LogFileError> {
        const DAMAGED: LogFileError =
            LogFileError::Seal("a value is damaged or belongs to another key");
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(DAMAGED)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DAMAGED)?;
        let mut body = body.to_vec();
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(context), &mut body)
            .map_err(|_| DAMAGED)?;
        Ok(plain.to_vec())
    }
}

fn no_randomness(path: &Path) -> LogFileError {
    LogFileError::io(
        path,
        io::Error::other("the system has no randomness for a key"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_only_in_its_place_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        let sealed = SealKey::create(&path)
            .unwrap()
            .seal(b"entry 1", b"secret")
            .unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        let key = SealKey::read(&path).unwrap();
        assert_eq!(key.open(b"entry 1", &sealed).unwrap(), b"secret");
        assert!(key.open(b"entry 2", &sealed).is_err());
        for cut in 0..sealed.len() {
            assert!(key.open(b"entry 1", &sealed[..cut]).is_err());
        }
    }

    #[test]
    fn a_key_file_of_the_wrong_length_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        std::fs::write(&path, b"short").unwrap();
        assert!(SealKey::read(&path).is_err());
    }
}
