//! What tables have in common: query files, samples, and CPU time per query.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::awake::Awake;
use crate::data::{DataSet, Workload};
use crate::dnsperf;
use crate::openloop;
use crate::probe::{Client, PATIENCE, Question, Reply};
use crate::server::Server;
use crate::tables::Lab;

/// Queries of which replies are looked at.
const SAMPLE: usize = 100;

/// A workload's queries, as a file and as messages.
pub struct Queries {
    pub path: PathBuf,
    pub questions: Vec<Question>,
    pub edns: bool,
}

impl Queries {
    /// An error if the data set has nothing to ask for.
    pub fn write(folder: &Path, workload: Workload, data: &DataSet) -> anyhow::Result<Self> {
        let text = workload.queries_of(data);
        ensure!(
            !text.is_empty(),
            "{data:?} has nothing to ask for with {:?}; take more services",
            workload.name()
        );
        let path = folder.join(format!("{workload:?}.queries"));
        std::fs::write(&path, &text).with_context(|| path.display().to_string())?;
        Ok(Self {
            path,
            questions: Question::read(&text, workload.edns())?,
            edns: workload.edns(),
        })
    }

    /// Replies to the first queries.
    pub fn sample(&self, server: &Server) -> anyhow::Result<Vec<Reply>> {
        let mut client = Client::of(server.addr, PATIENCE)?;
        let sample = self.questions.iter().take(SAMPLE);
        sample
            .map(|question| client.ask(question))
            .collect::<Result<_, _>>()
            .with_context(|| format!("{} at {}", server.name, server.addr))
    }
}

/// Whether servers do the same work: an error unless code and number of answer records agree, and nothing is cut.
pub fn ensure_same_answers(samples: &[(&str, &[Reply])]) -> anyhow::Result<()> {
    let matters = |reply: &Reply| (reply.rcode, reply.answers, reply.truncated);
    let Some(((first, expected), others)) = samples.split_first() else {
        return Ok(());
    };
    ensure!(
        !expected.iter().any(|reply| reply.truncated),
        "{first} cuts replies"
    );
    for (name, replies) in others {
        for (at, (expected, reply)) in expected.iter().zip(*replies).enumerate() {
            ensure!(
                matters(expected) == matters(reply),
                "query {at}: {first} says {expected:?}, {name} {reply:?}"
            );
        }
    }
    Ok(())
}

/// Microseconds of the server's CPU per query while dnsperf on core 1 asks as fast as it can.
pub fn saturated(lab: &Lab, server: &Server, queries: &Queries) -> anyhow::Result<f64> {
    let load = dnsperf::Load {
        mode: "udp",
        server: server.addr,
        queries: &queries.path,
        edns: queries.edns,
        seconds: lab.seconds,
        sockets: 1,
        cores: &[1],
    };
    per_query(server, || Ok(load.run()?.completed))
}

/// Latencies at a rate, the client on core 1 and core 0 kept awake, and microseconds of the server's CPU per query meanwhile.
pub fn paced(
    lab: &Lab,
    server: &Server,
    queries: &Queries,
    rate: f64,
) -> anyhow::Result<(openloop::Latency, f64)> {
    let load = openloop::Load {
        server: server.addr,
        questions: &queries.questions,
        rate,
        seconds: lab.seconds,
        core: 1,
    };
    let _awake = Awake::keep(0)?;
    let mut latency = None;
    let micros = per_query(server, || {
        let outcome = load.run().with_context(|| server.name.clone())?;
        latency = Some(outcome);
        Ok(outcome.answered)
    })?;
    Ok((latency.context("no load was run")?, micros))
}

/// CPU time of the server during `load`, which says how many queries were answered.
pub fn per_query(
    server: &Server,
    load: impl FnOnce() -> anyhow::Result<u64>,
) -> anyhow::Result<f64> {
    let before = server.cpu_time()?;
    let answered = load()?;
    ensure!(answered > 0, "{} answered no query", server.name);
    let used = server.cpu_time()?.saturating_sub(before);
    Ok(used.as_secs_f64() * 1e6 / answered as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_must_agree_on_answers_but_not_on_sizes() {
        let reply = Reply {
            rcode: 0,
            answers: 3,
            truncated: false,
            size: 90,
        };
        let longer = Reply { size: 120, ..reply };
        let fewer = Reply {
            answers: 2,
            ..reply
        };
        let cut = Reply {
            truncated: true,
            ..reply
        };
        assert!(ensure_same_answers(&[("a", &[reply]), ("b", &[longer])]).is_ok());
        let error = ensure_same_answers(&[("a", &[reply]), ("b", &[fewer])]);
        assert!(error.is_err_and(|error| error.to_string().starts_with("query 0: a says")));
        assert!(ensure_same_answers(&[("a", &[cut]), ("b", &[cut])]).is_err());
    }
}
