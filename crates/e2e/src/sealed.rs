//! Files of a repository that restic itself would take minutes to write.

use std::path::{Path, PathBuf};

use aes::cipher::{BlockEncrypt as _, KeyInit as _, generic_array::GenericArray};
use aes::{Aes128, Aes256, Block};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use poly1305::Poly1305;
use sha2::{Digest as _, Sha256};

use crate::Restic;

/// Writes files into a local repository, sealed with its master key as restic seals them: `crypto.go` in its `internal/crypto`.
#[derive(Debug)]
pub struct SealedFiles {
    folder: PathBuf,
    encrypt: [u8; 32],
    mac_k: [u8; 16],
    mac_r: [u8; 16],
    nonce: u128,
}

impl SealedFiles {
    /// Opens a repository.
    ///
    /// # Panics
    ///
    /// When restic cannot open it, as in all of this file when something of it cannot be read or written.
    pub fn open(restic: &Restic, folder: &Path, password: &str) -> Self {
        let text = restic.run(folder.to_str().expect("a path of text"), password, &["cat", "masterkey"]);
        let key: serde_json::Value = serde_json::from_str(&text).expect("restic prints its key as JSON");
        let bytes = |value: &serde_json::Value| {
            STANDARD.decode(value.as_str().expect("a part of the key")).expect("base64")
        };
        Self {
            folder: folder.to_owned(),
            encrypt: bytes(&key["encrypt"]).try_into().expect("32 bytes"),
            mac_k: bytes(&key["mac"]["k"]).try_into().expect("16 bytes"),
            mac_r: bytes(&key["mac"]["r"]).try_into().expect("16 bytes"),
            nonce: 0,
        }
    }

    /// Takes away all files of a kind, such as `snapshots`.
    pub fn clear(&self, kind: &str) {
        for entry in std::fs::read_dir(self.folder.join(kind)).expect("a folder of the repository") {
            std::fs::remove_file(entry.expect("an entry").path()).expect("a file of the repository");
        }
    }

    /// Writes a file of a kind, such as `snapshots` or `locks`, and answers its id.
    pub fn write(&mut self, kind: &str, content: &serde_json::Value) -> String {
        let sealed = self.seal(content.to_string().into_bytes());
        let id: String = Sha256::digest(&sealed).iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(self.folder.join(kind).join(&id), sealed).expect("a file of the repository");
        id
    }

    /// Nonce, text under AES-256 in counter mode, Poly1305-AES over it.
    fn seal(&mut self, mut text: Vec<u8>) -> Vec<u8> {
        self.nonce += 1 << 64;
        let nonce = self.nonce.to_be_bytes();
        let cipher = Aes256::new(&self.encrypt.into());
        for (place, part) in (self.nonce..).zip(text.chunks_mut(16)) {
            let mut stream: Block = place.to_be_bytes().into();
            cipher.encrypt_block(&mut stream);
            part.iter_mut().zip(stream).for_each(|(byte, mask)| *byte ^= mask);
        }
        let mut pad: Block = nonce.into();
        Aes128::new(&self.mac_k.into()).encrypt_block(&mut pad);
        let key = [self.mac_r, pad.into()].concat();
        let tag = Poly1305::new(GenericArray::from_slice(&key)).compute_unpadded(&text);
        [&nonce[..], &text, &tag].concat()
    }
}
