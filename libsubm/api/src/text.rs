//! Objects from their text.

use std::cell::Cell;

use serde::de::DeserializeOwned;

thread_local! {
    /// A malformed member of a list is an error for now.
    static STRICT: Cell<bool> = const { Cell::new(false) };
}

/// Reads an object from JSON. As nearly every object is well formed, it is first read in one go; only where that fails
/// are lists read member by member ([`Items`](crate::Items)), which costs a tree of the whole list.
pub fn from_json<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    STRICT.set(true);
    let object = serde_json::from_str(text);
    STRICT.set(false);
    object.or_else(|_| serde_json::from_str(text))
}

pub(crate) fn is_strict() -> bool {
    STRICT.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndpointSlice;

    #[test]
    fn malformed_members_leave_the_rest() {
        let slice: EndpointSlice = from_json(
            r#"{"metadata": {"name": "a", "managedFields": [7]}, "addressType": "IPv4", "ports": null, "endpoints": [
                {"addresses": ["10.0.0.1"]}, 7, {"addresses": ["10.0.0.2", {}]}
            ]}"#,
        )
        .expect("a slice");
        assert_eq!(slice.metadata.name.as_deref(), Some("a"));
        assert_eq!(slice.endpoints.good.len(), 2);
        assert_eq!(slice.endpoints.bad[0].index, Some(1));
        let (_, second) = &slice.endpoints.good[1];
        assert_eq!(second.addresses.bad[0].index, Some(1));
    }

    #[test]
    fn both_ways_give_the_same() {
        let text = r#"{"metadata": {"name": "a"}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "hostname": "h", "unknown": [{}]}], "ports": [{"port": 80}]}"#;
        let slow: EndpointSlice = serde_json::from_str(text).expect("a slice");
        assert_eq!(from_json::<EndpointSlice>(text).expect("a slice"), slow);
        assert!(!is_strict());
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        assert!(from_json::<EndpointSlice>(r#"{"addressType": 7}"#).is_err());
    }
}
