//! The programs the tests drive.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A restic the tests run themselves, past the product.
#[derive(Debug, Clone)]
pub struct Restic {
    /// Its binary.
    pub program: PathBuf,
}

/// A binary of this workspace, built beside the test, the benchmark or the program that asks.
///
/// # Panics
///
/// When it was not built: the message says how.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its own path");
    // target/<profile>/deps/<test>, or target/<profile>/<program>
    let folder = own.parent().expect("a program lies in a folder");
    let folder =
        if folder.ends_with("deps") { folder.parent().expect("deps lies in target") } else { folder };
    let path = folder.join(name);
    let release = if folder.ends_with("release") { " --release" } else { "" };
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --workspace --bins{release}` first",
        path.display()
    );
    path
}

fn tool(variable: &str, fallback: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.test-tools/bin").join(fallback);
    assert!(path.exists(), "{fallback} is missing: run scripts/install-test-tools, or set {variable}");
    path.canonicalize().expect("it exists")
}

/// The oldest supported restic, 0.14.0.
pub fn restic_oldest() -> Restic {
    Restic { program: tool("RM_TEST_RESTIC_OLDEST", "restic-oldest") }
}

/// The newest restic.
pub fn restic_newest() -> Restic {
    Restic { program: tool("RM_TEST_RESTIC_NEWEST", "restic-newest") }
}

/// restic's own REST server.
pub fn rest_server() -> PathBuf {
    tool("RM_TEST_REST_SERVER", "restic-rest-server")
}

impl Restic {
    /// Runs restic on a repository and answers its standard output.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn run(&self, repository: &str, password: &str, args: &[&str]) -> String {
        let output = Command::new(&self.program)
            .args(args)
            .env("RESTIC_REPOSITORY", repository)
            .env("RESTIC_PASSWORD", password)
            .env("RESTIC_CACHE_DIR", std::env::temp_dir().join("restic-manager-e2e-cache"))
            .output()
            .expect("restic runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "restic {args:?}: {}: {stderr}", output.status);
        String::from_utf8(output.stdout).expect("restic writes UTF-8 here")
    }

    /// The full ids of the snapshots in a repository, oldest first.
    pub fn snapshots(&self, repository: &str, password: &str) -> Vec<serde_json::Value> {
        let text = self.run(repository, password, &["snapshots", "--json"]);
        serde_json::from_str(&text).expect("restic lists JSON")
    }
}

/// Data that cannot be compressed, the same every time for a path.
///
/// # Panics
///
/// When the file cannot be written.
pub fn noise(path: &Path, megabytes: usize) {
    let mut file = std::fs::File::create(path).expect("a file in a temporary folder");
    let name = path.as_os_str().as_encoded_bytes();
    let seed = name.iter().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ seed;
    let mut block = vec![0u8; 1 << 20];
    for _ in 0..megabytes {
        for chunk in block.chunks_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block).expect("a file in a temporary folder");
    }
}
