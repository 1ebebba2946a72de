//! What a container may do: capabilities and kernel parameters, from its security context.

use k8s_openapi::api::core::v1::SecurityContext;

/// In the order of their numbers.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What containerd leaves to every container.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SYS_CHROOT",
    "MKNOD",
    "AUDIT_WRITE",
    "SETFCAP",
];

pub(super) fn is_privileged(context: Option<&SecurityContext>) -> bool {
    context.and_then(|context| context.privileged) == Some(true)
}

/// The numbers of the capabilities that a container has; nothing if it has all.
pub(super) fn capabilities(context: Option<&SecurityContext>) -> Option<Vec<u64>> {
    if is_privileged(context) {
        return None;
    }
    let named = |list: Option<&Vec<String>>, name: &str| {
        list.into_iter().flatten().any(|have| {
            let have = have.trim_start_matches("CAP_");
            have == name || have == "ALL"
        })
    };
    let of = context.and_then(|context| context.capabilities.as_ref());
    let (add, drop) = (
        of.and_then(|of| of.add.as_ref()),
        of.and_then(|of| of.drop.as_ref()),
    );
    let has = |name: &str| named(add, name) || DEFAULT.contains(&name) && !named(drop, name);
    let numbers = (0..).zip(NAMES).filter(|(_, name)| has(name));
    Some(numbers.map(|(number, _)| number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Capabilities;

    #[test]
    fn a_container_has_what_containerd_would_leave_it() {
        let context = |add: &[&str], drop: &[&str]| SecurityContext {
            capabilities: Some(Capabilities {
                add: Some(add.iter().copied().map(String::from).collect()),
                drop: Some(drop.iter().copied().map(String::from).collect()),
            }),
            ..SecurityContext::default()
        };
        let (net_admin, net_raw) = (12, 13);
        let plain = capabilities(None).unwrap();
        assert_eq!(plain.len(), DEFAULT.len());
        assert!(plain.contains(&net_raw) && !plain.contains(&net_admin));
        let added = capabilities(Some(&context(&["NET_ADMIN"], &["ALL"])));
        assert_eq!(added, Some(vec![net_admin]));
        let all = SecurityContext {
            privileged: Some(true),
            ..SecurityContext::default()
        };
        assert_eq!(capabilities(Some(&all)), None);
    }
}
