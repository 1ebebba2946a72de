//! The answers: what pods say and `subctl` reads.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// So much of a termination message is kept.
pub const LIMIT: usize = 4096;
/// Where Kubernetes takes it from.
pub const TERMINATION_LOG: &str = "/dev/termination-log";

/// An answer, or why there is none, as one line.
pub fn encode<T: Serialize>(answer: &Result<T, String>) -> String {
    let text = serde_json::to_string(answer).unwrap_or_default();
    if (1..=LIMIT).contains(&text.len()) {
        return text;
    }
    let long: Result<(), String> = Err(format!("the answer has {} bytes", text.len()));
    serde_json::to_string(&long).unwrap_or_default()
}

/// What [`encode`] made.
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    match serde_json::from_str(text) {
        Ok(answer) => answer,
        Err(error) => Err(format!("{text:?} is no answer: {error}")),
    }
}

/// How much came through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    pub streams: u32,
    /// From the first byte sent to the last one received.
    pub seconds: f64,
    /// As the receiver counted them.
    pub bytes: u64,
}

impl Throughput {
    pub fn bits_per_second(&self) -> f64 {
        if self.seconds > 0.0 {
            self.bytes as f64 * 8.0 / self.seconds
        } else {
            0.0
        }
    }
}

/// How long a request of one byte takes until its answer is there; microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub min: f64,
    pub mean: f64,
    pub max: f64,
    pub stddev: f64,
    pub transactions: u64,
    pub seconds: f64,
}

impl Latency {
    /// Transactions in a second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 {
            self.transactions as f64 / self.seconds
        } else {
            0.0
        }
    }
}

/// What a sender did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Packets.
    pub packets: u32,
    /// How its node sends to that address, if at all.
    pub path: Option<Path>,
    /// What the kernel said to the last packet that it did not take.
    pub refused: Option<String>,
}

/// How a node sends packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    pub link: String,
    pub via: Option<IpAddr>,
    /// Of the device, in bytes.
    pub mtu: u32,
}

/// What arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub sightings: Vec<Sighting>,
}

/// A packet with the token in it; equal ones are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sighting {
    /// Which of the senders' packets it was.
    pub tag: u16,
    /// Where it arrived.
    pub link: String,
    pub from: IpAddr,
    /// UDP, as the outermost header has it.
    pub port: u16,
    /// Of the IP packet, in bytes.
    pub length: u16,
    /// Somebody on the way, or the sender's kernel, has cut it into pieces.
    pub fragment: bool,
}

/// What is in a node's kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The device of the default route.
    pub uplink: Option<Link>,
    /// Those that were asked for and are there.
    pub links: Vec<Link>,
    /// How it would send to the networks that were asked for.
    pub ways: Vec<Way>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub name: String,
    pub mtu: u32,
    pub up: bool,
}

/// Networks that are reached alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// `None`: not at all.
    pub link: Option<String>,
    pub via: Option<IpAddr>,
    pub networks: u32,
    /// The first of them.
    pub some: Vec<IpNet>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back_as_it_was() {
        let latency = Latency {
            min: 21.5,
            mean: 30.25,
            max: 900.0,
            stddev: 4.5,
            transactions: 1000,
            seconds: 2.0,
        };
        assert_eq!(decode(&encode(&Ok(latency.clone()))), Ok(latency.clone()));
        assert!((latency.rate() - 500.0).abs() < 1e-9);
        let refused: Result<Latency, String> = Err("no".to_owned());
        assert_eq!(decode(&encode(&refused)), refused);
        assert!(decode::<Latency>("").is_err() && decode::<Latency>("{\"Ok\":1}").is_err());
    }

    #[test]
    fn what_would_be_cut_off_is_said_instead() {
        let long: Result<String, String> = Ok("x".repeat(LIMIT));
        let text = encode(&long);
        assert!(text.len() < 100);
        assert_eq!(
            decode::<String>(&text),
            Err(format!("the answer has {} bytes", LIMIT + 9))
        );
    }

    #[test]
    fn nothing_in_no_time_is_no_rate() {
        let none = Throughput {
            streams: 1,
            seconds: 0.0,
            bytes: 0,
        };
        assert!(none.bits_per_second().abs() < f64::EPSILON);
    }
}
