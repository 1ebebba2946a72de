//! The servers that are compared, one file each. They serve the same records from one process or worker each, and
//! have their logs and rate limits off.

pub mod echo;
pub mod knot;
pub mod lighthouse;
pub mod nsd;
pub mod zone;

use std::path::{Path, PathBuf};

use crate::data::DataSet;
use crate::server::Server;
use crate::tables::Lab;

/// Names of columns.
pub const ECHO: &str = "UDP echo";
pub const PADDED_ECHO: &str = "echo, same reply size";
pub const LIGHTHOUSE: &str = "lighthouse-dns";
pub const KNOT: &str = "Knot";
pub const NSD: &str = "NSD";

/// lighthouse-dns with a data set, and the zone that it makes of it.
pub struct Origin {
    pub lighthouse: Server,
    /// Its zone transfer as a zone file: the peers cannot serve anything else.
    pub zone: PathBuf,
    /// Has the zone and room for more.
    pub folder: PathBuf,
}

impl Origin {
    /// Writes the data set into a folder of this name, serves it with one worker on core 0, and takes the zone.
    pub fn start(lab: &Lab, name: &str, data: &DataSet) -> anyhow::Result<Self> {
        let folder = lab.folder.join(name);
        let manifests = folder.join("manifests");
        data.write(&manifests)?;
        let lighthouse = lighthouse::start(lab, &manifests, "0", 1)?;
        let zone = folder.join("zone");
        zone::transfer(lighthouse.addr, &zone)?;
        Ok(Self {
            lighthouse,
            zone,
            folder,
        })
    }

    pub fn manifests(&self) -> PathBuf {
        self.folder.join("manifests")
    }

    /// Echo, lighthouse-dns, Knot and NSD, each with one worker on core 0.
    pub fn with_peers(self, lab: &Lab) -> anyhow::Result<[Server; 4]> {
        Ok([
            echo::start(lab, None)?,
            knot::start(&self.zone, &self.folder, "0", 1)?,
            nsd::start(&self.zone, &self.folder, "0", 1)?,
            self.lighthouse,
        ])
        .map(|[echo, knot, nsd, lighthouse]| [echo, lighthouse, knot, nsd])
    }
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}
