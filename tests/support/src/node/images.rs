//! What a test node knows to run for an image.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Image {
    Program(PathBuf),
    /// A program of this package, looked for when it is to run.
    Ours(&'static str),
    /// Ready at once; nothing runs.
    Pause,
}

impl Image {
    /// The program to run.
    pub(super) fn program(self) -> Result<PathBuf> {
        match self {
            Self::Program(program) => Ok(program),
            Self::Ours(name) => ours(name),
            Self::Pause => bail!("a pause runs nothing"),
        }
    }
}

/// Where cargo put it: beside this program, or one folder up from a test.
fn ours(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("a program is in a folder")?;
    let folder = match folder.file_name() {
        Some(deps) if deps == "deps" || deps == "examples" => {
            folder.parent().context("it is in a folder")?
        }
        _ => folder,
    };
    let program = folder.join(name);
    ensure!(
        program.exists(),
        "{} is not built: run `cargo build -p subm-test-support --bins` first, as `make test` does",
        program.display()
    );
    Ok(program)
}

/// By name without tag and digest, or by the last part of that name.
#[derive(Debug, Clone, Default)]
pub(super) struct Images(BTreeMap<String, Image>);

impl Images {
    pub(super) fn insert(&mut self, name: &str, image: Image) {
        self.0.insert(bare(name).to_owned(), image);
    }

    pub(super) fn find(&self, image: &str) -> Option<&Image> {
        let name = bare(image);
        let last = name.rsplit('/').next().unwrap_or(name);
        self.0.get(name).or_else(|| self.0.get(last))
    }

    pub(super) fn unknown(&self, image: &str) -> String {
        let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
        format!(
            "this test node has no program for the image {:?}: name one with TestNodeBuilder::image, or call it a pause; \
             known are {}",
            bare(image),
            known.join(", ")
        )
    }
}

/// A registry may have a port: only a colon after the last slash begins a tag.
fn bare(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    let last = image.rfind('/').map_or(0, |slash| slash + 1);
    match image[last..].find(':') {
        Some(colon) => &image[..last + colon],
        None => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_digests_are_no_part_of_a_name() {
        for (image, want) in [
            ("nginx", "nginx"),
            ("nginx:1.27", "nginx"),
            (
                "quay.io/submariner/lighthouse-agent:0.24.0",
                "quay.io/submariner/lighthouse-agent",
            ),
            ("localhost:5000/agent", "localhost:5000/agent"),
            ("localhost:5000/agent@sha256:00", "localhost:5000/agent"),
        ] {
            assert_eq!(bare(image), want);
        }
        let mut images = Images::default();
        images.insert("nginx", Image::Pause);
        assert!(images.find("docker.io/library/nginx:1.27").is_some());
        assert!(images.find("docker.io/library/nginx2").is_none());
    }
}
