//! Which answers to our own writes are still news.
//!
//! An answer usually comes before the watch tells the same, and then saves planning from an old view. But it may also come late,
//! and the watch does not repeat itself: an answer that brings back an object after the watch said that it is gone, or takes away
//! one that somebody made anew, would never be corrected. What is left out here the watch tells, soon or already.

use std::collections::{HashMap, HashSet};

use crate::core::{ObjectId, Source};

/// What the watch said of an object while a write of it was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    /// It is there. Which state of it is the later one, its version tells.
    Applied,
    Gone,
}

#[derive(Debug, Default)]
pub(super) struct Answers {
    under_way: HashMap<(Source, Name), Heard>,
    /// Sources that a list is read of: what it does not name is gone, and so would be what an answer named meanwhile.
    listing: HashSet<Source>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Name {
    namespace: String,
    name: String,
}

impl Answers {
    /// A write is under way.
    pub(super) fn awaited(&mut self, id: &ObjectId) {
        self.under_way.insert(key(id), Heard::Nothing);
    }

    pub(super) fn applied(&mut self, source: Source, namespace: &str, name: &str) {
        self.heard(source, namespace, name, Heard::Applied);
    }

    pub(super) fn gone(&mut self, source: Source, namespace: &str, name: &str) {
        self.heard(source, namespace, name, Heard::Gone);
    }

    pub(super) fn started(&mut self, source: Source) {
        self.listing.insert(source);
    }

    /// All that the list did not name is gone.
    pub(super) fn listed(&mut self, source: Source) {
        self.listing.remove(&source);
        for ((of, _), heard) in &mut self.under_way {
            if *of == source {
                *heard = Heard::Gone;
            }
        }
    }

    /// The answer is there. Tells what it may still be used for.
    pub(super) fn arrived(&mut self, id: &ObjectId) -> Use {
        match self.under_way.remove(&key(id)) {
            _ if self.listing.contains(&id.source()) => Use::Nothing,
            Some(Heard::Nothing) => Use::All,
            Some(Heard::Applied) => Use::Object,
            Some(Heard::Gone) | None => Use::Nothing,
        }
    }

    fn heard(&mut self, source: Source, namespace: &str, name: &str, what: Heard) {
        if self.under_way.is_empty() {
            return;
        }
        let name = Name {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        if let Some(heard) = self.under_way.get_mut(&(source, name))
            && *heard != Heard::Gone
        {
            *heard = what;
        }
    }
}

/// What an answer may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// The object that it has, or that the object is gone.
    All,
    /// The object that it has, if its version is the latest; but not that the object is gone.
    Object,
    Nothing,
}

fn key(id: &ObjectId) -> (Source, Name) {
    let name = Name {
        namespace: id.namespace.clone(),
        name: id.name.clone(),
    };
    (id.source(), name)
}

#[cfg(test)]
mod tests {
    use super::{Answers, Use};
    use crate::core::{ObjectId, ObjectKind, Place, Source};

    fn export(name: &str) -> ObjectId {
        ObjectId {
            place: Place::Home,
            kind: ObjectKind::ServiceExport,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    /// What the answer to a write of an export is good for after the watch said something.
    fn after(watch: impl FnOnce(&mut Answers)) -> Use {
        let mut answers = Answers::default();
        answers.awaited(&export("web"));
        watch(&mut answers);
        answers.arrived(&export("web"))
    }

    #[test]
    fn an_answer_counts_until_the_watch_says_more() {
        let exports = Source::Exports;
        assert_eq!(after(|_| {}), Use::All);
        assert_eq!(
            after(|answers| answers.applied(exports, "shop", "web")),
            Use::Object
        );
        assert_eq!(
            after(|answers| answers.gone(exports, "shop", "web")),
            Use::Nothing
        );
        // Made anew: whether before or after our write, the watch has told of it, or will.
        let anew = after(|answers| {
            answers.gone(exports, "shop", "web");
            answers.applied(exports, "shop", "web");
        });
        assert_eq!(anew, Use::Nothing);
    }

    #[test]
    fn what_is_said_of_others_does_not_matter() {
        let others = after(|answers| {
            answers.gone(Source::Exports, "shop", "other");
            answers.gone(Source::Exports, "other", "web");
            answers.gone(Source::Services, "shop", "web");
            answers.started(Source::Services);
        });
        assert_eq!(others, Use::All);
    }

    #[test]
    fn a_list_says_of_all_that_it_does_not_name_that_it_is_gone() {
        assert_eq!(
            after(|answers| answers.started(Source::Exports)),
            Use::Nothing
        );
        let listed = after(|answers| {
            answers.started(Source::Exports);
            answers.listed(Source::Exports);
        });
        assert_eq!(listed, Use::Nothing);
        // A write that was sent after the list is news again.
        let mut answers = Answers::default();
        answers.started(Source::Exports);
        answers.listed(Source::Exports);
        answers.awaited(&export("web"));
        assert_eq!(answers.arrived(&export("web")), Use::All);
    }

    #[test]
    fn nothing_is_remembered_of_what_is_answered() {
        let mut answers = Answers::default();
        answers.awaited(&export("web"));
        answers.arrived(&export("web"));
        answers.gone(Source::Exports, "shop", "web");
        assert!(answers.under_way.is_empty());
    }
}
