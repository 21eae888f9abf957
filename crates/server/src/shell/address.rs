//! Tells local programs where the server listens.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::DataDir;
use super::data_dir::replace;

/// The file `address` in the data folder: one line with the URL, while the server runs.
///
/// After a kill it is stale; the next start replaces it.
#[derive(Debug)]
pub struct AddressFile {
    path: PathBuf,
}

impl AddressFile {
    /// Writes the address that was bound, whole or not at all.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub fn write(data_dir: &DataDir, bound: SocketAddr) -> io::Result<Self> {
        let path = data_dir.address();
        replace(&path, format!("{}\n", reachable(bound)).as_bytes())?;
        Ok(Self { path })
    }
}

impl Drop for AddressFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the address file could not be removed");
        }
    }
}

/// The URL under which a program on this machine reaches the server.
pub(super) fn reachable(bound: SocketAddr) -> String {
    let port = bound.port();
    match bound {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => format!("http://127.0.0.1:{port}"),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("http://[::1]:{port}"),
        SocketAddr::V4(_) | SocketAddr::V6(_) => format!("http://{bound}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_stands_there_while_the_server_runs() {
        let root = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(root.path()).unwrap();
        fs::write(data_dir.address(), "http://127.0.0.1:1\n").unwrap();
        let file = AddressFile::write(&data_dir, "127.0.0.1:4321".parse().unwrap()).unwrap();
        assert_eq!(fs::read_to_string(data_dir.address()).unwrap(), "http://127.0.0.1:4321\n");
        drop(file);
        assert!(!data_dir.address().exists());
    }

    #[test]
    fn an_address_that_means_all_is_told_as_one_that_can_be_reached() {
        let told = |text: &str| reachable(text.parse().unwrap());
        assert_eq!(told("0.0.0.0:80"), "http://127.0.0.1:80");
        assert_eq!(told("[::]:80"), "http://[::1]:80");
        assert_eq!(told("[fd00::2]:80"), "http://[fd00::2]:80");
    }
}
