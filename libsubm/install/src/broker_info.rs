//! `broker-info.subm`: how a member learns of its broker.
//!
//! URL-safe base64 with padding of a JSON document whose keys are spelled as Go Submariner spells them. Readable by anyone who has
//! the file: it is an invitation with a token in it, not a sealed letter.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{ClusterId, InvalidClusterId};

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerInfo {
    /// `https://host:port` of the broker's API server.
    pub broker_url: String,
    /// Secret of type `kubernetes.io/service-account-token`.
    pub client_token: Value,
    /// Secret with `data.psk`; null where there are no cables.
    pub ipsec_psk: Value,
    pub service_discovery: bool,
    pub components: Vec<String>,
    pub custom_domains: Vec<String>,
    /// Set where the file invites one member only.
    pub invitation: Option<Invitation>,
}

/// What an invitation of one member says besides. The broker has prepared the rest, as this token may not look it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    pub cluster_id: ClusterId,
    pub expires: Timestamp,
    pub global_cidr: Option<String>,
    pub clusterset_ip_cidr: Option<String>,
    pub clusterset_ip_enabled: bool,
}

/// Why a text is no broker-info. Whoever read the file adds its name.
#[derive(Debug, thiserror::Error)]
pub enum BrokerInfoError {
    #[error("is empty; run `subctl deploy-broker` again or copy the file again")]
    Empty,
    #[error(
        "is not base64; was it cut off or edited? Copy it again from where `subctl deploy-broker` wrote it, or run `subctl \
         recover-broker-info`"
    )]
    Base64(#[source] base64::DecodeError),
    #[error(
        "does not hold the JSON of a broker-info.subm; copy it again from where `subctl deploy-broker` wrote it, or run `subctl \
         recover-broker-info`"
    )]
    // Without the parser's words: they may quote a token.
    Json,
    #[error(
        "has no usable {field}; run `subctl recover-broker-info` on the broker for a whole file"
    )]
    Field { field: &'static str },
    #[error("invites a cluster whose ID is not valid")]
    ClusterId(#[from] InvalidClusterId),
}

/// Both alphabets are one after '-' and '_' are replaced; padding may be missing.
const READER: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl BrokerInfo {
    /// The text of a file: any key case, both base64 alphabets, white space anywhere.
    pub fn decode(text: &str) -> Result<Self, BrokerInfoError> {
        let packed: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '\u{feff}')
            .map(|c| match c {
                '-' => '+',
                '_' => '/',
                c => c,
            })
            .collect();
        if packed.is_empty() {
            return Err(BrokerInfoError::Empty);
        }
        let json = READER.decode(packed).map_err(BrokerInfoError::Base64)?;
        let fields: Map<String, Value> =
            serde_json::from_slice(&json).map_err(|_| BrokerInfoError::Json)?;
        let fields = Fields(
            fields
                .into_iter()
                .map(|(key, value)| (key.to_ascii_lowercase(), value))
                .collect(),
        );
        let info = Self {
            broker_url: fields.text("brokerurl").unwrap_or_default(),
            client_token: fields.take("clienttoken"),
            ipsec_psk: fields.take("ipsecpsk"),
            service_discovery: fields.take("servicediscovery").as_bool().unwrap_or(false),
            components: fields.texts("components"),
            custom_domains: fields.texts("customdomains"),
            invitation: Invitation::read(&fields)?,
        };
        if info.broker_url.is_empty() {
            return Err(BrokerInfoError::Field { field: "brokerURL" });
        }
        if info.token().is_none() {
            return Err(BrokerInfoError::Field {
                field: "ClientToken",
            });
        }
        Ok(info)
    }

    /// The text of a file.
    pub fn encode(&self) -> String {
        let mut fields = json!({
            "brokerURL": self.broker_url,
            "ClientToken": self.client_token,
            "IPSecPSK": self.ipsec_psk,
            "ServiceDiscovery": self.service_discovery,
            "Components": self.components,
            "CustomDomains": if self.custom_domains.is_empty() { Value::Null } else { json!(self.custom_domains) },
        });
        if let Some(invitation) = &self.invitation {
            invitation.write(&mut fields);
        }
        base64::prelude::BASE64_URL_SAFE.encode(fields.to_string())
    }

    /// The bearer token.
    pub fn token(&self) -> Option<String> {
        String::from_utf8(self.data("token")?)
            .ok()
            .filter(|token| !token.is_empty())
    }

    /// The broker's CA, PEM.
    pub fn ca(&self) -> Option<String> {
        String::from_utf8(self.data("ca.crt")?)
            .ok()
            .filter(|ca| !ca.is_empty())
    }

    /// The broker's namespace.
    pub fn namespace(&self) -> Option<String> {
        let metadata = self.client_token.pointer("/metadata/namespace");
        self.data("namespace")
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .or_else(|| metadata.and_then(Value::as_str).map(str::to_owned))
    }

    fn data(&self, key: &str) -> Option<Vec<u8>> {
        let text = self.client_token.get("data")?.get(key)?.as_str()?;
        base64::prelude::BASE64_STANDARD.decode(text).ok()
    }
}

impl Invitation {
    fn read(fields: &Fields) -> Result<Option<Self>, BrokerInfoError> {
        let Some(id) = fields.text("clusterid") else {
            return Ok(None);
        };
        let expires = fields.text("expires").and_then(|text| text.parse().ok());
        Ok(Some(Self {
            cluster_id: ClusterId::new(&id)?,
            expires: expires.ok_or(BrokerInfoError::Field { field: "Expires" })?,
            global_cidr: fields.text("globalcidr"),
            clusterset_ip_cidr: fields.text("clustersetipcidr"),
            clusterset_ip_enabled: fields
                .take("clustersetipenabled")
                .as_bool()
                .unwrap_or(false),
        }))
    }

    fn write(&self, fields: &mut Value) {
        fields["ClusterID"] = json!(self.cluster_id.as_str());
        fields["Expires"] = json!(self.expires.to_string());
        if let Some(cidr) = &self.global_cidr {
            fields["GlobalCIDR"] = json!(cidr);
        }
        if let Some(cidr) = &self.clusterset_ip_cidr {
            fields["ClustersetIPCIDR"] = json!(cidr);
            fields["ClustersetIPEnabled"] = json!(self.clusterset_ip_enabled);
        }
    }
}

/// Where a file that is in the way goes: `broker-info.subm.2023-04-05T02_50_02Z`.
pub fn backup_name(name: &str, now: Timestamp) -> String {
    format!("{name}.{}", now.strftime("%Y-%m-%dT%H_%M_%SZ"))
}

/// Keys in lower case.
struct Fields(Map<String, Value>);

impl Fields {
    fn take(&self, key: &str) -> Value {
        self.0.get(key).cloned().unwrap_or_default()
    }

    fn text(&self, key: &str) -> Option<String> {
        self.0.get(key)?.as_str().map(str::to_owned)
    }

    fn texts(&self, key: &str) -> Vec<String> {
        let list = self.0.get(key).and_then(Value::as_array);
        let texts = list.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests;
