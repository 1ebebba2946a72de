//! The objects of all services: found by the service they speak of, and by their own key.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::facts::{ObjectKey, Problem, ServiceKey};
use crate::packed::{Kind, Object, ObjectName};

/// A service that some object speaks of.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: ServiceKey,
    /// In order of kind and key.
    pub(super) objects: Vec<Object>,
    pub(super) problems: Box<[Problem]>,
    /// It is to be built anew.
    pub(super) dirty: bool,
}

/// Number of a service; given to another one when no object speaks of it any more.
pub(super) type Number = u32;

#[derive(Debug, Default)]
pub(super) struct Services {
    entries: Vec<Entry>,
    free: Vec<Number>,
    hasher: RandomState,
    by_key: Index,
    by_object: Index,
}

/// Numbers by hash. The keys stand in the entries: there are too many to have them twice.
#[derive(Debug, Default)]
struct Index(HashTable<(u32, Number)>);

impl Services {
    pub(super) fn entry(&self, number: Number) -> &Entry {
        &self.entries[number as usize]
    }

    pub(super) fn entry_mut(&mut self, number: Number) -> &mut Entry {
        &mut self.entries[number as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Number, &Entry)> {
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| !entry.objects.is_empty())
            .map(|(number, entry)| (number as Number, entry))
    }

    pub(super) fn number(&self, key: &ServiceKey) -> Option<Number> {
        self.by_key
            .find(self.hash(key), |number| self.entry(number).key == *key)
    }

    pub(super) fn add(&mut self, key: ServiceKey) -> Number {
        let hash = self.hash(&key);
        let entry = Entry {
            key,
            objects: Vec::new(),
            problems: Box::default(),
            dirty: false,
        };
        let number = if let Some(number) = self.free.pop() {
            *self.entry_mut(number) = entry;
            number
        } else {
            self.entries.push(entry);
            (self.entries.len() - 1) as Number
        };
        self.by_key.insert(hash, number);
        number
    }

    /// Forgets a service of which no object speaks.
    pub(super) fn remove(&mut self, number: Number) {
        let hash = self.hash(&self.entry(number).key);
        self.by_key.remove(hash, number);
        self.free.push(number);
    }

    /// The service that an object speaks of.
    pub(super) fn owner(&self, kind: Kind, key: &ObjectKey) -> Option<Number> {
        let name = ObjectName::from(key);
        self.by_object.find(self.hash((kind, name)), |number| {
            self.entry(number).place(kind, name).is_ok()
        })
    }

    /// Gives a service an object, in place of the one with the same key.
    pub(super) fn put(&mut self, number: Number, kind: Kind, key: &ObjectKey, object: Object) {
        let name = ObjectName::from(key);
        let entry = self.entry_mut(number);
        match entry.place(kind, name) {
            Ok(at) => entry.objects[at] = object,
            Err(at) => {
                // Most services have as many as they will ever have.
                entry.objects.reserve_exact(1);
                entry.objects.insert(at, object);
                let hash = self.hash((kind, name));
                self.by_object.insert(hash, number);
            }
        }
    }

    pub(super) fn take(&mut self, number: Number, kind: Kind, key: &ObjectKey) -> Option<Object> {
        let name = ObjectName::from(key);
        let entry = self.entry_mut(number);
        let at = entry.place(kind, name).ok()?;
        let object = entry.objects.remove(at);
        let hash = self.hash((kind, name));
        self.by_object.remove(hash, number);
        Some(object)
    }

    fn hash(&self, key: impl std::hash::Hash) -> u32 {
        self.hasher.hash_one(key) as u32
    }
}

impl Entry {
    pub(super) fn object(&self, kind: Kind, key: &ObjectKey) -> Option<&Object> {
        let at = self.place(kind, ObjectName::from(key)).ok()?;
        Some(&self.objects[at])
    }

    fn place(&self, kind: Kind, name: ObjectName<'_>) -> Result<usize, usize> {
        self.objects
            .binary_search_by(|object| object.cmp_key(&self.key, kind, name))
    }
}

impl Index {
    fn find(&self, hash: u32, is: impl Fn(Number) -> bool) -> Option<Number> {
        let found = |(of, number): &(u32, Number)| *of == hash && is(*number);
        self.0.find(spread(hash), found).map(|(_, number)| *number)
    }

    fn insert(&mut self, hash: u32, number: Number) {
        self.0
            .insert_unique(spread(hash), (hash, number), |(hash, _)| spread(*hash));
    }

    fn remove(&mut self, hash: u32, number: Number) {
        if let Ok(entry) = self
            .0
            .find_entry(spread(hash), |have| *have == (hash, number))
        {
            entry.remove();
        }
    }
}

/// Half a hash is kept, and hashbrown wants both ends of a whole one.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
