//! The program `nft`, spoken to in JSON.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::{Error, Name, Observed, Plan, Ruleset};

/// The table, unless another is asked for.
pub const TABLE: Name = Name::literal("submariner");

/// The kernel's packet filter by way of the program `nft` of the package nftables.
///
/// It reads and writes one table of the family `inet` in the network namespace of the calling thread, and nothing else. One program
/// at a time may own a table: two with different desires would replace each other's.
///
/// ```no_run
/// # async fn f(desired: subm_nat::Ruleset) -> Result<(), subm_nat::Error> {
/// let nft = subm_nat::Nft::new();
/// nft.check().await?;
/// let done = nft.reconcile(&desired).await?;
/// println!("{done}");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Nft {
    program: PathBuf,
    table: Name,
    limit: Duration,
}

/// A version of nft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// The oldest that this crate is tested with.
    pub const MINIMUM: Self = Self(1, 0, 6);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Default for Nft {
    fn default() -> Self {
        Self::new()
    }
}

impl Nft {
    /// `nft` from the search path, table [`TABLE`], 10 s for each call.
    pub fn new() -> Self {
        Self {
            program: "nft".into(),
            table: TABLE,
            limit: Duration::from_secs(10),
        }
    }

    /// Another program.
    #[must_use]
    pub fn program(self, program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            ..self
        }
    }

    /// Another table.
    #[must_use]
    pub fn table(self, table: Name) -> Self {
        Self { table, ..self }
    }

    /// How long one call of the program may take before it is killed.
    #[must_use]
    pub fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Whether the program is there and new enough; its version. For the start of a program: nobody else asks.
    pub async fn check(&self) -> Result<Version, Error> {
        let output = self.run(&["--version"], None).await?;
        let output = self.expect(&["--version"], output)?;
        let found = read_version(&output).ok_or(Error::Shape("version"))?;
        if found < Version::MINIMUM {
            let program = self.program.clone();
            return Err(Error::TooOld { program, found });
        }
        Ok(found)
    }

    /// Reads our table.
    pub async fn observe(&self) -> Result<Observed, Error> {
        let arguments = ["-j", "list", "table", "inet", self.table.as_str()];
        let output = self.run(&arguments, None).await?;
        if output.status.success() {
            return Observed::read(&self.table, &output.stdout);
        }
        // It fails too if there is no table. Names of tables tell that apart, and do not depend on words for people.
        let tables = ["-j", "list", "tables", "inet"];
        let listing = self.run(&tables, None).await?;
        let listing = self.expect(&tables, listing)?;
        if Observed::read(&self.table, &listing)?.exists() {
            self.expect(&arguments, output)?;
        }
        Ok(Observed::absent())
    }

    /// Loads what a plan says: all of it or, with an error, nothing.
    pub async fn apply(&self, plan: &Plan) -> Result<(), Error> {
        let Some(transaction) = plan.transaction(&self.table) else {
            return Ok(());
        };
        let arguments = ["-j", "-f", "-"];
        let output = self.run(&arguments, Some(&transaction)).await?;
        self.expect(&arguments, output)?;
        tracing::debug!(table = %self.table, %plan, bytes = transaction.len(), "packet filter changed");
        Ok(())
    }

    /// Observes, plans and applies once; what was done. With nothing to do nothing is written.
    pub async fn reconcile(&self, desired: &Ruleset) -> Result<Plan, Error> {
        let plan = Plan::new(desired, &self.observe().await?)?;
        self.apply(&plan).await?;
        Ok(plan)
    }

    /// Removes our table; whether there was one.
    pub async fn remove(&self) -> Result<bool, Error> {
        let plan = self.reconcile(&Ruleset::new()).await?;
        Ok(!plan.is_empty())
    }

    async fn run(&self, arguments: &[&str], input: Option<&str>) -> Result<Output, Error> {
        let program = || self.program.clone();
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(if input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| Error::Program {
            program: program(),
            source,
        })?;
        let stdin = child.stdin.take();
        let talk = async {
            let write = async {
                if let (Some(mut stdin), Some(input)) = (stdin, input) {
                    // A program that ends early says why on standard error.
                    let _ = stdin.write_all(input.as_bytes()).await;
                }
            };
            tokio::join!(write, child.wait_with_output()).1
        };
        match tokio::time::timeout(self.limit, talk).await {
            Ok(output) => output.map_err(|source| Error::Io {
                program: program(),
                source,
            }),
            Err(_) => Err(Error::TimedOut {
                program: program(),
                arguments: arguments.join(" "),
                limit: self.limit,
            }),
        }
    }

    /// What it printed, if it succeeded.
    fn expect(&self, arguments: &[&str], output: Output) -> Result<Vec<u8>, Error> {
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = &output.stderr[..output.stderr.len().min(2000)];
        Err(Error::Refused {
            program: self.program.clone(),
            arguments: arguments.join(" "),
            status: output.status,
            stderr: String::from_utf8_lossy(said).trim().to_owned(),
        })
    }

    /// The program that is called.
    pub fn path(&self) -> &Path {
        &self.program
    }
}

/// From `nftables v1.0.6 (Lester Gooch #5)`.
fn read_version(output: &[u8]) -> Option<Version> {
    let text = String::from_utf8_lossy(output);
    let word = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix('v'))?;
    let mut numbers = word.split('.').map(|part| part.parse().ok());
    let mut next = || numbers.next().unwrap_or(Some(0));
    Some(Version(next()?, next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let read = |text: &str| read_version(text.as_bytes());
        assert_eq!(
            read("nftables v1.0.6 (Lester Gooch #5)\n"),
            Some(Version(1, 0, 6))
        );
        assert_eq!(read("nftables v1.1 (x)"), Some(Version(1, 1, 0)));
        assert_eq!(read("something else"), None);
        assert_eq!(read("v1.x.3"), None);
        assert!(Version(0, 9, 9) < Version::MINIMUM && Version(1, 1, 0) > Version::MINIMUM);
    }
}
