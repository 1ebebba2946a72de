//! What a cluster joined with before stays where no flag names another: to join again for one reason is no wish to change all else.

use serde_json::{Map, Value};
use subm_install::names::SETTINGS;

use crate::cli::{Choices, Join};
use crate::cluster::{Cluster, kind, str_at};
use crate::commands::MEMBER;
use crate::error::Error;

/// Flags to values; empty for a cluster that is no member.
#[derive(Debug, Default)]
pub(super) struct Before(Map<String, Value>);

pub(super) async fn of(cluster: &Cluster) -> Result<Before, Error> {
    let settings = cluster.get(&kind::CONFIG_MAPS, MEMBER, SETTINGS).await?;
    Ok(settings.as_ref().map(Before::read).unwrap_or_default())
}

/// For the next time: what was chosen now, and before.
pub(super) fn record(choices: &Choices) -> Map<String, Value> {
    let Ok(Value::Object(mut choices)) = serde_json::to_value(choices) else {
        return Map::new();
    };
    choices.retain(|_, value| !value.is_null());
    choices
}

impl Before {
    fn read(settings: &Value) -> Self {
        let choices = str_at(settings, "/data/choices");
        if let Ok(choices) = serde_json::from_str(choices) {
            return Self(choices);
        }
        // One that an earlier version wrote.
        let driver =
            Some(str_at(settings, "/data/cableDriver")).filter(|driver| !driver.is_empty());
        let driver = driver.map(|driver| ("cable-driver".to_owned(), Value::from(driver)));
        Self(driver.into_iter().collect())
    }

    /// The flags with what they leave out, and what that is, as flags.
    pub(super) fn fill(self, flags: &Join) -> Result<(Join, Vec<String>), Error> {
        let mut all = record(&flags.choices);
        let mut kept = Vec::new();
        for (flag, value) in self.0 {
            if all.contains_key(&flag) {
                continue;
            }
            kept.push(words(&flag, &value));
            all.insert(flag, value);
        }
        let choices = serde_json::from_value(Value::Object(all)).map_err(|error| {
            Error::Usage(format!(
                "what this cluster joined with before cannot be read ({error}): remove `choices` from ConfigMap {SETTINGS} in namespace \
                 {}, and name with flags what is not the default",
                MEMBER.unwrap_or_default()
            ))
        })?;
        Ok((
            Join {
                choices,
                ..flags.clone()
            },
            kept,
        ))
    }
}

/// As it would be typed.
fn words(flag: &str, value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(texts) if flag == "image-override" => {
            let texts = texts.iter().filter_map(Value::as_str);
            return texts
                .map(|text| format!("--{flag} {text}"))
                .collect::<Vec<_>>()
                .join(" ");
        }
        Value::Array(texts) => {
            let texts = texts.iter().filter_map(Value::as_str);
            texts.collect::<Vec<_>>().join(",")
        }
        value => value.to_string(),
    };
    format!("--{flag}={text}")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{CableDriver, Cli, Command};
    use serde_json::json;

    fn join(line: &str) -> Join {
        let line = format!("subctl join b.subm {line}");
        let args = line.split_whitespace().map(OsString::from);
        match Cli::parse_args(args).unwrap().command {
            Command::Join(join) => *join,
            _ => unreachable!(),
        }
    }

    /// As the cluster has it after a join, read at the next.
    fn before(joined: &Join) -> Before {
        let choices = Value::Object(record(&joined.choices)).to_string();
        Before::read(&json!({"data": {"choices": choices}}))
    }

    const ALL: &str = "--components connectivity,service-discovery --servicecidr 10.88.0.0/16,fd88::/112 --clustercidr 10.8.0.0/16 \
        --custom-domains a.example,b.example --coredns-custom-configmap kube-system/more --check-broker-certificate=false \
        --enable-clusterset-ip --clusterset-ip-by-service --globalnet=false --repository r.example/x --version 7 \
        --image-override submariner-gateway=g:1 --image-override submariner-nettest=n:1 --pod-debug --http-proxy http://p \
        --https-proxy https://p --no-proxy n --cable-driver vxlan --nattport 4501 --natt=false --label-gateway=false --health-check=false \
        --health-check-interval 7 --health-check-max-packet-loss-count 9 --preferred-server --air-gapped --load-balancer \
        --force-udp-encaps --ipsec-debug";

    #[test]
    fn all_that_was_chosen_is_kept() {
        let first = join(ALL);
        // Each flag of the line is one, and no choice was left out of it.
        let all = serde_json::to_value(&first.choices).unwrap();
        assert!(
            all.as_object()
                .unwrap()
                .values()
                .all(|value| !value.is_null()),
            "{all}"
        );
        let (again, kept) = before(&first).fill(&join("--wait")).unwrap();
        assert_eq!(again.choices, first.choices);
        assert!(again.wait && !first.wait);
        assert_eq!(kept.len(), all.as_object().unwrap().len());
        // What is said can be typed.
        assert_eq!(join(&kept.join(" ")).choices, first.choices);
        // And so the time after.
        let (third, _) = before(&again).fill(&join("")).unwrap();
        assert_eq!(third.choices, first.choices);
    }

    #[test]
    fn a_flag_wins_and_the_rest_stays() {
        let first = join("--cable-driver vxlan --pod-debug --clustercidr 10.8.0.0/16");
        let (again, kept) = before(&first)
            .fill(&join("--cable-driver wireguard --pod-debug=false"))
            .unwrap();
        let choices = &again.choices;
        assert_eq!(
            choices.connectivity.cable_driver,
            Some(CableDriver::Wireguard)
        );
        assert_eq!(choices.pod_debug, Some(false));
        assert_eq!(choices.clustercidr, first.choices.clustercidr);
        assert_eq!(kept, ["--clustercidr=10.8.0.0/16"]);
    }

    #[test]
    fn what_nobody_chose_is_not_kept() {
        let (again, kept) = before(&join("")).fill(&join("")).unwrap();
        assert_eq!(again.choices, Choices::default());
        assert!(kept.is_empty());
        let (first, kept) = Before::default()
            .fill(&join("--cable-driver vxlan"))
            .unwrap();
        assert_eq!(first.choices, join("--cable-driver vxlan").choices);
        assert!(kept.is_empty());
    }

    #[test]
    fn records_of_other_versions_are_understood() {
        let old = Before::read(&json!({"data": {"cableDriver": "vxlan"}}));
        let (again, _) = old.fill(&join("")).unwrap();
        assert_eq!(
            again.choices.connectivity.cable_driver,
            Some(CableDriver::Vxlan)
        );
        let nothing = Before::read(&json!({"data": {"cableDriver": ""}}));
        assert_eq!(
            nothing.fill(&join("")).unwrap().0.choices,
            Choices::default()
        );
        let later = Before::read(&json!({"data": {"choices": "{\"no-such-flag\": 7}"}}));
        assert_eq!(later.fill(&join("")).unwrap().0.choices, Choices::default());
        let broken = Before::read(&json!({"data": {"choices": "{\"nattport\": 0}"}}));
        let error = broken.fill(&join("")).unwrap_err().to_string();
        assert!(error.contains("ConfigMap"), "{error}");
    }
}
