//! Real DNS clients: dig (BIND) and kdig (Knot), and what they print as a value.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::Binaries;

/// A client's own time limit is below this one.
const LIMIT: Duration = Duration::from_secs(30);

/// What a client printed about a reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The rcode as text, such as `NOERROR`; empty when no reply came.
    pub status: String,
    /// Header flags in lower case, such as `qr` and `aa`.
    pub flags: Vec<String>,
    /// Records of the answer section, one line each, fields separated by one blank.
    pub answer: Vec<String>,
    pub authority: Vec<String>,
    pub additional: Vec<String>,
    /// All that the client printed, on standard output and standard error.
    pub text: String,
}

impl Reply {
    /// Whether a header flag is set.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|have| have == flag)
    }

    /// The last fields (data) of the answer's records of `rtype`, sorted.
    pub fn answers(&self, rtype: &str) -> Vec<String> {
        let mut data: Vec<String> = self
            .answer
            .iter()
            .filter_map(|record| {
                // owner, TTL, class, type, data
                let mut fields = record.splitn(5, ' ').skip(3);
                (fields.next() == Some(rtype)).then(|| fields.next().unwrap_or("").to_owned())
            })
            .collect();
        data.sort();
        data
    }

    fn parse(text: String) -> Self {
        let mut reply = Self::default();
        let mut section = None;
        for line in text.lines() {
            if let Some(note) = line.strip_prefix(";;") {
                let note = note.trim().to_lowercase();
                reply.read_header(&note);
                section = Section::titled(&note);
            } else if let Some(section) = &section
                && !line.starts_with(';')
                && !line.trim().is_empty()
            {
                let record = line.split_whitespace().collect::<Vec<_>>().join(" ");
                match section {
                    Section::Answer => reply.answer.push(record),
                    Section::Authority => reply.authority.push(record),
                    Section::Additional => reply.additional.push(record),
                }
            }
        }
        reply.text = text;
        reply
    }

    /// dig separates by commas what kdig separates by semicolons. Only the DNS header's status counts, as HTTP has one too,
    /// and only the first flags, as the EDNS section has some.
    fn read_header(&mut self, note: &str) {
        let value = |key| {
            let (_, rest) = note.split_once(key)?;
            rest.split([',', ';']).next().map(str::trim)
        };
        if note.contains("opcode:")
            && let Some(status) = value("status:")
        {
            self.status = status.to_uppercase();
        }
        if self.flags.is_empty()
            && note.starts_with("flags:")
            && let Some(flags) = value("flags:")
        {
            self.flags = flags.split_whitespace().map(String::from).collect();
        }
    }
}

enum Section {
    Answer,
    Authority,
    Additional,
}

impl Section {
    fn titled(note: &str) -> Option<Self> {
        match note {
            "answer section:" => Some(Self::Answer),
            "authority section:" => Some(Self::Authority),
            "additional section:" => Some(Self::Additional),
            _ => None,
        }
    }
}

/// Runs `dig @server -p port` with further arguments, such as `["+tcp", "example.org", "A"]`.
///
/// One try of three seconds unless the arguments say otherwise. That no reply came is no error: the status is empty then.
pub async fn dig(server: SocketAddr, args: &[&str]) -> Result<Reply> {
    run("dig", server, &["+tries=1", "+time=3"], args).await
}

/// Runs `kdig @server -p port` with further arguments, such as `["+tls", "example.org", "A"]`. As [`dig`] otherwise.
pub async fn kdig(server: SocketAddr, args: &[&str]) -> Result<Reply> {
    run("kdig", server, &["+retry=0", "+time=3"], args).await
}

async fn run(name: &str, server: SocketAddr, defaults: &[&str], args: &[&str]) -> Result<Reply> {
    let output = tokio::process::Command::new(Binaries::find(name)?)
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string()])
        .args(defaults)
        .args(args)
        // No ~/.digrc of whoever runs the tests.
        .env("HOME", "/nonexistent")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, output)
        .await
        .with_context(|| format!("{name} did not end within {LIMIT:?}"))??;
    let text = [output.stdout, output.stderr].concat();
    Ok(Reply::parse(String::from_utf8_lossy(&text).into_owned()))
}

#[cfg(test)]
mod tests;
