//! Replacing a file so that a crash leaves the old one or the new one, never half of either.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Replaces `path` by `bytes`, readable by the owner alone (mode 0600).
///
/// Written beside it, synced, renamed over it, and the folder synced: when this returns, the new content survives a
/// power failure; when it fails, the old content is untouched.
///
/// # Errors
///
/// Those of the operating system, a full disk among them.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("the file has no folder"))?;
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_dir(folder)
}

/// Makes what was created, renamed or removed in a folder survive a power failure.
///
/// # Errors
///
/// Those of the operating system.
pub fn sync_dir(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Takes half a line off the end of a file of lines, and answers its length. No room on the disk is needed for that.
#[cfg(feature = "agent")]
pub(crate) fn cut_torn_end(path: &Path) -> io::Result<u64> {
    let bytes = std::fs::read(path)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) as u64;
    let file = File::options().write(true).open(path)?;
    file.set_len(whole)?;
    file.sync_all()?;
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_stays_private() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn half_a_line_at_the_end_is_cut_off_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x");
        for (text, left) in [("a\nb", "a\n"), ("a\n", "a\n"), ("a", ""), ("", "")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(cut_torn_end(&path).unwrap(), left.len() as u64);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), left);
        }
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_content() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x");
        std::fs::create_dir(&path).unwrap();
        assert!(write_atomically(&path, b"one").is_err());
        assert!(path.is_dir());
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
    }
}
