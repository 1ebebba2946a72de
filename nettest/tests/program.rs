//! The program as pods run it: words in, one line of JSON out, on standard output and in a file. On loopback; capturing needs root.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde::de::DeserializeOwned;
use subm_nettest::report::{Latency, Node, Seen, Sent, Throughput, decode};

fn nettest(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_subm-nettest"));
    command
        .args(words.split(' '))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn answer<T: DeserializeOwned>(words: &str) -> Result<T, String> {
    let output = nettest(words).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let answer = decode(text.trim_end());
    assert_eq!(output.status.success(), answer.is_ok(), "{text}");
    answer
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Nobody has it now.
fn free(of_udp: bool) -> SocketAddr {
    let any = (Ipv4Addr::LOCALHOST, 0);
    if of_udp {
        UdpSocket::bind(any).unwrap().local_addr().unwrap()
    } else {
        TcpListener::bind(any).unwrap().local_addr().unwrap()
    }
}

#[test]
fn it_measures_to_a_server() {
    let to = free(false);
    let serve = format!("serve --port {} --seconds 60 --token abcdefgh", to.port());
    let _server = Running(nettest(&serve).spawn().unwrap());
    let figures: Throughput = answer(&format!(
        "throughput --to {to} --token abcdefgh --seconds 1 --streams 2"
    ))
    .unwrap();
    assert!(figures.bytes > 0 && figures.seconds >= 1.0, "{figures:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let figures: Latency = answer(&format!(
        "--result {path} latency --to {to} --token abcdefgh --seconds 1"
    ))
    .unwrap();
    assert!(figures.transactions > 0 && figures.min <= figures.mean);
    let kept = std::fs::read_to_string(file.path()).unwrap();
    assert_eq!(decode(&kept), Ok(figures));
}

#[test]
fn what_is_sent_is_seen_whoever_listens() {
    // The port is in use, as that of a cable is.
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = taken.local_addr().unwrap();
    let send = format!("send --to {to} --token abcdefgh --tag 4 --seconds 60");
    let sender = Running(nettest(&send).spawn().unwrap());
    let sniff = |token: &str, seconds: u8| {
        answer::<Seen>(&format!(
            "sniff --ports {},9 --token {token} --enough 2 --seconds {seconds}",
            to.port()
        ))
        .unwrap()
    };
    let seen = sniff("abcdefgh", 10).sightings;
    let short: Vec<_> = seen
        .iter()
        .map(|sighting| (sighting.tag, &*sighting.link, sighting.port))
        .collect();
    assert_eq!(short, [(4, "lo", to.port()), (5, "lo", to.port())]);
    assert!(seen[0].length == 100 && seen[1].length > 1000, "{seen:?}");
    assert!(sniff("abcdefgx", 1).sightings.is_empty());
    drop(sender);
    let sent: Sent = answer(&format!("send --to {to} --token x --seconds 0")).unwrap();
    assert_eq!((sent.packets, sent.refused), (2, None));
}

#[test]
fn it_looks_at_devices_and_ways() {
    let node: Node = answer("look --links lo,none 127.0.0.0/8").unwrap();
    assert!(
        matches!(&node.links[..], [lo] if lo.name == "lo"),
        "{node:?}"
    );
    assert_eq!(node.ways[0].link.as_deref(), Some("lo"));
}

#[test]
fn nobody_there_is_said_and_no_success() {
    let to = free(false);
    let why =
        answer::<Latency>(&format!("latency --to {to} --token abcdefgh --patience 0")).unwrap_err();
    assert!(why.starts_with(&to.to_string()), "{why}");
    // A file that cannot be written is no success either.
    let nowhere = Path::new("/proc/nowhere/x");
    let words = format!("--result {} look 127.0.0.0/8", nowhere.display());
    let output = nettest(&words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("/proc/nowhere/x"),
        "{said}"
    );
}
