//! Kernel parameters: what was there before comes back, whatever happens in between.

mod common;

use common::{NetNs, changes, install, settled};
use subm_routing::{Address, Link, LinkName, Network, Settings, Sysctl, SysctlKey, Vxlan};

const CNI: LinkName = LinkName::from_static("cni0");
const PARAMETER: &str = "ipv4/conf/cni0/rp_filter";

struct Lab {
    node: NetNs,
    folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self {
            node: NetNs::new(),
            folder: tempfile::tempdir().unwrap(),
        };
        lab.device();
        lab.node.set_sysctl(PARAMETER, "0");
        lab
    }

    fn device(&self) {
        self.node.ip("link add cni0 type veth peer name pod");
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("memory.json")
    }

    /// A new process, as far as what it knows goes.
    fn kernel(&self) -> subm_routing::Kernel {
        self.node.kernel(Settings::new().memory(self.file()))
    }
}

fn loose() -> Network {
    Network::new().with(Sysctl::rp_filter(CNI, 2))
}

#[tokio::test]
async fn a_new_process_puts_back_what_an_old_one_changed() {
    let lab = Lab::new();
    install(&mut lab.kernel(), &loose()).await;
    assert_eq!(lab.node.sysctl(PARAMETER), "2");
    settled(&mut lab.kernel(), &loose()).await;
    // A change of mind does not make our own value the one from before.
    install(
        &mut lab.kernel(),
        &Network::new().with(Sysctl::rp_filter(CNI, 1)),
    )
    .await;
    install(&mut lab.kernel(), &Network::new()).await;
    assert_eq!(lab.node.sysctl(PARAMETER), "0");
    assert!(!lab.file().exists());
}

#[tokio::test]
async fn without_a_file_the_same_process_puts_it_back() {
    let lab = Lab::new();
    let mut kernel = lab.node.kernel(Settings::new());
    install(&mut kernel, &loose()).await;
    install(&mut kernel, &Network::new()).await;
    assert_eq!(lab.node.sysctl(PARAMETER), "0");
}

#[tokio::test]
async fn what_was_so_already_stays_so() {
    let lab = Lab::new();
    lab.node.set_sysctl(PARAMETER, "2");
    let mut kernel = lab.kernel();
    settled(&mut kernel, &loose()).await;
    assert!(!lab.file().exists());
    settled(&mut kernel, &Network::new()).await;
    assert_eq!(lab.node.sysctl(PARAMETER), "2");
}

#[tokio::test]
async fn what_others_set_since_is_theirs() {
    let lab = Lab::new();
    install(&mut lab.kernel(), &loose()).await;
    lab.node.set_sysctl(PARAMETER, "1");
    install(&mut lab.kernel(), &Network::new()).await;
    assert_eq!(lab.node.sysctl(PARAMETER), "1");
}

#[tokio::test]
async fn a_device_made_anew_has_its_own_before() {
    let lab = Lab::new();
    install(&mut lab.kernel(), &loose()).await;
    lab.node.ip("link del cni0");
    // Gone: there is nothing to put back, and what cannot be set is said.
    let mut kernel = lab.kernel();
    let report = kernel.apply(&loose()).await.unwrap();
    assert!(
        report
            .to_string()
            .contains("/proc/sys/net/ipv4/conf/cni0/rp_filter cannot be accessed"),
        "{report}"
    );
    settled(&mut kernel, &Network::new()).await;
    assert!(!lab.file().exists());
    // The same while it was not looking: another device of the same name.
    lab.device();
    install(&mut lab.kernel(), &loose()).await;
    lab.node.ip("link del cni0");
    lab.device();
    lab.node.set_sysctl(PARAMETER, "1");
    install(&mut lab.kernel(), &loose()).await;
    install(&mut lab.kernel(), &Network::new()).await;
    assert_eq!(lab.node.sysctl(PARAMETER), "1");
}

#[tokio::test]
async fn a_file_of_another_boot_or_of_something_else_is_void() {
    let lab = Lab::new();
    install(&mut lab.kernel(), &loose()).await;
    let written = std::fs::read_to_string(lab.file()).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for void in [
        written.replace(boot.trim(), "another boot"),
        "{".to_owned(),
        String::new(),
        "[]".to_owned(),
    ] {
        std::fs::write(lab.file(), &void).unwrap();
        lab.node.set_sysctl(PARAMETER, "1");
        settled(&mut lab.kernel(), &Network::new()).await;
        assert_eq!(lab.node.sysctl(PARAMETER), "1", "{void:?}");
        // And the next change is remembered as ever.
        install(&mut lab.kernel(), &loose()).await;
        install(&mut lab.kernel(), &Network::new()).await;
        assert_eq!(lab.node.sysctl(PARAMETER), "1", "{void:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_remembered_is_not_changed() {
    let lab = Lab::new();
    let nowhere = lab.folder.path().join("missing/memory.json");
    let mut kernel = lab.node.kernel(Settings::new().memory(&nowhere));
    let report = kernel.apply(&loose()).await.unwrap();
    assert!(
        report.to_string().contains("cannot be remembered in"),
        "{report}"
    );
    assert_eq!(lab.node.sysctl(PARAMETER), "0");
}

#[tokio::test]
async fn parameters_of_no_device_and_of_devices_with_dots_work() {
    let lab = Lab::new();
    lab.node.ip("link add cni0.100 type veth peer name other");
    let before = lab.node.sysctl("ipv4/tcp_mtu_probing");
    let dotted = SysctlKey::new("ipv4/conf/cni0.100/rp_filter").unwrap();
    let network = Network::new()
        .with(Sysctl::new(
            SysctlKey::new("ipv4/tcp_mtu_probing").unwrap(),
            2,
        ))
        .with(Sysctl::new(dotted, 2));
    install(&mut lab.kernel(), &network).await;
    assert_eq!(lab.node.sysctl("ipv4/tcp_mtu_probing"), "2");
    install(&mut lab.kernel(), &Network::new()).await;
    assert_eq!(lab.node.sysctl("ipv4/tcp_mtu_probing"), before);
}

#[tokio::test]
async fn those_of_our_own_devices_go_with_them() {
    let lab = Lab::new();
    let device = LinkName::from_static("vx-submariner");
    let network = Network::new()
        .with(Link::vxlan(device, Vxlan::new(100, 4800)))
        .with(Address::new(device, "240.1.1.1/8".parse().unwrap()))
        .with(Sysctl::rp_filter(device, 2));
    install(&mut lab.kernel(), &network).await;
    assert!(lab.file().exists());
    let report = lab.kernel().apply(&Network::new()).await.unwrap();
    assert!(report.all_done(), "{report}");
    assert_eq!(changes(&report), ["delete link vx-submariner"]);
    assert!(!lab.file().exists(), "nobody may look again");
    settled(&mut lab.kernel(), &Network::new()).await;
    assert!(!lab.file().exists());
}
