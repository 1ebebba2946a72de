//! `diagnose firewall`: whether packets pass that have to. One pod sends them, another looks for them where they should arrive, before
//! that node's packet filter does.

pub(super) mod between;
pub(super) mod intra;

use subm_install::member::nettest::Stand;
use subm_nettest::report::{Seen, Sent};

use crate::commands::finding::Part;
use crate::commands::nettest::{Pod, Pods, Site, token};
use crate::error::Error;

/// How long to look; senders send five times a second.
const LOOK: u64 = 6;

/// How packets arrived of a sender that sends a small one and one as large as its device takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    Whole,
    /// Large ones in pieces, the first of which is so long.
    Cut(u16),
    SmallOnly,
    Nothing,
}

/// Of the packets to a port: those with this tag, and large ones with the next.
fn passage(seen: &Seen, port: u16, tag: u16) -> Passage {
    let with = |tag| {
        let all = seen.sightings.iter();
        all.filter(move |sighting| sighting.tag == tag && sighting.port == port)
    };
    let mut large = with(tag + 1);
    let whole = large.clone().any(|sighting| !sighting.fragment);
    match large.next() {
        Some(_) if whole => Passage::Whole,
        Some(piece) => Passage::Cut(piece.length),
        None if with(tag).next().is_some() => Passage::SmallOnly,
        None => Passage::Nothing,
    }
}

/// Who sends, to where.
struct Sender<'a> {
    site: &'a Site,
    node: &'a str,
    to: std::net::SocketAddr,
}

/// What arrived at a node, and what senders said that could not send. The n-th sender's tags begin with 2n.
async fn observe(
    pods: &Pods,
    (site, node): (&Site, &str),
    ports: &str,
    enough: usize,
    senders: &[Sender<'_>],
) -> Result<(Seen, Vec<Option<String>>), Error> {
    let token = token();
    let words = |text: String| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
    let mut started: Vec<Pod> = Vec::new();
    for (at, sender) in senders.iter().enumerate() {
        let (to, seconds) = (sender.to, pods.left().as_secs());
        let send = format!(
            "send --to {to} --token {token} --tag {} --seconds {seconds}",
            2 * at
        );
        started.push(
            pods.start(sender.site, sender.node, Stand::Node, &words(send))
                .await?,
        );
    }
    for pod in &started {
        pods.address(pod).await?;
    }
    let sniff = format!("sniff --ports {ports} --token {token} --enough {enough} --seconds {LOOK}");
    let sniffer = pods
        .start(site, node, Stand::Capture, &words(sniff))
        .await?;
    let seen = pods.answer::<Seen>(&sniffer).await?;
    let seen = seen.map_err(|why| Error::Broken(format!("node {node}: {why}")))?;
    let mut troubles = Vec::new();
    for pod in &started {
        let answer = pods.answer_by_now::<Sent>(pod).await?;
        troubles.push(answer.and_then(Result::err));
    }
    // What is left is tried again in the end.
    pods.remove().await;
    Ok((seen, troubles))
}

/// With `--verbose`, each packet.
fn seen(part: &mut Part, pods: &Pods, node: &str, arrived: &Seen) {
    for sighting in arrived.sightings.iter().filter(|_| pods.verbose) {
        part.good(format!(
            "On node {node} at {}: UDP from {} to port {}, {} bytes{}",
            sighting.link,
            sighting.from,
            sighting.port,
            sighting.length,
            if sighting.fragment {
                ", a first piece"
            } else {
                ""
            }
        ));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use subm_nettest::report::Sighting;

    pub(in crate::commands::diagnose) fn sighting(
        tag: u16,
        port: u16,
        length: u16,
        fragment: bool,
    ) -> Sighting {
        Sighting {
            tag,
            link: "eth0".to_owned(),
            from: [172, 20, 8, 11].into(),
            port,
            length,
            fragment,
        }
    }

    #[test]
    fn a_passage_is_as_good_as_the_large_packet_passes() {
        let of = |sightings: &[Sighting]| {
            passage(
                &Seen {
                    sightings: sightings.to_vec(),
                },
                4500,
                2,
            )
        };
        let (small, large) = (
            sighting(2, 4500, 100, false),
            sighting(3, 4500, 1500, false),
        );
        let piece = sighting(3, 4500, 1276, true);
        assert_eq!(of(&[]), Passage::Nothing);
        assert_eq!(of(std::slice::from_ref(&small)), Passage::SmallOnly);
        assert_eq!(of(&[small.clone(), piece.clone()]), Passage::Cut(1276));
        // In pieces as soon as the kernel knew the way.
        assert_eq!(of(&[small, piece, large.clone()]), Passage::Whole);
        assert_eq!(of(&[large]), Passage::Whole);
        // Somebody else's.
        assert_eq!(
            of(&[sighting(0, 4500, 100, false), sighting(2, 4800, 100, false)]),
            Passage::Nothing
        );
    }
}
