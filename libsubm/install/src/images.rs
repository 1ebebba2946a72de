//! Where container images come from.

use std::collections::BTreeMap;

/// Upstream's repository.
pub const REPOSITORY: &str = "quay.io/submariner";
pub const LIGHTHOUSE_AGENT: &str = "submariner-lighthouse-agent";
pub const LIGHTHOUSE_DNS: &str = "submariner-lighthouse-coredns";
pub const GATEWAY: &str = "submariner-gateway";
pub const ROUTE_AGENT: &str = "submariner-routeagent";
/// What subctl runs in pods of its own.
pub const NETTEST: &str = "submariner-nettest";

/// Components whose image can be overridden, as upstream names them.
pub const COMPONENTS: [&str; 8] = [
    "submariner-operator",
    GATEWAY,
    ROUTE_AGENT,
    "submariner-globalnet",
    LIGHTHOUSE_AGENT,
    LIGHTHOUSE_DNS,
    NETTEST,
    "submariner-metrics-proxy",
];

/// Repository, version and exceptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// `local` means images of the node's own, without a registry.
    pub repository: String,
    pub version: String,
    /// Component to image.
    pub overrides: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    #[error("{0:?} is not COMPONENT=IMAGE")]
    Form(String),
    #[error("{component:?} is no component; valid ones are {}", COMPONENTS.join(", "))]
    Component { component: String },
}

/// Reads `--image-override COMPONENT=IMAGE`.
pub fn parse_override(text: &str) -> Result<(String, String), OverrideError> {
    let form = || OverrideError::Form(text.to_owned());
    let (component, image) = text.split_once('=').ok_or_else(form)?;
    if image.is_empty() || image.contains(char::is_whitespace) {
        return Err(form());
    }
    if !COMPONENTS.contains(&component) {
        return Err(OverrideError::Component {
            component: component.to_owned(),
        });
    }
    Ok((component.to_owned(), image.to_owned()))
}

impl Images {
    /// From where, and in which version, an image of ours came that runs already. One without a tag has the version `latest`.
    pub fn like(image: &str) -> Self {
        let image = image.split('@').next().unwrap_or(image);
        let (repository, name) = image.rsplit_once('/').unwrap_or(("local", image));
        let version = name
            .split_once(':')
            .map_or("latest", |(_, version)| version);
        Self {
            repository: repository.to_owned(),
            version: version.to_owned(),
            overrides: BTreeMap::new(),
        }
    }

    /// The image of a component.
    pub(crate) fn of(&self, component: &str) -> String {
        if let Some(image) = self.overrides.get(component) {
            return image.clone();
        }
        // Upstream's images are not all called as its workloads are.
        let name = match component {
            LIGHTHOUSE_AGENT => "lighthouse-agent",
            LIGHTHOUSE_DNS => "lighthouse-coredns",
            ROUTE_AGENT => "submariner-route-agent",
            NETTEST => "nettest",
            other => other,
        };
        if self.repository == "local" {
            format!("{name}:{}", self.version)
        } else {
            format!("{}/{name}:{}", self.repository, self.version)
        }
    }

    /// Versions that move are pulled at each start.
    pub(crate) fn pull_policy(&self) -> &'static str {
        let moves =
            matches!(&*self.version, "devel" | "local") || self.version.starts_with("release-");
        if moves { "Always" } else { "IfNotPresent" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(repository: &str, version: &str) -> Images {
        Images {
            repository: repository.to_owned(),
            version: version.to_owned(),
            overrides: BTreeMap::new(),
        }
    }

    #[test]
    fn images_are_named_as_upstream_publishes_them() {
        let mut images = images(REPOSITORY, "0.20.0");
        assert_eq!(
            images.of(LIGHTHOUSE_AGENT),
            "quay.io/submariner/lighthouse-agent:0.20.0"
        );
        assert_eq!(
            images.of(ROUTE_AGENT),
            "quay.io/submariner/submariner-route-agent:0.20.0"
        );
        assert_eq!(
            images.of(GATEWAY),
            "quay.io/submariner/submariner-gateway:0.20.0"
        );
        let (component, image) =
            parse_override("submariner-lighthouse-agent=a.example/agent:7").unwrap();
        images.overrides.insert(component, image);
        assert_eq!(images.of(LIGHTHOUSE_AGENT), "a.example/agent:7");
    }

    #[test]
    fn another_image_comes_from_where_one_came() {
        for (running, nettest) in [
            (
                "quay.io/submariner/submariner-route-agent:0.20.0",
                "quay.io/submariner/nettest:0.20.0",
            ),
            ("submariner-gateway:devel", "nettest:devel"),
            (
                "localhost:5000/submariner-gateway:1@sha256:00",
                "localhost:5000/nettest:1",
            ),
            ("a.example/gateway", "a.example/nettest:latest"),
        ] {
            assert_eq!(Images::like(running).of(NETTEST), nettest);
        }
    }

    #[test]
    fn local_and_moving_versions() {
        assert_eq!(
            images("local", "devel").of(LIGHTHOUSE_DNS),
            "lighthouse-coredns:devel"
        );
        assert_eq!(images("local", "devel").pull_policy(), "Always");
        assert_eq!(images(REPOSITORY, "0.20.0").pull_policy(), "IfNotPresent");
    }

    #[test]
    fn unknown_components_are_refused() {
        for bad in ["x", "x=y", "submariner-gateway=", "submariner-gateway"] {
            assert!(parse_override(bad).is_err(), "{bad}");
        }
    }
}
