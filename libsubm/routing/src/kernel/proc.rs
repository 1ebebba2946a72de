//! Kernel parameters, and the memory of what they were.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::model::{Sysctl, SysctlKey};

/// `/proc/sys/net` of the calling thread's network namespace.
#[derive(Debug)]
pub(crate) struct Proc {
    root: PathBuf,
}

impl Proc {
    pub(crate) fn new() -> Self {
        Self {
            root: PathBuf::from("/proc/sys/net"),
        }
    }

    pub(crate) fn read(&self, path: &str) -> io::Result<String> {
        fs::read_to_string(self.root.join(path)).map(|value| value.trim().to_owned())
    }

    /// Whether a new device can have IPv6. There may be no such thing in the kernel, or it was turned off for all.
    pub(crate) fn ipv6(&self) -> bool {
        self.read("ipv6/conf/default/disable_ipv6")
            .is_ok_and(|disabled| disabled == "0")
    }

    pub(crate) fn write(&self, path: &str, value: &str) -> io::Result<()> {
        fs::write(self.root.join(path), value)
    }
}

/// What parameters were before we changed them.
///
/// It is written down before a parameter is changed, so a process that ends at any point leaves a file from which its
/// successor can put everything back. An entry is void once the machine was started anew or the device is another one.
#[derive(Debug)]
pub(crate) struct Memory {
    path: Option<PathBuf>,
    written: Written,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Written {
    /// The boot of the machine to which all this belongs.
    boot: String,
    parameters: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The index of the device to which the parameter belongs; 0 for none.
    device: u32,
    pub(crate) before: String,
    /// What we made of it. If it is something else, somebody else has changed it since.
    pub(crate) ours: String,
}

impl Memory {
    /// What is written in `path`; nothing is, if it is not there or not readable as what we write.
    pub(crate) fn read(path: Option<PathBuf>) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = boot.trim().to_owned();
        let fresh = Written {
            boot: boot.clone(),
            parameters: BTreeMap::new(),
        };
        let written = path
            .as_deref()
            .and_then(read_file)
            .filter(|written| written.boot == boot);
        Self {
            path,
            written: written.unwrap_or(fresh),
        }
    }

    /// The keys of what is remembered.
    pub(crate) fn keys(&self) -> Vec<SysctlKey> {
        self.written
            .parameters
            .keys()
            .filter_map(|path| SysctlKey::new(path).ok())
            .collect()
    }

    /// What is remembered of a parameter of the device with this index.
    pub(crate) fn get(&self, key: &SysctlKey, device: u32) -> Option<&Entry> {
        self.written
            .parameters
            .get(key.path())
            .filter(|entry| entry.device == device)
    }

    /// Remembers that a parameter is made `ours`. What it was before is what was remembered first.
    pub(crate) fn remember(&mut self, to: &Sysctl, device: u32, now: String) -> Result<(), Error> {
        let before = self
            .get(&to.key, device)
            .map_or(now, |entry| entry.before.clone());
        let entry = Entry {
            device,
            before,
            ours: to.value.clone(),
        };
        let old = self
            .written
            .parameters
            .insert(to.key.path().to_owned(), entry.clone());
        if old.as_ref() == Some(&entry) {
            Ok(())
        } else {
            self.save()
        }
    }

    pub(crate) fn forget(&mut self, key: &SysctlKey) -> Result<(), Error> {
        if self.written.parameters.remove(key.path()).is_some() {
            self.save()
        } else {
            Ok(())
        }
    }

    /// Its parameters went with it.
    pub(crate) fn forget_device(&mut self, device: u32) -> Result<(), Error> {
        let known = self.written.parameters.len();
        self.written
            .parameters
            .retain(|_, entry| entry.device != device);
        if self.written.parameters.len() == known {
            Ok(())
        } else {
            self.save()
        }
    }

    /// A new file is put in the place of the old one, or none if there is nothing to remember.
    fn save(&self) -> Result<(), Error> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let written = if self.written.parameters.is_empty() {
            match fs::remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            }
        } else {
            write_file(path, &self.written)
        };
        written.map_err(|source| Error::Memory {
            path: path.clone(),
            source,
        })
    }
}

fn read_file(path: &Path) -> Option<Written> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the memory of kernel parameters cannot be read; starting without");
            return None;
        }
    };
    serde_json::from_slice(&text)
        .inspect_err(|error| {
            tracing::warn!(path = %path.display(), %error, "this is not a memory of kernel parameters; starting without");
        })
        .ok()
}

fn write_file(path: &Path, written: &Written) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(&serde_json::to_vec_pretty(written)?)?;
    file.sync_all()?;
    fs::rename(beside, path)
}
