//! Finding restic, again and again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::{ResticBinary, ResticProblem};

/// Finds restic on this host and notices when it was installed, upgraded or removed.
///
/// Each [`find`](Self::find) looks; a program is asked for its version only when its file changed.
#[derive(Debug)]
pub struct ResticFinder {
    configured: Option<PathBuf>,
    places: Vec<PathBuf>,
    known: Mutex<Vec<Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    path: PathBuf,
    fingerprint: Fingerprint,
    answer: Result<ResticBinary, ResticProblem>,
}

/// Changes when the file is replaced or written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    mode: u32,
    modified: Option<SystemTime>,
    changed: (i64, i64),
}

/// Where restic usually lies: a service's PATH may lack some of them.
const USUAL: [&str; 6] =
    ["/usr/local/bin", "/usr/bin", "/bin", "/snap/bin", "/opt/homebrew/bin", "/opt/local/bin"];

impl ResticFinder {
    /// Looks at `configured` alone when it is given; else in the folders of PATH and in the usual places.
    pub fn new(configured: Option<PathBuf>) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
        Self::looking_in(configured, folders.chain(USUAL.map(PathBuf::from)))
    }

    /// The same with the folders named.
    pub fn looking_in(configured: Option<PathBuf>, folders: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut places: Vec<PathBuf> = Vec::new();
        for place in folders.into_iter().map(|folder| folder.join("restic")) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        Self { configured, places, known: Mutex::default() }
    }

    /// The first usable restic.
    ///
    /// # Errors
    ///
    /// There is none at present; the problem is that of the first one found, or that none was found.
    pub async fn find(&self) -> Result<ResticBinary, ResticProblem> {
        if let Some(path) = &self.configured {
            let missing = || ResticProblem::ConfiguredMissing { path: path.clone() };
            return self.look_at(path).await.unwrap_or_else(|| Err(missing()));
        }
        let mut first = None;
        for place in &self.places {
            match self.look_at(place).await {
                Some(Ok(found)) => return Ok(found),
                Some(Err(problem)) => first = first.or(Some(problem)),
                None => {}
            }
        }
        Err(first.unwrap_or(ResticProblem::NotFound))
    }

    async fn look_at(&self, path: &Path) -> Option<Result<ResticBinary, ResticProblem>> {
        let metadata = tokio::fs::metadata(path).await.ok().filter(std::fs::Metadata::is_file)?;
        let fingerprint = Fingerprint {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            mode: metadata.mode(),
            modified: metadata.modified().ok(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        if let Some(answer) = self.remembered(path, fingerprint) {
            return Some(answer);
        }
        let answer = ResticBinary::probe(path).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.path != path);
        // A program that could not be run may be mended without a change of its file: a mount, a limit, a library.
        if !matches!(answer, Err(ResticProblem::NotRunnable { .. })) {
            known.push(Known { path: path.to_owned(), fingerprint, answer: answer.clone() });
        }
        Some(answer)
    }

    fn remembered(
        &self,
        path: &Path,
        fingerprint: Fingerprint,
    ) -> Option<Result<ResticBinary, ResticProblem>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let same = known.iter().find(|known| known.path == path && known.fingerprint == fingerprint)?;
        Some(same.answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use restic_manager_core::restic::Version;

    use super::*;

    fn program(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("restic");
        let beside = folder.join("new");
        std::fs::write(&beside, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        path
    }

    #[tokio::test]
    async fn a_restic_that_is_installed_later_is_found_and_its_upgrade_noticed() {
        let temp = tempfile::tempdir().unwrap();
        let finder = ResticFinder::looking_in(None, [temp.path().to_owned()]);
        assert_eq!(finder.find().await, Err(ResticProblem::NotFound));

        let path = program(temp.path(), "echo 'restic 0.13.1 compiled with go1.18 on linux/amd64'");
        let version = Version::new(0, 13, 1);
        assert_eq!(finder.find().await, Err(ResticProblem::TooOld { path: path.clone(), version }));

        program(temp.path(), "echo '{\"message_type\":\"version\",\"version\":\"0.18.0\"}'");
        assert_eq!(finder.find().await, Ok(ResticBinary::known(&path, Version::new(0, 18, 0))));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(finder.find().await, Err(ResticProblem::NotFound));
    }

    #[tokio::test]
    async fn a_usable_one_is_taken_although_an_unusable_one_comes_first() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        program(first.path(), "echo 'restic 0.9.6 compiled with go1.13 on linux/amd64'");
        let usable = program(second.path(), "echo 'restic 0.14.0 compiled with go1.19.8 on linux/amd64'");
        let finder = ResticFinder::looking_in(None, [first.path().to_owned(), second.path().to_owned()]);
        assert_eq!(finder.find().await.unwrap().path, usable);
    }

    #[tokio::test]
    async fn what_is_no_restic_is_told_with_what_it_said_and_a_remedy() {
        let temp = tempfile::tempdir().unwrap();
        let path = program(temp.path(), "echo hello; exit 3");
        let finder = ResticFinder::looking_in(Some(path.clone()), []);
        let problem = finder.find().await.unwrap_err();
        assert_eq!(problem, ResticProblem::NotRestic { path: path.clone(), said: "hello".into() });
        assert!(problem.sentence().contains("; put a real restic 0.14.0 or newer"), "{}", problem.sentence());

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(finder.find().await, Err(ResticProblem::NotRunnable { .. })));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(finder.find().await, Err(ResticProblem::ConfiguredMissing { path }));
    }

    #[tokio::test]
    async fn a_program_is_asked_again_only_when_its_file_changed() {
        let temp = tempfile::tempdir().unwrap();
        let count = temp.path().join("count");
        let script = format!("echo x >> '{}'; echo restic 0.18.0", count.display());
        program(temp.path(), &script);
        let finder = ResticFinder::looking_in(None, [temp.path().to_owned()]);
        for _ in 0..3 {
            finder.find().await.unwrap();
        }
        assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\n");
    }
}
