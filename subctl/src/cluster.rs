//! Reading, applying and deleting objects of any kind, as JSON values.

use std::time::{Duration, Instant};

use http::{Method, Request};
use kube::Client;
use kube::api::ListParams;
use serde_json::Value;
use subm_install::Object;
use subm_install::names::{INSTALLER, MANAGED_BY};

use crate::error::Error;

mod kinds;

pub use kinds::{Kind, kind};

/// An API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

/// Pause between two looks at something that is to change soon.
pub const PAUSE: Duration = Duration::from_millis(100);
/// Definitions are served within a second or so.
const DEFINITION_DEADLINE: Duration = Duration::from_secs(60);

impl Cluster {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// `v1.34.3`.
    pub async fn version(&self) -> Result<String, Error> {
        let info = self.client.apiserver_version().await;
        info.map(|info| info.git_version)
            .map_err(|error| Error::of_request("asking for the version", &error))
    }

    /// The object, or nothing where it, or its kind, does not exist.
    pub async fn get(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, Error> {
        let path = kind.path(namespace, Some(name));
        let doing = format!("reading {}", kind.named(namespace, name));
        absent(self.send(Method::GET, &path, None, None, &doing).await)
    }

    /// All objects of the kind, in a namespace or everywhere; none where the kind does not exist.
    pub async fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        labels: &str,
    ) -> Result<Vec<Value>, Error> {
        let doing = format!("listing {kind}");
        let selected = ListParams::default().labels(labels);
        let request = kube::core::Request::new(kind.path(namespace, None)).list(&selected);
        let request = request.map_err(|error| Error::Usage(format!("{doing}: {error}")))?;
        let list = absent(self.answer(request, &doing).await)?;
        let items = list.map(|mut list| list["items"].take());
        Ok(match items {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        })
    }

    /// Server-side apply; what others manage is taken over.
    pub async fn apply(&self, object: &Object) -> Result<Value, Error> {
        self.apply_value(&Kind::of(object), "", object.value(), INSTALLER)
            .await
    }

    /// As [`Cluster::apply`], of any object, or of its subresource, in the name of a field manager.
    pub async fn apply_value(
        &self,
        kind: &Kind,
        subresource: &str,
        object: &Value,
        manager: &str,
    ) -> Result<Value, Error> {
        let (namespace, name) = (namespace(object), name(object));
        let path = written(kind, namespace, name, subresource, manager) + "&force=true";
        let doing = format!("applying {}", kind.named(namespace, name));
        let content = Some("application/apply-patch+yaml");
        self.send(Method::PATCH, &path, content, Some(object), &doing)
            .await
    }

    /// Applies all, in order; new definitions are awaited. Definitions, namespaces and ClusterProperties that others made stay
    /// theirs, or `uninstall` would delete them with all that is in them; such are returned as they are.
    pub async fn apply_all(&self, objects: &[Object]) -> Result<Vec<Value>, Error> {
        const SHARED: [Kind; 3] = [kind::DEFINITIONS, kind::NAMESPACES, kind::PROPERTIES];
        let mut awaited = Vec::new();
        let mut others = Vec::new();
        for object in objects {
            let kind = Kind::of(object);
            if SHARED.contains(&kind)
                && let Some(there) = self.get(&kind, None, object.name()).await?
                && !is_ours(&there)
            {
                others.push(there);
                continue;
            }
            if kind == kind::DEFINITIONS {
                awaited.push(object.name());
            }
            self.apply(object).await?;
        }
        for name in awaited {
            self.served(name, DEFINITION_DEADLINE).await?;
        }
        Ok(others)
    }

    /// Creates the object unless it is there; needs no right to patch. Whether it was created.
    pub async fn create(&self, object: &Object) -> Result<bool, Error> {
        match self.create_value(&Kind::of(object), object.value()).await {
            Ok(_) => Ok(true),
            Err(Error::Taken(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates an object that is not ours to label; `Error::Taken` if it is there.
    pub async fn create_value(&self, kind: &Kind, object: &Value) -> Result<Value, Error> {
        let path = kind.path(namespace(object), None) + "?fieldManager=" + INSTALLER;
        let doing = format!("creating {}", kind.named(namespace(object), name(object)));
        self.send(
            Method::POST,
            &path,
            Some("application/json"),
            Some(object),
            &doing,
        )
        .await
    }

    /// Writes an object that was read before; `Error::Taken` if somebody else wrote it meanwhile.
    pub async fn replace(
        &self,
        kind: &Kind,
        subresource: &str,
        object: &Value,
    ) -> Result<Value, Error> {
        let (namespace, name) = (namespace(object), name(object));
        let path = written(kind, namespace, name, subresource, INSTALLER);
        let doing = format!("writing {}", kind.named(namespace, name));
        self.send(
            Method::PUT,
            &path,
            Some("application/json"),
            Some(object),
            &doing,
        )
        .await
    }

    /// Changes single fields of an object that others write to as well; null removes one.
    pub async fn merge(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        fields: &Value,
    ) -> Result<Value, Error> {
        let path = written(kind, namespace, name, "", INSTALLER);
        let doing = format!("changing {}", kind.named(namespace, name));
        let content = Some("application/merge-patch+json");
        self.send(Method::PATCH, &path, content, Some(fields), &doing)
            .await
    }

    /// A POST to a subresource, such as that which makes tokens.
    pub async fn post_to(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: &Value,
    ) -> Result<Value, Error> {
        let path = kind.path(Some(namespace), Some(name)) + "/" + subresource;
        let doing = format!(
            "creating {subresource} of {}",
            kind.named(Some(namespace), name)
        );
        self.send(
            Method::POST,
            &path,
            Some("application/json"),
            Some(body),
            &doing,
        )
        .await
    }

    /// Whether there was something to delete.
    pub async fn delete(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<bool, Error> {
        let path = kind.path(namespace, Some(name));
        let doing = format!("deleting {}", kind.named(namespace, name));
        let body = serde_json::json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
        let sent = self
            .send(
                Method::DELETE,
                &path,
                Some("application/json"),
                Some(&body),
                &doing,
            )
            .await;
        Ok(absent(sent)?.is_some())
    }

    /// The version of a group in which a kind is served, preferred first.
    pub async fn served_version<'a>(
        &self,
        group: &str,
        plural: &str,
        versions: &[&'a str],
    ) -> Result<Option<&'a str>, Error> {
        for version in versions {
            let doing = format!("asking which kinds {group} has");
            let path = format!("/apis/{group}/{version}");
            let resources = absent(self.send(Method::GET, &path, None, None, &doing).await)?;
            let resources = resources.map(|mut list| list["resources"].take());
            let serves = |list: &Value| {
                list.as_array()
                    .is_some_and(|list| list.iter().any(|have| have["name"] == plural))
            };
            if resources.as_ref().is_some_and(serves) {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    /// Waits until objects of a definition can be listed. A definition that was just made, or whose objects nobody has asked for
    /// yet, answers that its storage is being initialized.
    pub async fn served(&self, definition: &str, deadline: Duration) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            let now = self.get(&kind::DEFINITIONS, None, definition).await?;
            let now = now.unwrap_or_default();
            let state = if condition(&now, "Established") == Some("True") {
                let spec = &now["spec"];
                let kind = Kind {
                    group: str_at(spec, "/group").to_owned().into(),
                    version: str_at(spec, "/versions/0/name").to_owned().into(),
                    plural: str_at(spec, "/names/plural").to_owned().into(),
                };
                let path = kind.path(None, None) + "?limit=1";
                let doing = format!("listing {kind}");
                match self.send(Method::GET, &path, None, None, &doing).await {
                    Ok(_) => return Ok(()),
                    Err(error) => error.to_string(),
                }
            } else {
                "it is not established".to_owned()
            };
            if start.elapsed() > deadline {
                return Err(Error::Timeout(format!(
                    "the API server does not serve {definition} after {} s: {state}",
                    deadline.as_secs()
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content: Option<&str>,
        body: Option<&Value>,
        doing: &str,
    ) -> Result<Value, Error> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(content) = content {
            request = request.header(http::header::CONTENT_TYPE, content);
        }
        let body = body
            .map(|body| body.to_string().into_bytes())
            .unwrap_or_default();
        let request = request.body(body).map_err(|error| {
            // A name that is no part of a URL names nothing.
            Error::Usage(format!("{doing}: {error}"))
        })?;
        self.answer(request, doing).await
    }

    async fn answer(&self, request: Request<Vec<u8>>, doing: &str) -> Result<Value, Error> {
        let answer = self.client.request(request).await;
        answer.map_err(|error| Error::of_request(doing, &error))
    }
}

/// The path at which an object, or its subresource, is written in the name of a field manager.
fn written(
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
    subresource: &str,
    manager: &str,
) -> String {
    let mut path = kind.path(namespace, Some(name));
    if !subresource.is_empty() {
        path = path + "/" + subresource;
    }
    path + "?fieldManager=" + manager
}

/// Not found is an answer.
fn absent(answer: Result<Value, Error>) -> Result<Option<Value>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a cluster is known by whatever it is called.
pub async fn cluster_uid(cluster: &Cluster) -> Result<String, Error> {
    let namespace = cluster.get(&kind::NAMESPACES, None, "kube-system").await?;
    Ok(namespace
        .as_ref()
        .map(|namespace| str_at(namespace, "/metadata/uid"))
        .unwrap_or_default()
        .to_owned())
}

/// The text at a JSON pointer, or an empty one.
pub fn str_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

pub fn name(object: &Value) -> &str {
    str_at(object, "/metadata/name")
}

pub fn namespace(object: &Value) -> Option<&str> {
    object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
}

pub fn label<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"]["labels"][key]
        .as_str()
        .unwrap_or_default()
}

pub fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"]["annotations"][key]
        .as_str()
        .unwrap_or_default()
}

/// We installed it.
pub fn is_ours(object: &Value) -> bool {
    label(object, MANAGED_BY) == INSTALLER
}

/// The members of a list, none where there is no list.
pub fn list_at<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// Reason and message of a condition, as far as it has them.
pub fn condition_words(object: &Value, r#type: &str) -> String {
    let message = in_condition(object, r#type, "message").unwrap_or_default();
    match (condition_reason(object, r#type), message) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// The reason of a condition, or nothing.
pub fn condition_reason<'a>(object: &'a Value, r#type: &str) -> &'a str {
    in_condition(object, r#type, "reason").unwrap_or_default()
}

/// The status of a condition.
pub fn condition<'a>(object: &'a Value, r#type: &str) -> Option<&'a str> {
    in_condition(object, r#type, "status")
}

fn in_condition<'a>(object: &'a Value, r#type: &str, key: &str) -> Option<&'a str> {
    let mut conditions = list_at(object, "/status/conditions").iter();
    let found = conditions.find(|condition| condition["type"] == r#type)?;
    found[key].as_str()
}
