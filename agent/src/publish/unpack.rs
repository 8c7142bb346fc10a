//! A zip of a site, taken as the folder that it was made of.
//!
//! It is not uploaded as it is: people expect of `publish site.zip` the checks, the encodings and the version of the same files in a
//! folder, and that is the same package, byte by byte.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use spothost_server::{PackageLimits, Reason, Site};
use tempfile::TempDir;

use super::Problem;

/// Unpacks the zip at `path` into a temporary folder; none where that is a folder itself. A zip that no host would serve is a
/// problem of the site.
///
/// # Errors
/// What the file system says of the temporary folder.
pub(super) fn unpack(path: &Path) -> io::Result<Option<Result<TempDir, Problem>>> {
    // What is not there is told as a folder that is not there.
    if !path.is_file() {
        return Ok(None);
    }
    let opened = Site::open(path, &PackageLimits::default()).and_then(|site| site.verify().map(|()| site));
    let site = match opened {
        Ok(site) => site,
        Err(refused) => {
            let problem = match refused.reason() {
                Reason::NotAZip(_) => {
                    Problem::stops(path.display().to_string(), format!("{}; name a folder or a zip", refused.reason()))
                }
                _ => Problem::refused(&refused),
            };
            return Ok(Some(Err(problem)));
        }
    };
    let folder = tempfile::tempdir()?;
    for (name, mut content) in site.contents() {
        let path = folder.path().join(name);
        if let Some(parent) = path.parent()
            && let Err(error) = fs::create_dir_all(parent)
        {
            return Ok(Some(Err(both(name, &error)?)));
        }
        match fs::File::create(&path) {
            Ok(mut file) => io::copy(&mut content, &mut file)?,
            Err(error) => return Ok(Some(Err(both(name, &error)?))),
        };
    }
    for file in site.program().filter(|file| file.is_executable) {
        let path = folder.path().join(".app").join(file.path);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(Some(Ok(folder)))
}

/// The problem of a name that is both a file and a folder, or longer than a disk can have it.
fn both(name: &str, error: &io::Error) -> io::Result<Problem> {
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
            Ok(Problem::stops(
                name,
                "is a file and a folder at once, which no visitor could tell apart: rename one of them",
            ))
        }
        io::ErrorKind::InvalidFilename => {
            Ok(Problem::stops(name, "has a part that is longer than disks can have it: shorten it"))
        }
        _ => Err(io::Error::new(error.kind(), format!("unpacking {name}: {error}"))),
    }
}
