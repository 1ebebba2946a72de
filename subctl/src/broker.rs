//! The broker as a file or a member's Secret says how to reach it.

use std::path::Path;

use base64::Engine as _;
use kube::Config;
use serde_json::{Value, json};
use subm_install::broker::{InfoMap, Purpose};
use subm_install::names::{BROKER_SECRET, OPERATOR_NAMESPACE, SETTINGS};
use subm_install::{BrokerInfo, ClusterId};
use subm_kube::certificates;

use crate::cluster::{Cluster, PAUSE, kind, str_at};
use crate::contexts;
use crate::error::Error;

/// What is needed to talk to a broker.
#[derive(Clone)]
pub struct Access {
    pub url: String,
    pub namespace: String,
    pub token: String,
    pub ca: Option<String>,
    pub insecure: bool,
}

/// A broker that can be talked to.
#[derive(Clone)]
pub struct Broker {
    pub cluster: Cluster,
    pub namespace: String,
}

/// Reads a `broker-info.subm`.
pub fn read_info(path: &Path) -> Result<BrokerInfo, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::File {
        path: path.to_owned(),
        what: "cannot be read",
        source,
    })?;
    BrokerInfo::decode(&text).map_err(|source| Error::BrokerInfo {
        path: path.to_owned(),
        source,
    })
}

impl Access {
    pub fn connect(&self) -> Result<Broker, Error> {
        let bad = |what: String| Error::Usage(format!("the broker at {}: {what}", self.url));
        let url = self
            .url
            .parse()
            .map_err(|_| bad("this is no URL".to_owned()))?;
        let mut config = Config::new(url);
        config.accept_invalid_certs = self.insecure;
        config.auth_info.token = Some(self.token.clone().into());
        if let Some(ca) = &self.ca {
            config.root_cert = Some(
                certificates(ca)
                    .ok_or_else(|| bad("its CA is no certificate in PEM form".to_owned()))?,
            );
        }
        let client = contexts::client(config).map_err(|error| bad(error.to_string()))?;
        Ok(Broker {
            cluster: Cluster::new(client),
            namespace: self.namespace.clone(),
        })
    }

    /// Whether both lead to one broker: the same namespace of the same API server, which is known by its URL or, as that may change,
    /// by the certificate authority that the control plane made for itself.
    pub fn is_same_broker(&self, other: &Self) -> bool {
        let url = |access: &Self| access.url.trim_end_matches('/').to_ascii_lowercase();
        let ca = |access: &Self| access.ca.as_deref().and_then(certificates);
        self.namespace == other.namespace
            && (url(self) == url(other) || ca(self).is_some_and(|own| ca(other) == Some(own)))
    }

    /// What a member joined with.
    pub async fn of_member(member: &Cluster) -> Result<Option<Self>, Error> {
        let namespace = Some(OPERATOR_NAMESPACE);
        let Some(secret) = member.get(&kind::SECRETS, namespace, BROKER_SECRET).await? else {
            return Ok(None);
        };
        let Some(settings) = member.get(&kind::CONFIG_MAPS, namespace, SETTINGS).await? else {
            return Ok(None);
        };
        let data = |key: &str| decoded(&secret["data"][key]);
        let Some(token) = data("token") else {
            return Ok(None);
        };
        Ok(Some(Self {
            url: str_at(&settings, "/data/brokerURL").to_owned(),
            namespace: data("namespace").unwrap_or_default(),
            token,
            ca: data("ca.crt"),
            insecure: str_at(&settings, "/data/brokerInsecure") == "true",
        }))
    }
}

/// The uid of the ServiceAccount that a token is of, as the token itself says.
pub fn account_of(token: &str) -> Option<String> {
    let claims = token.split('.').nth(1)?;
    let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD
        .decode(claims)
        .ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    // Of tokens in Secrets, and of those that were requested.
    let secret = &claims["kubernetes.io/serviceaccount/service-account.uid"];
    let requested = &claims["kubernetes.io"]["serviceaccount"]["uid"];
    let uid = secret.as_str().or(requested.as_str())?;
    Some(uid.to_owned())
}

/// Text in base64; nothing where it is empty.
pub fn decoded(value: &Value) -> Option<String> {
    String::from_utf8(decoded_bytes(value)?).ok()
}

/// Bytes in base64; nothing where there are none.
pub fn decoded_bytes(value: &Value) -> Option<Vec<u8>> {
    let bytes = base64::prelude::BASE64_STANDARD
        .decode(value.as_str()?)
        .ok()?;
    (!bytes.is_empty()).then_some(bytes)
}

impl Broker {
    /// Changes one of the ConfigMaps with who has which addresses, again whenever somebody else did so meanwhile. Nothing is
    /// written where `change` changes nothing.
    pub async fn change_info<T>(
        &self,
        purpose: Purpose,
        mut change: impl FnMut(&mut InfoMap) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        const TRIES: usize = 20;
        for _ in 0..TRIES {
            let namespace = Some(&*self.namespace);
            let Some(mut map) = self
                .cluster
                .get(&kind::CONFIG_MAPS, namespace, purpose.map_name())
                .await?
            else {
                return Ok(None);
            };
            let mut info = read_map(purpose, &map)?;
            let before = info.clone();
            let result = change(&mut info)?;
            if info == before {
                return Ok(Some(result));
            }
            for (key, value) in info.data() {
                map["data"][key] = json!(value);
            }
            match self.cluster.replace(&kind::CONFIG_MAPS, "", &map).await {
                Ok(_) => return Ok(Some(result)),
                Err(Error::Taken(_)) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        }
        Err(Error::Taken(format!(
            "ConfigMap {} on the broker changes faster than it can be written",
            purpose.map_name()
        )))
    }

    /// One of the ConfigMaps with who has which addresses.
    pub async fn info(&self, purpose: Purpose) -> Result<Option<InfoMap>, Error> {
        let map = self
            .cluster
            .get(
                &kind::CONFIG_MAPS,
                Some(&self.namespace),
                purpose.map_name(),
            )
            .await?;
        map.map(|map| read_map(purpose, &map)).transpose()
    }

    /// The Secret with the token of an account, once the control plane has filled it.
    pub async fn filled_token(&self, account: &str) -> Result<Value, Error> {
        const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);
        let name = subm_install::broker::token_secret_name(account);
        let start = std::time::Instant::now();
        while start.elapsed() < DEADLINE {
            let secret = self
                .cluster
                .get(&kind::SECRETS, Some(&self.namespace), &name)
                .await?;
            if let Some(secret) =
                secret.filter(|secret| decoded(&secret["data"]["token"]).is_some())
            {
                return Ok(secret);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Error::Timeout(format!(
            "the broker's control plane has put no token into Secret {}/{name} for half a minute; is its \
             kube-controller-manager running?",
            self.namespace
        )))
    }

    /// Members that have left something on the broker, but for `own`.
    pub async fn members(&self, own: Option<&ClusterId>) -> Result<Vec<String>, Error> {
        let namespace = Some(&*self.namespace);
        let mut ids = std::collections::BTreeSet::new();
        for kind in [kind::CLUSTERS, kind::ENDPOINTS] {
            let objects = self.cluster.list(&kind, namespace, "").await?;
            ids.extend(
                objects
                    .iter()
                    .map(|object| str_at(object, "/spec/cluster_id").to_owned()),
            );
        }
        for lease in self.cluster.list(&kind::LEASES, namespace, "").await? {
            ids.extend(
                crate::cluster::name(&lease)
                    .strip_prefix(subm_api::names::MEMBER_PREFIX)
                    .map(str::to_owned),
            );
        }
        for slice in self.cluster.list(&kind::SLICES, namespace, "").await? {
            ids.insert(crate::cluster::label(&slice, subm_api::names::SOURCE_CLUSTER).to_owned());
        }
        ids.remove("");
        if let Some(own) = own {
            ids.remove(own.as_str());
        }
        Ok(ids.into_iter().collect())
    }
}

fn read_map(purpose: Purpose, map: &Value) -> Result<InfoMap, Error> {
    let data = map["data"].as_object().into_iter().flatten();
    let data = data.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    InfoMap::read(purpose, &data.collect()).map_err(|error| Error::Server {
        doing: "reading a ConfigMap".to_owned(),
        code: 200,
        message: std::error::Error::source(&error)
            .map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_say_whose_they_are() {
        let token = |claims: Value| {
            let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
            format!("header.{claims}.signature")
        };
        let of_secret = json!({"kubernetes.io/serviceaccount/service-account.uid": "one"});
        let requested = json!({"kubernetes.io": {"serviceaccount": {"name": "x", "uid": "two"}}});
        assert_eq!(account_of(&token(of_secret)), Some("one".to_owned()));
        assert_eq!(account_of(&token(requested)), Some("two".to_owned()));
        assert_eq!(account_of("opaque"), None);
        assert_eq!(account_of("a.b.c"), None);
    }

    #[test]
    fn a_broker_is_known_by_its_namespace_and_its_url_or_authority() {
        let pem = |body: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
        };
        let access = |url: &str, namespace: &str, ca: Option<&str>| Access {
            url: url.to_owned(),
            namespace: namespace.to_owned(),
            token: String::new(),
            ca: ca.map(pem),
            insecure: false,
        };
        let own = access("https://b1:6443", "broker", Some("AAEC"));
        for same in [
            access("https://B1:6443/", "broker", None),
            access("https://b1.example", "broker", Some("AAEC")),
        ] {
            assert!(own.is_same_broker(&same), "{}", same.url);
        }
        for other in [
            access("https://b2:6443", "broker", Some("AwQF")),
            access("https://b2:6443", "broker", None),
            access("https://b1:6443", "broker-2", Some("AAEC")),
        ] {
            assert!(!own.is_same_broker(&other), "{}", other.url);
        }
        let blind = access("https://b1:6443", "broker", None);
        assert!(!blind.is_same_broker(&access("https://b2:6443", "broker", None)));
    }

    #[test]
    fn certificates_are_taken_out_of_pem() {
        let one = "-----BEGIN CERTIFICATE-----\nAAEC\nAwQ=\n-----END CERTIFICATE-----\n";
        assert_eq!(
            certificates(&format!("x\n{one}{one}")),
            Some(vec![vec![0, 1, 2, 3, 4]; 2])
        );
        assert_eq!(certificates("none"), None);
        assert_eq!(certificates("-----BEGIN CERTIFICATE-----\nAAEC"), None);
    }
}
