use std::collections::BTreeMap;

use proptest::prelude::*;
use smallvec::SmallVec;

use super::*;
use crate::facts::{ServiceKey, ServiceType};
use crate::snapshot::{Addresses, Octets, Scope, ScopeKind, Srv, owner_of};

fn service(name: u8, endpoints: u32) -> Arc<Service> {
    let key = ServiceKey::new("shop", &format!("s{name}")).expect("labels");
    Arc::new(Service {
        owner: owner_of(&key),
        root: Scope {
            a: Addresses::None,
            aaaa: Addresses::None,
            srv: Srv::None,
            kind: ScopeKind::Service,
            prefix: Octets::new(),
        },
        turn: 0,
        hits: 0,
        ports: SmallVec::new(),
        clusters: SmallVec::new(),
        cluster_ids: Box::default(),
        below: Box::default(),
        key,
        endpoints,
        kind: ServiceType::Headless,
    })
}

/// Few different hashes, so that searches run into one another and round the end of the array.
fn hash(name: u8) -> u32 {
    u32::from(name % 5) * 7 + 11
}

proptest! {
    #[test]
    fn holds_what_a_map_would_hold(
        steps in proptest::collection::vec((0..40_u8, proptest::option::of(0..1000_u32)), 1..200)
    ) {
        let mut shard = Shard::default();
        let mut model = BTreeMap::new();
        for (name, endpoints) in steps {
            let key = service(name, 0).wire_key().to_vec();
            if let Some(endpoints) = endpoints {
                shard.insert(hash(name), service(name, endpoints));
                model.insert(name, endpoints);
            } else {
                shard.remove(hash(name), &key);
                model.remove(&name);
            }
            for name in 0..40 {
                let key = service(name, 0).wire_key().to_vec();
                let found = shard.get(hash(name), &key).map(|service| service.endpoints);
                prop_assert_eq!(found, model.get(&name).copied());
            }
            prop_assert_eq!(shard.services().count(), model.len());
        }
    }
}
