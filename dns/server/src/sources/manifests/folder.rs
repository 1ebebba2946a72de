//! All files of a folder, their last good content, and what changed since the last look.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use subm_dns_core::facts::{Fact, Problem};

use super::parse::{Content, Slot, parse};
use crate::sources::Event;

/// Deeper folders are not manifests of ours but an accident, such as `/`.
const DEEPEST: usize = 16;
/// Many programs empty a file before they write it anew: an empty file counts after this time only.
const EMPTY_SETTLES: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    files: BTreeMap<PathBuf, File>,
    /// What was told.
    view: BTreeMap<Slot, Fact>,
    /// Problems that were told, by file.
    told: BTreeMap<String, Vec<Problem>>,
}

#[derive(Debug, Default)]
struct File {
    /// `None`: look again.
    stamp: Option<Stamp>,
    /// The last good content, or the good part of the first.
    content: Content,
    /// Why the file's present text is not its content.
    broken: Vec<Problem>,
}

/// A file that has the same stamp has the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            files: BTreeMap::new(),
            view: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// Reads what changed. Fails, and changes nothing, if the folder cannot be listed.
    pub(super) fn look(&mut self) -> io::Result<Vec<Event>> {
        let mut found = BTreeMap::new();
        list(&self.path, 0, &mut HashSet::new(), &mut found)?;
        let mut changed = self.files.len();
        self.files.retain(|path, _| found.contains_key(path));
        changed -= self.files.len();
        for (path, metadata) in found {
            let shown = path
                .strip_prefix(&self.path)
                .unwrap_or(&path)
                .display()
                .to_string();
            let file = self.files.entry(path.clone()).or_default();
            let stamp = Stamp::of(&metadata);
            if file.stamp != Some(stamp) {
                file.stamp = Some(stamp);
                file.read(&path, &shown, &metadata);
                changed += 1;
            }
        }
        Ok(if changed == 0 {
            Vec::new()
        } else {
            self.news()
        })
    }

    /// The difference between what the files say and what was told.
    fn news(&mut self) -> Vec<Event> {
        let mut problems: BTreeMap<String, Vec<Problem>> = BTreeMap::new();
        let mut said: BTreeMap<Slot, (Fact, &str)> = BTreeMap::new();
        for (path, file) in &self.files {
            let shown = path
                .strip_prefix(&self.path)
                .unwrap_or(path)
                .display()
                .to_string();
            let of_file = problems.entry(shown).or_default();
            of_file.extend(file.broken.iter().chain(&file.content.problems).cloned());
            for fact in &file.content.facts {
                let before = said.insert(fact.slot.clone(), (fact.fact.clone(), &fact.place));
                if let (Some((_, place)), false) = (before, matches!(fact.slot, Slot::Namespace(_)))
                {
                    let message =
                        format!("is also in {place}; the last one counts: remove the other");
                    of_file.push(Problem {
                        object: fact.place.clone(),
                        field: "metadata.name".to_owned(),
                        message,
                    });
                }
            }
        }
        let old = said.remove(&Slot::ClusterProperty { old_name: true });
        if let Some(old) = old {
            said.entry(Slot::ClusterProperty { old_name: false })
                .or_insert(old);
        }
        let view = said
            .into_iter()
            .map(|(slot, (fact, _))| (slot, fact))
            .collect();
        problems.retain(|_, problems| !problems.is_empty());

        let mut events = Vec::new();
        let facts = difference(&self.view, &view);
        if !facts.is_empty() {
            events.push(Event::Facts(facts));
        }
        for (object, problems) in &problems {
            if self.told.get(object) != Some(problems) {
                events.push(Event::Problems {
                    object: object.clone(),
                    problems: problems.clone(),
                });
            }
        }
        for object in self
            .told
            .keys()
            .filter(|object| !problems.contains_key(*object))
        {
            events.push(Event::Problems {
                object: object.clone(),
                problems: Vec::new(),
            });
        }
        self.view = view;
        self.told = problems;
        events
    }
}

/// What leads from one view to the next: what is new first, so that nothing is missing in between.
fn difference(old: &BTreeMap<Slot, Fact>, new: &BTreeMap<Slot, Fact>) -> Vec<Fact> {
    let changed = new
        .iter()
        .filter(|(slot, fact)| old.get(slot) != Some(fact));
    let gone = old.keys().filter(|slot| !new.contains_key(slot));
    changed
        .map(|(_, fact)| fact.clone())
        .chain(gone.map(|slot| slot.clone().gone()))
        .collect()
}

impl File {
    fn read(&mut self, path: &Path, shown: &str, metadata: &fs::Metadata) {
        // To open a pipe or a device would wait for whoever writes to it.
        if !metadata.is_file() {
            return self.keep(shown, "is not a file; left out".to_owned());
        }
        let text = match fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => return self.keep(shown, format!("is not UTF-8: {error}")),
            Err(error) => {
                self.stamp = None;
                return self.keep(shown, format!("cannot be read: {error}"));
            }
        };
        if text.trim().is_empty() && !self.content.facts.is_empty() && is_fresh(metadata) {
            self.stamp = None;
            return;
        }
        let content = parse(path, shown, &text);
        if content.broken.is_empty() {
            self.content = content;
            self.broken = Vec::new();
        } else if self.content.facts.is_empty() || !self.content.broken.is_empty() {
            // There never was a good content: the good part is better than nothing.
            self.broken.clone_from(&content.broken);
            self.content = content;
        } else {
            self.broken = content.broken;
            for problem in &mut self.broken {
                problem
                    .message
                    .push_str("; the file's last good content is served");
            }
        }
    }

    fn keep(&mut self, shown: &str, message: String) {
        let field = "file".to_owned();
        self.broken = vec![Problem {
            object: shown.to_owned(),
            field,
            message,
        }];
    }
}

fn is_fresh(metadata: &fs::Metadata) -> bool {
    let age = metadata
        .modified()
        .ok()
        .and_then(|then| SystemTime::now().duration_since(then).ok());
    age.is_none_or(|age| age < EMPTY_SETTLES)
}

/// Manifests below `folder`. Names with a leading dot are passed over: editors' own files, and the
/// folders behind the links of a mounted ConfigMap, whose files are found by their links.
fn list(
    folder: &Path,
    depth: usize,
    visited: &mut HashSet<(u64, u64)>,
    found: &mut BTreeMap<PathBuf, fs::Metadata>,
) -> io::Result<()> {
    let identity = fs::metadata(folder)?;
    // A link may lead back up.
    if depth > DEEPEST || !visited.insert((identity.dev(), identity.ino())) {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        // Follows links; a file may vanish between listing and looking.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            match list(&path, depth + 1, visited, found) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        } else if path
            .extension()
            .is_some_and(|it| it == "yaml" || it == "yml" || it == "json")
        {
            found.insert(path, metadata);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
