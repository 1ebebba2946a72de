//! `import FILE`: relative to the file it stands in, with one `*` in the file's name.

use std::io;
use std::path::{Path, PathBuf};

use super::error::Problem;

/// The files that `pattern` means, sorted. No match of a wildcard is no error: folders of extra
/// configuration may be empty.
pub(super) fn files(pattern: &str, from: &Path) -> Result<Vec<PathBuf>, Problem> {
    let path = from.parent().unwrap_or(Path::new("")).join(pattern);
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![path]);
    }
    let bad = || Problem::ImportPattern(pattern.to_owned());
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(bad)?;
    let (before, after) = name.split_once('*').ok_or_else(bad)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    if format!("{}{before}{after}", folder.display()).contains(['*', '?', '[']) {
        return Err(bad());
    }
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let mut found = Vec::new();
    for entry in folder
        .read_dir()
        .map_err(|reason| unreadable(folder, reason))?
    {
        let entry = entry.map_err(|reason| unreadable(folder, reason))?.path();
        let matches = entry
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| {
                name.strip_prefix(before)
                    .is_some_and(|rest| rest.ends_with(after))
                    && (before.starts_with('.') || !name.starts_with('.'))
            });
        // A ConfigMap's volume holds folders beside the files.
        if matches && entry.is_file() {
            found.push(entry);
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn unreadable(path: &Path, reason: io::Error) -> Problem {
    Problem::Import {
        path: path.to_owned(),
        reason,
    }
}
