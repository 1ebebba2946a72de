//! `--wait`: in which of the other clusters an exported service is resolvable, and when.

use std::time::{Duration, Instant};

use serde_json::Value;
use subm_api::names::{SERVICE_NAME, SOURCE_CLUSTER, SOURCE_NAMESPACE};
use subm_install::names::{DNS, SETTINGS};

use crate::broker::Access;
use crate::cli::KubeFlags;
use crate::cluster::{
    Cluster, Kind, PAUSE, condition, condition_reason, condition_words, kind, label, list_at,
    str_at,
};
use crate::commands::{MEMBER, wait as waiting};
use crate::contexts::{self, Target};
use crate::error::Error;
use crate::status::Status;

/// A cluster in which the import is awaited.
struct Awaited {
    target: Target,
    imports: Kind,
    /// What is still missing there.
    missing: String,
}

/// How far the service came in another cluster.
#[derive(Debug, PartialEq, Eq)]
enum Arrival {
    Missing(String),
    /// All of it is there; of what its name needs more, this lacks.
    Imported(Option<&'static str>),
}

const NO_DNS: &str = "no DNS server of the cluster set runs there";
const NO_ADDRESS: &str = "its name has no address until an endpoint is ready";
/// How long what a condition said before we came must last to be believed.
const SETTLED: Duration = Duration::from_secs(5);

/// What the agent of the exporting cluster says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Exported,
    Pending(String),
    /// It does not go by itself.
    Never(String),
}

/// Conditions outlast what they speak of: a Service that was just mended, another cluster's export that was just withdrawn. So a
/// verdict that was there at the first look must last a moment; one that came since is of now.
#[derive(Default)]
struct Judge {
    heard_otherwise: bool,
}

impl Judge {
    /// What is still awaited; an error where it never will be.
    fn hear(
        &mut self,
        word: Word,
        waited: Duration,
        deadline: Duration,
    ) -> Result<Option<String>, Error> {
        let believed = self.heard_otherwise || waited >= SETTLED.min(deadline);
        self.heard_otherwise |= !matches!(word, Word::Never(_));
        match word {
            Word::Exported => Ok(None),
            Word::Never(words) if believed => Err(Error::Broken(words)),
            Word::Pending(words) | Word::Never(words) => Ok(Some(words)),
        }
    }
}

pub(super) async fn wait(
    kube: &KubeFlags,
    own: &Target,
    status: &mut Status,
    export: (&Kind, &str, &str),
    deadline: Duration,
) -> Result<(), Error> {
    let start = Instant::now();
    let (_, namespace, name) = export;
    // Who may not read what the cluster is called takes any import for its own.
    let id = member_id(&own.cluster).await.ok().flatten();
    let mut awaited = others(kube, own, status).await?;
    let alone = awaited.is_empty();
    for Awaited { target, .. } in &awaited {
        // Said before the wait, which it may end.
        if has_no_namespace(target, namespace).await {
            status.warning(format!(
                "{:?}: {}",
                target.context,
                no_namespace(target, namespace)
            ));
        }
    }
    status.start(if alone {
        format!("Waiting until this cluster has exported {namespace}/{name}")
    } else {
        format!("Waiting until {namespace}/{name} is resolvable in the other clusters")
    });
    let mut judge = Judge::default();
    loop {
        let word = agents_word(&own.cluster, export).await;
        let pending = match word.and_then(|word| judge.hear(word, start.elapsed(), deadline)) {
            Ok(pending) => pending,
            Err(error) => return Err(status.fail(error)),
        };
        let mut left = Vec::new();
        for mut cluster in awaited {
            match arrival(&cluster, namespace, name, id.as_deref()).await {
                Ok(Arrival::Imported(lacks)) => {
                    let place = &cluster.target.context;
                    let after = start.elapsed().as_secs_f64();
                    match lacks {
                        None => {
                            status.success(format!("Resolvable in {place:?} after {after:.1} s"));
                        }
                        Some(lacks) => {
                            status.warning(format!(
                                "Imported in {place:?} after {after:.1} s, but {lacks}"
                            ));
                        }
                    }
                }
                Ok(Arrival::Missing(what)) => {
                    cluster.missing = what;
                    left.push(cluster);
                }
                Err(error) => {
                    cluster.missing = error.with_causes();
                    left.push(cluster);
                }
            }
        }
        awaited = left;
        // Names resolve a moment before the agent says so, and `explain` would not find all well.
        if awaited.is_empty() && pending.is_none() {
            if alone {
                status.success("It is exported, the agent says");
                status.warning(
                    "Other clusters were not looked at: no other context leads to a member of the cluster set (see --contexts)",
                );
            }
            status.end();
            return Ok(());
        }
        if start.elapsed() >= deadline {
            for cluster in &awaited {
                status.failure(format!(
                    "Not resolvable in {:?}: {}",
                    cluster.target.context, cluster.missing
                ));
            }
            if let Some(pending) = pending {
                status.failure(pending);
            }
            let what = if alone {
                "exported"
            } else {
                "resolvable everywhere"
            };
            let error = Error::Timeout(format!(
                "{namespace}/{name} is not {what} after {} s; `subctl explain export {name} -n {namespace}` says why",
                deadline.as_secs()
            ));
            return Err(status.fail(error));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn agents_word(
    cluster: &Cluster,
    (kind, namespace, name): (&Kind, &str, &str),
) -> Result<Word, Error> {
    let export = cluster.get(kind, Some(namespace), name).await?;
    let export = export.unwrap_or_default();
    let permitted = match refusal(&export) {
        // Who may not read the agent's settings believes what the condition says of them.
        Some(RESTRICTED) => match super::namespace_rules(cluster).await {
            Ok(rules) => rules.permit(namespace) && MEMBER != Some(namespace),
            Err(_) => false,
        },
        _ => true,
    };
    Ok(word(&export, (namespace, name), permitted))
}

/// A namespace that the agent's present settings permit was refused by the agent before it, which had others: right after a `join`
/// with --allow-namespaces the condition is still there.
fn word(export: &Value, (namespace, name): (&str, &str), permitted: bool) -> Word {
    let whose = format!("ServiceExport {namespace}/{name}");
    let more = format!("`subctl explain export {name} -n {namespace}` says what helps");
    match refusal(export) {
        Some(RESTRICTED) if permitted => {
            return Word::Pending(format!(
                "{whose}: its agent has not looked at it since it was told that namespace {namespace:?} takes part"
            ));
        }
        Some(_) => {
            return Word::Never(format!(
                "{whose} is not valid: {}; {more}",
                condition_words(export, "Valid")
            ));
        }
        None => {}
    }
    if !super::takes_part(export) {
        return Word::Never(format!(
            "{whose} conflicts with that of another cluster: {}; {more}",
            condition_words(export, "Conflict")
        ));
    }
    match super::on_broker(export) {
        Some((_, "True")) => Word::Exported,
        Some((r#type, _)) => Word::Pending(format!("{whose}: {}", condition_words(export, r#type))),
        None => Word::Pending(format!("{whose}: no agent has looked at it")),
    }
}

/// Why an export is not valid, if that does not go by itself; a Service, or its address, may still come.
fn refusal(export: &Value) -> Option<&str> {
    let lasting = [RESTRICTED, "InvalidServiceType", "InvalidExportedMetadata"];
    let reason = condition_reason(export, "Valid");
    (condition(export, "Valid") == Some("False") && lasting.contains(&reason)).then_some(reason)
}

const RESTRICTED: &str = "RestrictedNamespace";

/// The members that other contexts lead to.
async fn others(
    kube: &KubeFlags,
    own: &Target,
    status: &mut Status,
) -> Result<Vec<Awaited>, Error> {
    let everywhere = KubeFlags {
        context: None,
        ..kube.clone()
    };
    let (targets, _) = contexts::all(&everywhere).await?;
    let broker = Access::of_member(&own.cluster).await.ok().flatten();
    let mut awaited = Vec::new();
    for target in targets.into_iter().filter(|target| target.url != own.url) {
        let theirs = Access::of_member(&target.cluster).await.ok().flatten();
        if let (Some(own), Some(theirs)) = (&broker, &theirs)
            && !own.is_same_broker(theirs)
        {
            status.warning(format!(
                "{:?} is left out: it is a member of another broker, at {}",
                target.context, theirs.url
            ));
            continue;
        }
        let imports = crate::commands::export::imports(&target.cluster).await;
        let known = match imports {
            // A broker that is no member has imports, too, but no settings.
            Ok(imports) => member_id(&target.cluster).await.map(|id| id.and(imports)),
            Err(error) => Err(error),
        };
        match known {
            Ok(None) => {}
            Ok(Some(imports)) => awaited.push(Awaited {
                target,
                imports,
                missing: "not looked yet".to_owned(),
            }),
            Err(error) => status.warning(format!(
                "{:?} is left out: {}",
                target.context,
                error.with_causes()
            )),
        }
    }
    Ok(awaited)
}

/// What the cluster joined as.
pub(in crate::commands) async fn member_id(cluster: &Cluster) -> Result<Option<String>, Error> {
    let settings = cluster.get(&kind::CONFIG_MAPS, MEMBER, SETTINGS).await?;
    if let Some(settings) = settings {
        return Ok(Some(str_at(&settings, "/data/clusterID").to_owned()));
    }
    // A member that Go subctl made.
    let submariners = cluster.list(&kind::SUBMARINERS, MEMBER, "").await?;
    let id = submariners
        .first()
        .map(|submariner| str_at(submariner, "/spec/clusterID").to_owned());
    Ok(id.filter(|id| !id.is_empty()))
}

async fn arrival(
    cluster: &Awaited,
    namespace: &str,
    name: &str,
    id: Option<&str>,
) -> Result<Arrival, Error> {
    let api = &cluster.target.cluster;
    let Some(import) = api.get(&cluster.imports, Some(namespace), name).await? else {
        let missing = if has_no_namespace(&cluster.target, namespace).await {
            no_namespace(&cluster.target, namespace)
        } else {
            format!("no ServiceImport {namespace}/{name}")
        };
        return Ok(Arrival::Missing(missing));
    };
    let lists = |id: &str| {
        list_at(&import, "/status/clusters")
            .iter()
            .any(|entry| entry["cluster"] == id)
    };
    if let Some(id) = id.filter(|id| !lists(id)) {
        return Ok(Arrival::Missing(format!(
            "ServiceImport {namespace}/{name} does not list {id}"
        )));
    }
    let labels = format!("{SERVICE_NAME}={name}");
    let mut slices = api.list(&kind::SLICES, Some(namespace), &labels).await?;
    slices.retain(|slice| {
        let from = label(slice, SOURCE_NAMESPACE);
        from.is_empty() || from == namespace
    });
    let of = |id: &str| {
        slices
            .iter()
            .any(|slice| label(slice, SOURCE_CLUSTER) == id)
    };
    if let Some(id) = id.filter(|id| !of(id)) {
        return Ok(Arrival::Missing(format!(
            "no EndpointSlice of {id} for {namespace}/{name}"
        )));
    }
    // Who may not look does not know that anybody answers.
    let dns = api.get(&kind::DEPLOYMENTS, MEMBER, DNS).await;
    let dns = dns.ok().flatten().unwrap_or_default();
    Ok(Arrival::Imported(lacks(&dns, &slices)))
}

/// Nobody makes one for an import. Who may not look does not know.
async fn has_no_namespace(target: &Target, namespace: &str) -> bool {
    let found = target.cluster.get(&kind::NAMESPACES, None, namespace).await;
    matches!(found, Ok(None))
}

fn no_namespace(target: &Target, namespace: &str) -> String {
    format!(
        "no namespace {namespace:?}, and nothing is imported until there is one: `kubectl --context {} create namespace {namespace}`",
        target.context
    )
}

/// What keeps the name of a service that is there from having an address.
fn lacks(dns: &Value, slices: &[Value]) -> Option<&'static str> {
    let mut endpoints = slices.iter().flat_map(|slice| list_at(slice, "/endpoints"));
    // Not said means ready.
    let ready = endpoints.any(|endpoint| endpoint["conditions"]["ready"] != false);
    if dns.is_null() || waiting::availability(dns).0 == 0 {
        Some(NO_DNS)
    } else if !ready {
        Some(NO_ADDRESS)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_name_resolves_where_a_server_runs_and_an_endpoint_is_ready() {
        let dns = |available: u64| {
            json!({
                "metadata": {"generation": 1}, "spec": {"replicas": 2},
                "status": {"observedGeneration": 1, "availableReplicas": available},
            })
        };
        let slice = |ready: Value| json!({"endpoints": [{"addresses": ["10.96.0.1"], "conditions": {"ready": ready}}]});
        let (ready, not_ready) = (slice(Value::Null), slice(json!(false)));
        assert_eq!(lacks(&dns(1), &[not_ready.clone(), ready.clone()]), None);
        assert_eq!(lacks(&dns(1), &[not_ready]), Some(NO_ADDRESS));
        assert_eq!(lacks(&dns(1), &[]), Some(NO_ADDRESS));
        assert_eq!(lacks(&dns(0), std::slice::from_ref(&ready)), Some(NO_DNS));
        assert_eq!(lacks(&Value::Null, &[ready]), Some(NO_DNS));
    }

    #[test]
    fn a_refusal_that_present_settings_contradict_is_old_news() {
        let refused = |reason: &str| {
            json!({"status": {"conditions": [
                {"type": "Valid", "status": "False", "reason": reason, "message": "words"},
            ]}})
        };
        let word = |reason, permitted| word(&refused(reason), ("shop", "web"), permitted);
        assert!(matches!(word(RESTRICTED, true), Word::Pending(_)));
        assert!(matches!(word(RESTRICTED, false), Word::Never(_)));
        assert!(matches!(word("InvalidServiceType", true), Word::Never(_)));
        assert!(
            matches!(word("ServiceUnavailable", true), Word::Pending(_)),
            "it may come"
        );
    }

    #[test]
    fn a_verdict_from_before_must_last_and_one_from_now_ends_the_wait() {
        let minute = Duration::from_secs(60);
        let never = || Word::Never("never".to_owned());
        let begin = || (Judge::default(), Duration::ZERO);

        let (mut judge, now) = begin();
        assert_eq!(
            judge.hear(never(), now, minute).unwrap().as_deref(),
            Some("never"),
            "it may be of the Service before it was mended"
        );
        assert_eq!(judge.hear(Word::Exported, now, minute).unwrap(), None);

        let (mut judge, now) = begin();
        judge.hear(never(), now, minute).unwrap();
        assert!(judge.hear(never(), SETTLED, minute).is_err(), "it lasted");

        let (mut judge, now) = begin();
        judge
            .hear(Word::Pending("not yet".to_owned()), now, minute)
            .unwrap();
        assert!(judge.hear(never(), now, minute).is_err(), "it is new");

        let (mut judge, _) = begin();
        let second = Duration::from_secs(1);
        assert!(judge.hear(never(), second, second).is_err(), "no more time");
    }

    #[test]
    fn an_export_of_another_type_takes_no_part() {
        let export = |reason: &str, ready: (&str, &str)| {
            json!({"status": {"conditions": [
                {"type": "Valid", "status": "True"},
                {"type": "Ready", "status": ready.0, "reason": ready.1},
                {"type": "Conflict", "status": "True", "reason": reason},
            ]}})
        };
        let kept_out = |reason, ready| !crate::commands::export::takes_part(&export(reason, ready));
        assert!(kept_out("PortConflict,TypeConflict", ("False", "Failed")));
        assert!(kept_out("TypeConflict", ("False", "TypeConflict")));
        assert!(
            !kept_out("TypeConflict", ("True", "Exported")),
            "the oldest"
        );
        assert!(!kept_out("TypeConflict", ("False", "Pending")));
        assert!(
            !kept_out("PortConflict", ("False", "Failed")),
            "for want of addresses"
        );
    }
}
