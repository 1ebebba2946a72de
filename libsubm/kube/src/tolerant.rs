//! Objects of which one without the shape of its kind spoils no other.

use std::borrow::Cow;

use kube::Resource;
use kube::core::{ObjectMeta, PartialObjectMeta};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// What kube's `DeserializeGuard` is, for JSON text alone: it builds no tree of each object.
#[derive(Clone, Debug)]
pub(crate) struct Tolerant<K>(pub(crate) Result<K, Invalid>);

#[derive(Clone, Debug)]
pub(crate) struct Invalid {
    pub(crate) metadata: ObjectMeta,
    pub(crate) error: String,
}

impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for Tolerant<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        subm_api::from_json(text)
            .map(Ok)
            .or_else(|error| {
                let object: PartialObjectMeta<K> = serde_json::from_str(text)?;
                Ok(Err(Invalid {
                    metadata: object.metadata,
                    error: error.to_string(),
                }))
            })
            .map(Self)
            .map_err(|error: serde_json::Error| D::Error::custom(error))
    }
}

impl<K: Resource> Resource for Tolerant<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(at: &K::DynamicType) -> Cow<'_, str> {
        K::kind(at)
    }

    fn group(at: &K::DynamicType) -> Cow<'_, str> {
        K::group(at)
    }

    fn version(at: &K::DynamicType) -> Cow<'_, str> {
        K::version(at)
    }

    fn plural(at: &K::DynamicType) -> Cow<'_, str> {
        K::plural(at)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(invalid) => &invalid.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(invalid) => &mut invalid.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::{ObjectList, WatchEvent};
    use subm_api::ServiceImport;

    use super::*;

    const GOOD: &str = r#"{"metadata": {"name": "good"}, "spec": {"type": "Headless"}}"#;
    const BAD: &str =
        r#"{"metadata": {"name": "bad", "resourceVersion": "7"}, "spec": {"type": {}}}"#;

    #[test]
    fn one_invalid_object_of_a_list_is_named() {
        let text = format!(
            r#"{{"kind": "L", "apiVersion": "v1", "metadata": {{}}, "items": [{GOOD}, {BAD}]}}"#
        );
        let list: ObjectList<Tolerant<ServiceImport>> =
            serde_json::from_str(&text).expect("a list");
        assert!(list.items[0].0.is_ok());
        let invalid = list.items[1].0.as_ref().expect_err("type is no object");
        assert_eq!(invalid.metadata.name.as_deref(), Some("bad"));
        assert!(invalid.error.contains("invalid type"), "{}", invalid.error);
        assert_eq!(list.items[1].meta().resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn an_event_holds_one() {
        for (object, valid) in [(GOOD, true), (BAD, false)] {
            let text = format!(r#"{{"type": "MODIFIED", "object": {object}}}"#);
            match serde_json::from_str(&text).expect("an event") {
                WatchEvent::<Tolerant<ServiceImport>>::Modified(object) => {
                    assert_eq!(object.0.is_ok(), valid);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
