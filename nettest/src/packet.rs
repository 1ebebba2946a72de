//! Packets as they are captured: whether one is a probe, and which packets to be given at all. Pure.

use std::net::IpAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use socket2::SockFilter;

use crate::report::Sighting;

/// A probe's payload: the token, its tag, and nothing up to the size that is wanted.
pub fn payload(token: &str, tag: u16, length: usize) -> Vec<u8> {
    let mut payload = token.as_bytes().to_vec();
    payload.extend(tag.to_be_bytes());
    payload.resize(length.max(payload.len()), 0);
    payload
}

/// An IP packet, if it is one of UDP and has the token somewhere: in itself, or in what it carries.
pub fn sighting(packet: &[u8], token: &str, link: &str) -> Option<Sighting> {
    let token = token.as_bytes();
    let at = packet
        .windows(token.len().max(1))
        .position(|window| window == token)?;
    let tag = packet.get(at + token.len()..at + token.len() + 2)?;
    let sliced = LaxSlicedPacket::from_ip(packet).ok()?;
    // A first piece has the header of UDP, which is not looked for in pieces.
    let (from, length, fragment, header) = match sliced.net? {
        LaxNetSlice::Ipv4(slice) => {
            let header = slice.header();
            (
                IpAddr::V4(header.source_addr()),
                header.total_len(),
                header.is_fragmenting_payload(),
                header.slice().len(),
            )
        }
        LaxNetSlice::Ipv6(slice) => {
            let header = slice.header();
            let length = header.payload_length().saturating_add(40);
            (
                IpAddr::V6(header.source_addr()),
                length,
                slice.is_payload_fragmented(),
                40,
            )
        }
        LaxNetSlice::Arp(_) => return None,
    };
    let port = match sliced.transport {
        Some(TransportSlice::Udp(udp)) => udp.destination_port(),
        None if fragment => {
            u16::from_be_bytes(packet.get(header + 2..header + 4)?.try_into().ok()?)
        }
        Some(_) | None => return None,
    };
    Some(Sighting {
        tag: u16::from_be_bytes(tag.try_into().ok()?),
        link: link.to_owned(),
        from,
        port,
        length,
        fragment,
    })
}

/// Lets packets of UDP to these ports through, and first pieces of them: a gateway has much else to carry. For sockets whose
/// packets begin with the IP header.
pub fn filter(ports: &[u16]) -> Vec<SockFilter> {
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    const LOAD_HALF_AT_X: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_IND) as u16;
    const HEADER_TO_X: u16 = (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16;
    const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const UDP: u32 = 17;
    let count = ports.len() as u8;
    let op = |code: u16, k: u32| SockFilter::new(code, 0, 0, k);
    // Jumps are counted from the next instruction.
    let unless = |k: u32, skip: u8| SockFilter::new(EQUAL, 0, skip, k);
    let to_ports = |instructions: &mut Vec<SockFilter>| {
        for (at, port) in ports.iter().enumerate() {
            let left = count - at as u8 - 1;
            // Past the other ports, and past what refuses.
            instructions.push(SockFilter::new(EQUAL, left + 1, 0, u32::from(*port)));
        }
        instructions.push(op(RETURN, 0));
        instructions.push(op(RETURN, u32::from(u16::MAX)));
    };
    let mut all = vec![op(LOAD_BYTE, 0), op(AND, 0xf0)];
    // IPv4: seven instructions, the ports, and two ends; further below IPv6.
    all.push(unless(0x40, 7 + count + 2));
    all.extend([op(LOAD_BYTE, 9), unless(UDP, 5 + count), op(LOAD_HALF, 6)]);
    all.extend([op(AND, 0x1fff), unless(0, 2 + count)]);
    all.extend([op(HEADER_TO_X, 0), op(LOAD_HALF_AT_X, 2)]);
    to_ports(&mut all);
    // IPv6, without what may stand before UDP.
    all.extend([op(LOAD_BYTE, 6), unless(UDP, 1 + count), op(LOAD_HALF, 42)]);
    to_ports(&mut all);
    all
}

#[cfg(test)]
mod tests {
    use etherparse::{IpFragOffset, Ipv4Header, PacketBuilder};
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "k3x9qa7b";

    fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ipv4([172, 20, 8, 11], [172, 20, 9, 11], 64).udp(40000, port);
        let mut packet = Vec::new();
        builder.write(&mut packet, payload).unwrap();
        packet
    }

    #[test]
    fn a_probe_is_known_by_its_token_and_told_by_its_tag() {
        let packet = udp(4500, &payload(TOKEN, 0x0102, 100));
        let seen = sighting(&packet, TOKEN, "eth0").unwrap();
        assert_eq!(
            (seen.tag, seen.port, seen.length, seen.fragment),
            (0x0102, 4500, 128, false)
        );
        assert_eq!(seen.from, IpAddr::from([172, 20, 8, 11]));
        assert_eq!(sighting(&packet, "k3x9qa7c", "eth0"), None);
        // What it was put into is what is told.
        let mut inside = vec![8, 0, 0, 0, 0, 0, 100, 0];
        inside.extend([0; 14]);
        inside.extend(&packet);
        let seen = sighting(&udp(4800, &inside), TOKEN, "eth0").unwrap();
        assert_eq!((seen.tag, seen.port), (0x0102, 4800));
    }

    #[test]
    fn of_ipv6_too() {
        let builder = PacketBuilder::ipv6([1; 16], [2; 16], 64).udp(40000, 4490);
        let mut packet = Vec::new();
        builder.write(&mut packet, &payload(TOKEN, 7, 60)).unwrap();
        let seen = sighting(&packet, TOKEN, "eth0").unwrap();
        assert_eq!((seen.tag, seen.port, seen.length), (7, 4490, 108));
    }

    #[test]
    fn a_first_piece_is_seen_as_one() {
        let whole = udp(4500, &payload(TOKEN, 1, 1472));
        let mut header = Ipv4Header::from_slice(&whole).unwrap().0;
        header.more_fragments = true;
        header.dont_fragment = false;
        header.fragment_offset = IpFragOffset::ZERO;
        header.total_len = 1276;
        let mut piece = Vec::new();
        header.write(&mut piece).unwrap();
        piece.extend(&whole[20..1276]);
        let seen = sighting(&piece, TOKEN, "eth0").unwrap();
        assert_eq!(
            (seen.tag, seen.port, seen.length, seen.fragment),
            (1, 4500, 1276, true)
        );
    }

    /// By the kernel: a filter of datagrams works on those between two processes as well.
    #[test]
    fn the_filter_lets_through_what_is_looked_for_and_nothing_else() {
        use std::os::fd::OwnedFd;
        use std::os::unix::net::UnixDatagram;

        let (near, far) = UnixDatagram::pair().unwrap();
        let far = socket2::Socket::from(OwnedFd::from(far));
        far.attach_filter(&filter(&[4500, 4800, 9])).unwrap();
        far.set_nonblocking(true).unwrap();
        let far = UnixDatagram::from(OwnedFd::from(far));
        let passes = |packet: &[u8]| {
            near.send(packet).unwrap();
            far.recv(&mut [0; 2000]).is_ok()
        };
        let to = |port| udp(port, b"x");
        for port in [4500, 4800, 9] {
            assert!(passes(&to(port)), "{port}");
        }
        assert!(!passes(&to(4501)) && !passes(&[]) && !passes(&[0x45; 8]));
        let mut packet = Vec::new();
        let tcp = PacketBuilder::ipv4([1; 4], [2; 4], 64).tcp(4500, 4500, 0, 0);
        tcp.write(&mut packet, b"x").unwrap();
        assert!(!passes(&packet));
        // Of pieces the first; the others have no ports.
        let mut piece = to(4500);
        piece[6] = 0x20;
        assert!(passes(&piece));
        piece[7] = 1;
        assert!(!passes(&piece));
        for (port, pass) in [(9, true), (10, false)] {
            let mut packet = Vec::new();
            let builder = PacketBuilder::ipv6([1; 16], [2; 16], 64).udp(40000, port);
            builder.write(&mut packet, b"x").unwrap();
            assert_eq!(passes(&packet), pass, "{port}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_arrives_panics(mut packet in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..200) {
            let probe = payload(TOKEN, 1, 0);
            let at = at.min(packet.len());
            packet.splice(at..at, probe);
            let _ = sighting(&packet, TOKEN, "eth0");
            let _ = sighting(&packet[..at + 9], TOKEN, "eth0");
        }
    }
}
