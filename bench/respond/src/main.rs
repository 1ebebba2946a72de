//! Answers one kind of query over and over, for callgrind to count: `respond KIND [TIMES]`. Without a kind it lists them.
//!
//! Only [`measured`] is to be counted (`--toggle-collect`); it does nothing but call `respond()`.

mod kinds;
mod world;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use subm_dns_core::ledger::Ledger;
use subm_dns_core::respond::{Ask, Outcome, Transport, respond};

use crate::world::World;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(name) = args.next() else {
        for kind in kinds::ALL {
            println!("{}", kind.name);
        }
        return ExitCode::SUCCESS;
    };
    let Some(kind) = kinds::ALL.iter().find(|kind| kind.name == name) else {
        eprintln!("no kind {name:?}; without an argument all are listed");
        return ExitCode::FAILURE;
    };
    let times = args
        .next()
        .and_then(|times| times.parse().ok())
        .unwrap_or(1000);
    let world = World::new();
    let queries: Vec<Vec<u8>> = (0..times).map(|i| (kind.query)(i)).collect();
    let ledger = Ledger::new(&world.snapshot, 1);
    let mut out = vec![0; 4096];
    let replies = measured(&world, &queries, &ledger, &mut out);
    let rcode = u16::from(out[3] & 0x0f);
    let answers = u16::from_be_bytes([out[6], out[7]]);
    if replies == times && (rcode, answers) == (kind.rcode, kind.answers) {
        ExitCode::SUCCESS
    } else {
        eprintln!(
            "{name}: {replies} of {times} answered, the last with rcode {rcode} and {answers} records instead of rcode {} and {}",
            kind.rcode, kind.answers
        );
        ExitCode::FAILURE
    }
}

/// Answers all queries; gives the number of replies.
#[inline(never)]
fn measured(world: &World, queries: &[Vec<u8>], ledger: &Ledger, out: &mut [u8]) -> usize {
    let ask = Ask {
        transport: Transport::Udp,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        now: 1_700_000_000,
    };
    let mut replies = 0;
    for query in queries {
        let outcome = respond(
            &world.authority,
            Some(&world.snapshot),
            &world.status,
            black_box(query),
            &ask,
            ledger,
            black_box(&mut *out),
        );
        replies += usize::from(matches!(outcome, Outcome::Reply { .. }));
    }
    replies
}
