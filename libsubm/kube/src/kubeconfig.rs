//! The kubeconfig that kubectl would read.

use std::path::PathBuf;

use kube::config::Kubeconfig;

use crate::client::ConnectError;

/// The files of `KUBECONFIG` as one, else `~/.kube/config`.
pub fn kubectls_kubeconfig() -> Result<Kubeconfig, ConnectError> {
    let value = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let paths = std::env::split_paths(&value).filter(|path| !path.as_os_str().is_empty());
    match &*paths.collect::<Vec<_>>() {
        [] => Kubeconfig::read().map_err(|error| ConnectError::NoKubeconfig((&error).into())),
        paths => merged(paths),
    }
}

/// As for kubectl, files that do not exist are none.
fn merged(paths: &[PathBuf]) -> Result<Kubeconfig, ConnectError> {
    let mut whole: Option<Kubeconfig> = None;
    for path in paths.iter().filter(|path| path.exists()) {
        let part = Kubeconfig::read_from(path);
        let merged = part.and_then(|part| match whole.take() {
            Some(before) => before.merge(part),
            None => Ok(part),
        });
        whole = Some(merged.map_err(|error| ConnectError::Kubeconfig {
            path: path.clone(),
            source: (&error).into(),
        })?);
    }
    whole.ok_or_else(|| {
        let names = paths.iter().map(|path| path.display().to_string());
        ConnectError::NoFile(names.collect::<Vec<_>>().join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_files_those_that_exist_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["b", "c"] {
            let text = format!("{{contexts: [{{name: in-{name}, context: {{cluster: c}}}}]}}");
            std::fs::write(path(name), text).unwrap();
        }
        let file = merged(&[path("a"), path("b"), path("c")]).unwrap();
        let names: Vec<&str> = file.contexts.iter().map(|named| &*named.name).collect();
        assert_eq!(names, ["in-b", "in-c"]);
        let error = merged(&[path("a"), path("d")]).unwrap_err().to_string();
        assert!(error.contains("/a, ") && error.contains("/d;"), "{error}");
        std::fs::write(path("e"), "[").unwrap();
        let error = merged(&[path("b"), path("e")]).unwrap_err().to_string();
        assert!(error.ends_with("/e"), "{error}");
    }
}
