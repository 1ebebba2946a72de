//! The id of a member.

use std::fmt;

use subm_api::names::{MEMBER_PREFIX, is_label};

/// A DNS label of at most 63 characters (Submariner makes names, labels and annotations of it).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a valid cluster ID: use 1 to 63 lower case letters, digits and '-', with a letter or digit at both ends"
)]
pub struct InvalidClusterId(pub String);

const MAX: usize = 63;

impl ClusterId {
    pub fn new(text: &str) -> Result<Self, InvalidClusterId> {
        if is_label(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidClusterId(text.to_owned()))
        }
    }

    /// Submariner's way from the name of a cluster in a kubeconfig to an id. `None` where nothing usable is left.
    pub fn sanitised(name: &str) -> Option<Self> {
        let mut id = String::with_capacity(name.len());
        let mut replaced = false;
        for c in name.chars().flat_map(char::to_lowercase) {
            let good = c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            // A run of other characters becomes one dash.
            if good || !replaced {
                id.push(if good { c } else { '-' });
            }
            replaced = !good;
        }
        id.truncate(MAX);
        if id.starts_with('-') {
            id.replace_range(..1, "0");
        }
        if id.ends_with('-') {
            id.truncate(id.len() - 1);
            id.push('0');
        }
        Self::new(&id).ok()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The member's account on the broker.
    pub fn account(&self) -> String {
        format!("{MEMBER_PREFIX}{}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_are_ids() {
        let long = "a".repeat(64);
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", &long] {
            assert!(ClusterId::new(bad).is_err(), "{bad}");
        }
        assert_eq!(ClusterId::new("c1").unwrap().account(), "cluster-c1");
    }

    #[test]
    fn names_of_a_kubeconfig_become_ids() {
        let id = |name| ClusterId::sanitised(name).map(|id| id.0);
        assert_eq!(id("kind-c1").as_deref(), Some("kind-c1"));
        assert_eq!(
            id("arn:aws:eks:EU_west/Prod").as_deref(),
            Some("arn-aws-eks-eu-west-prod")
        );
        assert_eq!(id("_x_").as_deref(), Some("0x0"));
        assert_eq!(id(""), None);
        assert_eq!(id(&"x".repeat(80)).map(|id| id.len()), Some(63));
    }
}
