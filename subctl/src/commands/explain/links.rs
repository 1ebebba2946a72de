//! The links of the chain, each looked at by itself.

use std::time::Duration;

use serde_json::Value;
use subm_api::NamespaceRules;
use subm_api::names::{LOCAL_SERVICE_NAME, SERVICE_NAME, SOURCE_CLUSTER, SOURCE_NAMESPACE};
use subm_install::names::{AGENT, BROKER_SECRET, DNS, OPERATOR_NAMESPACE, TOKEN_EXPIRES};

use crate::broker::Access;
use crate::cluster::{
    Cluster, Kind, annotation, condition, condition_reason, condition_words, kind, label, list_at,
    str_at,
};
use crate::commands::export::{
    exports, imports, member_id, namespace_rules, on_broker, takes_part,
};
use crate::commands::finding::{Finding, Verdict};
use crate::commands::{MEMBER, wait};
use crate::contexts::Target;
use crate::error::Error;

/// What an account may not look at is not broken for that; the server's words name the right that it lacks.
pub(super) fn permitted(links: Result<Vec<Finding>, Error>) -> Result<Vec<Finding>, Error> {
    match links {
        Err(Error::Refused { doing, message }) => Ok(vec![Finding::doubtful(format!(
            "Not looked at, for want of a right ({doing}): {message}"
        ))]),
        links => links,
    }
}

/// Whose way is walked.
pub(super) struct Walk<'a> {
    /// Empty where the cluster is no member, or what it is may not be read.
    pub(super) id: String,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

/// For a broker, with a person waiting.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

impl Walk<'_> {
    fn service_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    pub(super) async fn service(&self, cluster: &Cluster) -> Result<Finding, Error> {
        let service = cluster
            .get(&kind::SERVICES, Some(self.namespace), self.name)
            .await?;
        let name = self.service_name();
        Ok(match service {
            None => match self.exporters(cluster).await? {
                None => Finding::broken(
                    format!("Service {name} does not exist"),
                    "Create it, or name its namespace with -n",
                ),
                Some(exporters) => Finding::broken(
                    format!(
                        "Service {name} does not exist in this cluster, which imports it from {exporters}"
                    ),
                    "Run this with --context of a cluster that exports it",
                ),
            },
            Some(service) if str_at(&service, "/spec/type") == "ExternalName" => Finding::broken(
                format!("Service {name} is of type ExternalName"),
                "It has no endpoints that could be exported; export the Service that it stands for",
            ),
            Some(service) => {
                Finding::good(format!("Service {name} exists ({})", type_of(&service)))
            }
        })
    }

    /// The clusters from which the service is imported here, if it is.
    async fn exporters(&self, cluster: &Cluster) -> Result<Option<String>, Error> {
        let Some(imports) = imports(cluster).await? else {
            return Ok(None);
        };
        let import = cluster
            .get(&imports, Some(self.namespace), self.name)
            .await?;
        Ok(import.map(|import| {
            let clusters = list_at(&import, "/status/clusters").iter();
            let ids = clusters.map(|entry| str_at(entry, "/cluster"));
            ids.collect::<Vec<_>>().join(", ")
        }))
    }

    pub(super) async fn endpoints(&self, cluster: &Cluster) -> Result<Finding, Error> {
        let labels = format!("{LOCAL_SERVICE_NAME}={}", self.name);
        let slices = cluster
            .list(&kind::SLICES, Some(self.namespace), &labels)
            .await?;
        let endpoints = slices.iter().flat_map(|slice| list_at(slice, "/endpoints"));
        // Not said means ready.
        let ready = endpoints
            .filter(|endpoint| endpoint["conditions"]["ready"] != false)
            .count();
        Ok(if ready == 0 {
            Finding::doubtful(format!(
                "Service {} has no ready endpoint: clusters without endpoints are left out of answers",
                self.service_name()
            ))
        } else {
            Finding::good(format!(
                "Service {} has {ready} ready endpoint(s)",
                self.service_name()
            ))
        })
    }

    pub(super) async fn export(&self, cluster: &Cluster) -> Result<Finding, Error> {
        let export = match exports(cluster).await {
            Ok(exports) => {
                cluster
                    .get(&exports, Some(self.namespace), self.name)
                    .await?
            }
            Err(Error::NotFound(what)) => {
                return Ok(Finding::broken(what, "Run `subctl join` for this cluster"));
            }
            Err(error) => return Err(error),
        };
        Ok(if export.is_some() {
            Finding::good(format!("ServiceExport {} exists", self.service_name()))
        } else {
            Finding::broken(
                format!("ServiceExport {} does not exist", self.service_name()),
                format!(
                    "Run `subctl export service {} -n {}`",
                    self.name, self.namespace
                ),
            )
        })
    }

    pub(super) async fn agent(&self, cluster: &Cluster, whose: &str) -> Result<Finding, Error> {
        running(cluster, AGENT, whose).await
    }

    pub(super) async fn conditions(&self, cluster: &Cluster) -> Result<Vec<Finding>, Error> {
        let export = cluster
            .get(&exports(cluster).await?, Some(self.namespace), self.name)
            .await?;
        let export = export.unwrap_or_default();
        let name = self.service_name();
        let mut links = Vec::new();
        match condition(&export, "Valid") {
            Some("True") => links.push(Finding::good(format!("ServiceExport {name} is valid"))),
            Some(_) => links.push(Finding::broken(
                format!(
                    "ServiceExport {name} is not valid: {}",
                    condition_words(&export, "Valid")
                ),
                remedy(condition_reason(&export, "Valid")),
            )),
            None => links.push(Finding::broken(
                format!("ServiceExport {name} has no condition: no agent has looked at it"),
                format!("See `kubectl -n {OPERATOR_NAMESPACE} logs deployment/{AGENT}`"),
            )),
        }
        if condition(&export, "Conflict") == Some("True") {
            links.push(self.conflict(&export));
        }
        links.push(match on_broker(&export) {
            Some((_, "True")) => Finding::good(format!(
                "ServiceExport {name} is on the broker, its agent says"
            )),
            Some((r#type, _)) => Finding::broken(
                format!(
                    "ServiceExport {name} is not on the broker: {}",
                    condition_words(&export, r#type)
                ),
                format!("See `kubectl -n {OPERATOR_NAMESPACE} logs deployment/{AGENT}`"),
            ),
            None => Finding::doubtful(format!(
                "ServiceExport {name} does not say whether it is on the broker"
            )),
        });
        Ok(links)
    }

    /// Whoever does not take part is cut off by the conflict; the others' names resolve all the same.
    fn conflict(&self, export: &Value) -> Finding {
        let what = format!(
            "ServiceExport {} conflicts: {}",
            self.service_name(),
            condition_words(export, "Conflict")
        );
        if takes_part(export) {
            return Finding::doubtful(what);
        }
        Finding::broken(
            what,
            format!(
                "Of this service all exports have one type, and the oldest export decides. Change the Service's type (headless or \
                 not) in this cluster or in that one, or run `subctl unexport service {} -n {}` in one of them",
                self.name, self.namespace
            ),
        )
    }

    /// What the others are told, read with the member's own account.
    pub(super) async fn broker(&self, cluster: &Cluster) -> Result<Vec<Finding>, Error> {
        let Some(access) = Access::of_member(cluster).await? else {
            return Ok(vec![Finding::doubtful(
                "This cluster was not joined by this subctl: the broker was not looked at"
                    .to_owned(),
            )]);
        };
        let broker = access.connect()?;
        let namespace = Some(&*broker.namespace);
        let import = async {
            let Some(kind) = imports(&broker.cluster).await? else {
                return Ok(None);
            };
            // By what it says of itself: where two services share a name, the later has a longer one.
            let all = broker.cluster.list(&kind, namespace, "").await?;
            let mut aggregates = all.into_iter().filter(|import| self.is_aggregate(import));
            Ok(aggregates.next())
        };
        let import = tokio::time::timeout(ANSWER_DEADLINE, import);
        let silent = |why: &str| {
            Ok(vec![Finding::doubtful(format!(
                "The broker at {} does not answer: {why}",
                access.url
            ))])
        };
        let Ok(import) = import.await else {
            return silent(&format!("nothing within {} s", ANSWER_DEADLINE.as_secs()));
        };
        let import = match import {
            Ok(import) => import,
            Err(Error::Refused { message, .. }) => {
                let secret = cluster
                    .get(&kind::SECRETS, MEMBER, BROKER_SECRET)
                    .await?
                    .unwrap_or_default();
                let expires = annotation(&secret, TOKEN_EXPIRES);
                let expiry = if expires.is_empty() {
                    String::new()
                } else {
                    format!(" (its token expires at {expires})")
                };
                return Ok(vec![Finding::broken(
                    format!(
                        "The broker at {} refuses this cluster{expiry}: {message}",
                        access.url
                    ),
                    "Join again with a fresh broker-info.subm or invitation",
                )]);
            }
            Err(error) => return silent(&error.with_causes()),
        };
        let logs = format!("See `kubectl -n {OPERATOR_NAMESPACE} logs deployment/{AGENT}`");
        let Some(import) = import else {
            return Ok(vec![Finding::broken(
                format!("The broker has no ServiceImport of {}", self.service_name()),
                logs,
            )]);
        };
        let name = crate::cluster::name(&import);
        if !lists(&import, &self.id) {
            return Ok(vec![Finding::broken(
                format!(
                    "ServiceImport {name} on the broker does not list {}",
                    self.id
                ),
                logs,
            )]);
        }
        let slices = broker
            .cluster
            .list(&kind::SLICES, namespace, &self.labels())
            .await?;
        let there = slices
            .iter()
            .any(|slice| label(slice, SOURCE_NAMESPACE) == self.namespace);
        Ok(vec![
            Finding::good(format!(
                "ServiceImport {name} on the broker lists {}",
                self.id
            )),
            if there {
                Finding::good(format!("The broker has the EndpointSlices of {}", self.id))
            } else {
                Finding::broken(
                    format!(
                        "The broker has no EndpointSlice of {} for {}",
                        self.id,
                        self.service_name()
                    ),
                    logs,
                )
            },
        ])
    }

    /// Nothing where the other cluster is no member. `own` is the way to this cluster's broker, where that is known.
    pub(super) async fn elsewhere(
        &self,
        other: &Target,
        own: Option<&Access>,
    ) -> Result<Vec<Finding>, Error> {
        let (api, there) = (&other.cluster, format!("{:?}", other.context));
        let mut links = Vec::new();
        match member_id(api).await {
            Ok(None) => return Ok(links),
            Ok(Some(_)) => {}
            refused @ Err(Error::Refused { .. }) => {
                links.extend(permitted(refused.map(|_| Vec::new()))?);
            }
            Err(error) => return Err(error),
        }
        if let (Some(own), Some(theirs)) = (own, Access::of_member(api).await.ok().flatten())
            && !own.is_same_broker(&theirs)
        {
            links.push(Finding::doubtful(format!(
                "{there} is a member of another broker (at {}, namespace {}; this cluster's is at {}, namespace {}): nothing arrives \
                 there from here",
                theirs.url, theirs.namespace, own.url, own.namespace
            )));
            return Ok(links);
        }
        let known = links.is_empty();
        self.arrival(other, &mut links).await?;
        if !known {
            // Perhaps it is no member, and need have nothing.
            for link in &mut links {
                if link.verdict == Verdict::Broken {
                    *link = Finding::doubtful(std::mem::take(&mut link.text));
                }
            }
        }
        Ok(links)
    }

    /// Whether the service is in a cluster that imports.
    async fn arrival(&self, other: &Target, links: &mut Vec<Finding>) -> Result<(), Error> {
        let (api, there) = (&other.cluster, format!("{:?}", other.context));
        let Some(imports) = imports(api).await? else {
            links.push(Finding::broken(
                format!("{there} knows no ServiceImport"),
                "Run `subctl join` for it again",
            ));
            return Ok(());
        };
        let namespace = api.get(&kind::NAMESPACES, None, self.namespace).await;
        if let Ok(None) = namespace {
            links.push(Finding::broken(
                format!(
                    "{there} has no namespace {:?}: nothing is imported into it",
                    self.namespace
                ),
                format!(
                    "Run `kubectl --context {} create namespace {}`",
                    other.context, self.namespace
                ),
            ));
            return Ok(());
        }
        links.extend(permitted(namespace.map(|_| Vec::new()))?);
        for name in [AGENT, DNS] {
            let link = running(api, name, &there).await;
            links.extend(permitted(link.map(|link| vec![link]))?);
        }
        links.extend(permitted(self.imported(other, &imports).await)?);
        Ok(())
    }

    async fn imported(&self, other: &Target, imports: &Kind) -> Result<Vec<Finding>, Error> {
        let (api, there) = (&other.cluster, format!("{:?}", other.context));
        let logs = format!(
            "See `kubectl --context {} -n {OPERATOR_NAMESPACE} logs deployment/{AGENT}`",
            other.context
        );
        let name = self.service_name();
        let import = api.get(imports, Some(self.namespace), self.name).await?;
        let Some(import) = import else {
            let rules = namespace_rules(api).await.unwrap_or_default();
            if rules.permit(self.namespace) && MEMBER != Some(self.namespace) {
                return Ok(vec![Finding::broken(
                    format!("{there} has no ServiceImport {name}"),
                    logs,
                )]);
            }
            return Ok(vec![Finding::broken(
                format!(
                    "{there} has no ServiceImport {name}: its agent leaves out namespace {:?}",
                    self.namespace
                ),
                format!(
                    "Let it `subctl --context {} join` again with --allow-namespaces {}, or export from another namespace",
                    other.context, self.namespace
                ),
            )]);
        };
        // Of a member whose id may not be read any import is taken for its own.
        if !self.id.is_empty() && !lists(&import, &self.id) {
            return Ok(vec![Finding::broken(
                format!("ServiceImport {name} in {there} does not list {}", self.id),
                logs,
            )]);
        }
        let mut links = vec![Finding::good(format!(
            "{there} has the ServiceImport {name}"
        ))];
        let slices = api
            .list(&kind::SLICES, Some(self.namespace), &self.labels())
            .await?;
        let whose = match &*self.id {
            "" => "the service",
            id => id,
        };
        links.push(if slices.is_empty() {
            Finding::broken(
                format!("{there} has no EndpointSlice of {whose} for {name}"),
                logs,
            )
        } else {
            Finding::good(format!("{there} has the EndpointSlices of {whose}"))
        });
        Ok(links)
    }

    /// Whether this is what the broker has of the service for all clusters. Some of Go Lighthouse do not say of which they are.
    fn is_aggregate(&self, import: &Value) -> bool {
        let of = (
            annotation(import, SERVICE_NAME),
            annotation(import, SOURCE_NAMESPACE),
        );
        let plain = format!("{}-{}", self.name, self.namespace);
        label(import, SOURCE_CLUSTER).is_empty()
            && (of == (self.name, self.namespace)
                || of == ("", "") && crate::cluster::name(import) == plain)
    }

    fn labels(&self) -> String {
        if self.id.is_empty() {
            return format!("{SERVICE_NAME}={}", self.name);
        }
        format!("{SERVICE_NAME}={},{SOURCE_CLUSTER}={}", self.name, self.id)
    }
}

async fn running(cluster: &Cluster, name: &str, whose: &str) -> Result<Finding, Error> {
    let deployment = cluster.get(&kind::DEPLOYMENTS, MEMBER, name).await?;
    let logs = format!("See `kubectl -n {OPERATOR_NAMESPACE} describe deployment {name}` there");
    Ok(match deployment.as_ref().map(wait::availability) {
        None => Finding::broken(
            format!("{whose} has no Deployment {name}"),
            "Run `subctl join` for it",
        ),
        Some((0, _)) => Finding::broken(
            format!("Deployment {name} of {whose} has no available replica"),
            logs,
        ),
        Some((available, wanted)) => Finding::good(format!(
            "Deployment {name} of {whose} runs ({available} of {wanted})"
        )),
    })
}

fn lists(import: &Value, id: &str) -> bool {
    list_at(import, "/status/clusters")
        .iter()
        .any(|entry| entry["cluster"] == id)
}

fn type_of(service: &Value) -> &str {
    match str_at(service, "/spec/clusterIP") {
        "None" => "headless",
        _ => match str_at(service, "/spec/type") {
            "" => "ClusterIP",
            kind => kind,
        },
    }
}

/// What helps where an agent says that an export is not valid.
fn remedy(reason: &str) -> String {
    match reason {
        "RestrictedNamespace" => format!(
            "Export from another namespace, or let all members `join` again with --allow-namespaces (it sets {} of Deployment \
             {OPERATOR_NAMESPACE}/{AGENT})",
            NamespaceRules::ALLOW_VARIABLE
        ),
        "ServiceGlobalIPUnavailable" => {
            "The cluster joined with Globalnet, and nothing gives Services global IPs yet in this release: `join` again with \
             --globalnet=false where the clusters' addresses do not overlap, or give one of them other networks"
                .to_owned()
        }
        "InvalidExportedMetadata" => "Change the ServiceExport's spec".to_owned(),
        _ => "Change the Service so that it can be exported".to_owned(),
    }
}
