//! Directories that only their owner may enter.

use std::fs::DirBuilder;
use std::io;
use std::path::Path;

/// Creates a directory, and the missing ones above it, for this user alone. One that exists stays as it is.
///
/// # Errors
///
/// As those of [`DirBuilder::create`].
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    #[test]
    fn a_new_directory_is_private_and_an_old_one_stays_as_it_is() {
        use std::os::unix::fs::PermissionsExt;

        use super::*;

        let old = tempfile::tempdir().unwrap();
        std::fs::set_permissions(old.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let (above, new) = (old.path().join("a"), old.path().join("a/b"));
        create_private_directory(&new).unwrap();
        create_private_directory(&new).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!([old.path(), &above, &new].map(mode), [0o755, 0o700, 0o700]);
    }
}
