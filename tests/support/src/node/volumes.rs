//! Volumes of a pod as folders of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, Pod, ServiceAccount, Volume,
};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt as _};

use super::environment::Facts;
use super::objects::Data;
use crate::sandbox::Mount;

const DEFAULT_MODE: i32 = 0o644;

/// The volumes of one pod, below a folder of the pod's own.
#[derive(Debug)]
pub(super) struct Volumes {
    dir: PathBuf,
    /// What the node has at host paths that the machine must not share.
    host: PathBuf,
    /// Tokens asked for so far, by volume and path; they last longer than tests.
    tokens: BTreeMap<(String, String), String>,
}

impl Volumes {
    pub(super) fn new(dir: PathBuf, host: PathBuf) -> Self {
        Self {
            dir,
            host,
            tokens: BTreeMap::new(),
        }
    }

    /// Makes the folders of all volumes, and asks for the tokens in them.
    pub(super) async fn make(&mut self, client: &Client, pod: &Pod) -> Result<()> {
        for volume in volumes(pod) {
            self.ask_for_tokens(client, pod, volume).await?;
            fs::create_dir_all(self.dir.join(&volume.name))?;
            if volume.empty_dir.is_some() {
                let mode = fs::Permissions::from_mode(0o777);
                fs::set_permissions(self.dir.join(&volume.name), mode)?;
            }
        }
        Ok(())
    }

    /// Brings the files of ConfigMaps and Secrets up to date; an error if one is not there.
    pub(super) fn refresh(&self, facts: &Facts<'_>) -> Result<()> {
        for volume in volumes(facts.pod) {
            let files = self.files(facts, volume).with_context(|| {
                format!("MountVolume.SetUp failed for volume {:?}", volume.name)
            })?;
            if let Some((files, mode)) = files {
                write(&self.dir.join(&volume.name), &files, mode)?;
            }
        }
        Ok(())
    }

    /// What a container mounts.
    pub(super) fn mounts(&self, pod: &Pod, container: &Container) -> Result<Vec<Mount>> {
        let mut mounts = Vec::new();
        for wanted in container.volume_mounts.iter().flatten() {
            let volume = volumes(pod)
                .find(|volume| volume.name == wanted.name)
                .with_context(|| format!("no volume {:?}", wanted.name))?;
            let mut source = match &volume.host_path {
                Some(host) => self.host_path(&host.path, host.type_.as_deref())?,
                None => self.dir.join(&volume.name),
            };
            let files = volume.empty_dir.is_none() && volume.host_path.is_none();
            if let Some(sub) = &wanted.sub_path {
                source = source.join(sub);
                if !source.exists() && !files {
                    fs::create_dir_all(&source)?;
                }
                // A mount of a file's link would follow its later changes no more than one of its target.
                source = fs::canonicalize(&source)
                    .with_context(|| format!("subPath {sub:?} of volume {:?}", volume.name))?;
            }
            mounts.push(Mount {
                at: PathBuf::from(&wanted.mount_path),
                source,
                read_only: files || wanted.read_only == Some(true),
            });
        }
        Ok(mounts)
    }

    /// The machine's own for what only exists there (`/lib/modules`, `/sys`); the node's own for what programs write.
    fn host_path(&self, path: &str, kind: Option<&str>) -> Result<PathBuf> {
        let path = Path::new(path);
        let written = ["/run", "/var/run", "/var/lib", "/var/log", "/etc", "/tmp"];
        if path.exists() && !written.iter().any(|start| path.starts_with(start)) {
            return Ok(path.to_owned());
        }
        let own = self.host.join(path.strip_prefix("/").unwrap_or(path));
        match kind {
            Some("FileOrCreate") => {
                fs::create_dir_all(own.parent().context("a file without a folder")?)?;
                fs::File::options().create(true).append(true).open(&own)?;
            }
            None | Some("" | "DirectoryOrCreate") => fs::create_dir_all(&own)?,
            Some(kind) if !own.exists() => bail!(
                "hostPath type check failed: {} is no {kind}",
                path.display()
            ),
            Some(_) => {}
        }
        Ok(own)
    }

    async fn ask_for_tokens(&mut self, client: &Client, pod: &Pod, volume: &Volume) -> Result<()> {
        let sources = volume
            .projected
            .iter()
            .flat_map(|p| p.sources.iter().flatten());
        for wanted in sources.filter_map(|source| source.service_account_token.as_ref()) {
            let key = (volume.name.clone(), wanted.path.clone());
            if self.tokens.contains_key(&key) {
                continue;
            }
            let request = TokenRequest {
                spec: TokenRequestSpec {
                    audiences: wanted.audience.iter().cloned().collect(),
                    expiration_seconds: wanted.expiration_seconds,
                    bound_object_ref: Some(BoundObjectReference {
                        api_version: Some("v1".to_owned()),
                        kind: Some("Pod".to_owned()),
                        name: Some(pod.name_any()),
                        uid: pod.uid(),
                    }),
                },
                ..TokenRequest::default()
            };
            let spec = pod.spec.as_ref();
            let account = spec.and_then(|spec| spec.service_account_name.as_deref());
            let namespace = pod.namespace().unwrap_or_default();
            let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
            let reply = accounts
                .create_token_request(
                    account.unwrap_or("default"),
                    &PostParams::default(),
                    &request,
                )
                .await
                .context("failed to fetch token")?;
            let token = reply.status.context("the API server gave no token")?.token;
            self.tokens.insert(key, token);
        }
        Ok(())
    }

    /// The files of a volume that has any, and their mode.
    fn files(&self, facts: &Facts<'_>, volume: &Volume) -> Result<Option<(Data, i32)>> {
        let (pod, objects) = (facts.pod, facts.objects);
        if let Some(source) = &volume.config_map {
            let data = objects.config_map(pod, &source.name, source.optional)?;
            let files = picked(data, source.items.as_deref(), source.optional)?;
            return Ok(Some((files, source.default_mode.unwrap_or(DEFAULT_MODE))));
        }
        if let Some(source) = &volume.secret {
            let name = source.secret_name.as_deref().unwrap_or_default();
            let data = objects.secret(pod, name, source.optional)?;
            let files = picked(data, source.items.as_deref(), source.optional)?;
            return Ok(Some((files, source.default_mode.unwrap_or(DEFAULT_MODE))));
        }
        if let Some(source) = &volume.downward_api {
            let files = downward(facts, source.items.iter().flatten())?;
            return Ok(Some((files, source.default_mode.unwrap_or(DEFAULT_MODE))));
        }
        let Some(projected) = &volume.projected else {
            let known = volume.empty_dir.is_some() || volume.host_path.is_some();
            return if known {
                Ok(None)
            } else {
                bail!("test nodes know no volumes of this kind")
            };
        };
        let mut files = Data::new();
        for source in projected.sources.iter().flatten() {
            if let Some(token) = &source.service_account_token {
                let key = (volume.name.clone(), token.path.clone());
                let value = self.tokens.get(&key).context("no token yet")?;
                files.insert(token.path.clone(), value.clone().into_bytes());
            }
            if let Some(map) = &source.config_map {
                let data = objects.config_map(pod, &map.name, map.optional)?;
                files.extend(picked(data, map.items.as_deref(), map.optional)?);
            }
            if let Some(secret) = &source.secret {
                let data = objects.secret(pod, &secret.name, secret.optional)?;
                files.extend(picked(data, secret.items.as_deref(), secret.optional)?);
            }
            if let Some(source) = &source.downward_api {
                files.extend(downward(facts, source.items.iter().flatten())?);
            }
        }
        Ok(Some((
            files,
            projected.default_mode.unwrap_or(DEFAULT_MODE),
        )))
    }
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
}

/// All keys, or those that `items` lists under the paths it gives them.
fn picked(data: Option<Data>, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Result<Data> {
    let data = data.unwrap_or_default();
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data);
    };
    let mut files = Data::new();
    for item in items {
        match data.get(&item.key) {
            Some(value) => {
                files.insert(item.path.clone(), value.clone());
            }
            None if optional == Some(true) => {}
            None => bail!("references non-existent key: {}", item.key),
        }
    }
    Ok(files)
}

fn downward<'a>(
    facts: &Facts<'_>,
    items: impl Iterator<Item = &'a DownwardAPIVolumeFile>,
) -> Result<Data> {
    let mut files = Data::new();
    for item in items {
        let value = match &item.field_ref {
            Some(field) => facts.field(field)?,
            None => "0".to_owned(),
        };
        files.insert(item.path.clone(), value.into_bytes());
    }
    Ok(files)
}

/// Writes files as kubelet does: all change in one step, by one link; programs that watch a file see that link replaced.
fn write(dir: &Path, files: &Data, mode: i32) -> Result<()> {
    let current = dir.join("..data");
    let same = |(name, value): (&String, &Vec<u8>)| {
        fs::read(current.join(name)).is_ok_and(|have| have == *value)
    };
    if current.exists() && names(&current)? == files.len() && files.iter().all(same) {
        return Ok(());
    }
    let new = tempfile::Builder::new()
        .prefix("..")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in(dir)?
        .keep();
    for (name, value) in files {
        let path = new.join(name);
        fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        fs::write(&path, value)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode.unsigned_abs()))?;
    }
    let old = fs::read_link(&current).ok();
    let link = dir.join("..data_tmp");
    symlink(new.file_name().context("a folder without a name")?, &link)?;
    fs::rename(&link, &current)?;
    for name in files.keys() {
        let first = name.split('/').next().unwrap_or(name);
        let at = dir.join(first);
        if !at.is_symlink() {
            symlink(Path::new("..data").join(first), at)?;
        }
    }
    if let Some(old) = old {
        fs::remove_dir_all(dir.join(old))?;
    }
    // Links to keys that are gone.
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_symlink() && !path.exists() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// How many files there are in a folder and below.
fn names(dir: &Path) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        count += if path.is_dir() { names(&path)? } else { 1 };
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_change_in_one_step_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let files = |list: &[(&str, &str)]| -> Data {
            list.iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_owned()))
                .collect()
        };
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).ok();
        write(dir.path(), &files(&[("a", "1"), ("sub/b", "2")]), 0o600).unwrap();
        assert_eq!(read("a").as_deref(), Some("1"));
        assert_eq!(read("sub/b").as_deref(), Some("2"));
        let before = fs::read_link(dir.path().join("..data")).unwrap();
        write(dir.path(), &files(&[("a", "1"), ("sub/b", "2")]), 0o600).unwrap();
        assert_eq!(fs::read_link(dir.path().join("..data")).unwrap(), before);

        write(dir.path(), &files(&[("c", "3")]), 0o600).unwrap();
        assert_eq!((read("a"), read("sub/b")), (None, None));
        assert_eq!(read("c").as_deref(), Some("3"));
        let mode = fs::metadata(dir.path().join("c"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!dir.path().join(before).exists());
    }
}
