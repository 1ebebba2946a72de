//! Objects as their JSON text. Parsed they take about ten times the memory, in maps and strings of their own, and are looked
//! at only when their service is planned.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::view::{ServiceView, Slot};

/// A [`ServiceView`] at rest.
#[derive(Clone, Debug, Default)]
pub(super) struct PackedView {
    objects: Vec<Packed>,
}

#[derive(Clone, Debug)]
struct Packed {
    slot: Slot,
    name: Box<str>,
    json: Box<str>,
}

impl PackedView {
    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    pub(super) fn has(&self, slot: Slot) -> bool {
        self.objects.iter().any(|object| object.slot == slot)
    }

    /// Whether any object may have to do with a cluster: its id stands in it as a word of its own. True too often does no harm.
    pub(super) fn mentions(&self, cluster: &str) -> bool {
        let word = format!("\"{cluster}\"");
        self.objects
            .iter()
            .any(|object| object.json.contains(&word))
    }

    pub(super) fn put<T: Serialize>(&mut self, slot: Slot, name: &str, object: &T) {
        self.remove(slot, name);
        // Objects that came as JSON can be written as JSON.
        let json = serde_json::to_string(object).unwrap_or_default();
        self.objects.push(Packed {
            slot,
            name: name.into(),
            json: json.into(),
        });
    }

    pub(super) fn remove(&mut self, slot: Slot, name: &str) {
        self.objects
            .retain(|object| object.slot != slot || *object.name != *name);
    }

    pub(super) fn unpack(&self) -> ServiceView {
        let mut view = ServiceView::default();
        for object in &self.objects {
            let (name, json) = (object.name.to_string(), &object.json);
            match object.slot {
                Slot::Export => view.export = read(json),
                Slot::Service => view.service = read(json),
                Slot::Import => view.import = read(json),
                Slot::Derived => view.derived = read(json),
                Slot::Backend => view.backends.extend(named(name, json)),
                Slot::Slice => view.slices.extend(named(name, json)),
                Slot::PerCluster => view.per_cluster.extend(named(name, json)),
                Slot::DerivedSlice => view.derived_slices.extend(named(name, json)),
                Slot::Aggregate => view.aggregates.extend(named(name, json)),
                Slot::Record => view.records.extend(named(name, json)),
                Slot::BrokerSlice => view.broker_slices.extend(named(name, json)),
            }
        }
        view
    }
}

fn read<T: DeserializeOwned>(json: &str) -> Option<T> {
    subm_api::from_json(json).ok()
}

fn named<T: DeserializeOwned>(name: String, json: &str) -> Option<(String, T)> {
    Some((name, read(json)?))
}
