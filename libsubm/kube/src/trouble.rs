//! What went wrong with a request, told so that an operator knows what to do.

use kube::core::Status;
use kube::runtime::watcher;
use subm_api::ResourceKind;

/// Why a kind of object cannot be read at present. Watches go on trying.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// 403: the server's own message names user, verb and resource.
    #[error("{message}; grant the verbs get, list and watch on {resource} by a ClusterRole")]
    Forbidden { resource: String, message: String },
    /// 401: the credentials are not accepted, expired for instance.
    #[error("the API server does not accept our credentials: {0}")]
    Unauthorized(String),
    /// 404 for the kind, not for an object: its CRD was removed, or another version is served now.
    #[error("{0} are not served any more")]
    NotServed(String),
    /// 410 or an expired list: what we know is too old to be continued; everything is listed again.
    #[error("our view of {0} is too old to be continued; listing again")]
    Expired(String),
    #[error("the API server answers {code}: {message}")]
    Server { code: u16, message: String },
    #[error("cannot reach the API server: {0}")]
    Unreachable(String),
}

impl Trouble {
    pub(crate) fn of_request(kind: &ResourceKind, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(kind, status),
            other => Self::Unreachable(with_causes(other)),
        }
    }

    pub(crate) fn of_watch(kind: &ResourceKind, error: &watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => Self::of_request(kind, error),
            watcher::Error::WatchError(status) => Self::of_status(kind, status),
            watcher::Error::NoResourceVersion => Self::Server {
                code: 200,
                message: error.to_string(),
            },
        }
    }

    fn of_status(kind: &ResourceKind, status: &Status) -> Self {
        let message = status.message.clone();
        match status.code {
            401 => Self::Unauthorized(message),
            403 => Self::Forbidden {
                resource: kind.to_string(),
                message,
            },
            404 => Self::NotServed(kind.to_string()),
            410 => Self::Expired(kind.to_string()),
            code => Self::Server { code, message },
        }
    }

    /// Whether waiting alone does not help: somebody has to grant something.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::Unauthorized(_))
    }
}

/// An error in one line with what caused it: hyper's outermost message ("client error (Connect)") says little, the cause is at
/// the bottom.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = words(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = words(error);
        // The source of an API server's refusal says the same.
        if !error.is::<Box<Status>>() && !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

/// What an API server said, without all of its form.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref() {
        Some(kube::Error::Api(status)) if !status.message.is_empty() => {
            format!("{} ({} {})", status.message, status.code, status.reason)
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use subm_api::ServiceImport;

    fn trouble(code: u16, message: &str) -> Trouble {
        let status = Status {
            code,
            message: message.to_owned(),
            ..Default::default()
        };
        Trouble::of_request(&ServiceImport::KIND, &kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn a_refusal_names_verb_and_resource() {
        let refused = trouble(
            403,
            "serviceimports.multicluster.x-k8s.io is forbidden: User \"dns\" cannot list resource \"serviceimports\"",
        );
        assert!(refused.is_refusal());
        let text = refused.to_string();
        assert!(text.contains("User \"dns\" cannot list resource"), "{text}");
        assert!(
            text.contains("list and watch on serviceimports.multicluster.x-k8s.io"),
            "{text}"
        );
    }

    #[test]
    fn codes_are_told_apart() {
        assert!(trouble(401, "Unauthorized").is_refusal());
        assert!(matches!(trouble(404, ""), Trouble::NotServed(_)));
        assert!(matches!(trouble(410, ""), Trouble::Expired(_)));
        assert!(matches!(
            trouble(503, "starting"),
            Trouble::Server { code: 503, .. }
        ));
    }

    #[test]
    fn a_refusal_is_told_once_and_in_its_own_words() {
        #[derive(Debug, thiserror::Error)]
        #[error("it cannot be written")]
        struct Outer(#[source] kube::Error);

        let status = Status {
            code: 403,
            message: "gateways is forbidden".to_owned(),
            reason: "Forbidden".to_owned(),
            ..Default::default()
        };
        let error = kube::Error::Api(Box::new(status));
        let words = "gateways is forbidden (403 Forbidden)";
        assert_eq!(with_causes(&error), words);
        let told = with_causes(&Outer(error));
        assert_eq!(told, format!("it cannot be written: {words}"));
    }
}
