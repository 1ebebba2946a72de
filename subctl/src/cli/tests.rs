use super::*;

fn parse(line: &str) -> Cli {
    let args = line.split(' ').map(OsString::from);
    Cli::parse_args(args).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn refused(line: &str) -> String {
    let args = line.split(' ').map(OsString::from);
    Cli::parse_args(args).map_or_else(|error| error.to_string(), |_| panic!("{line} is accepted"))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_article_is_understood() {
    let cli = parse("subctl --context kind-broker deploy-broker");
    assert_eq!(cli.kube.context.as_deref(), Some("kind-broker"));
    let cli = parse("subctl --context kind-c1 join broker-info.subm --clusterid c1");
    let Command::Join(join) = cli.command else {
        panic!()
    };
    assert_eq!(join.clusterid.as_ref().map(ClusterIdText::text), Some("c1"));
    for line in [
        "subctl --context kind-c2 export service --namespace sample whereami-cs",
        "subctl --context kind-c2 export service whereami-cs --namespace sample",
        "subctl export service whereami-cs -n sample --context kind-c2",
    ] {
        let cli = parse(line);
        assert_eq!(cli.kube.namespace.as_deref(), Some("sample"), "{line}");
        assert!(
            matches!(cli.command, Command::Export { what: Export::Service(ExportService { ref name, .. }) } if name == "whereami-cs")
        );
    }
    assert!(matches!(
        parse("subctl show connections --context kind-c1").command,
        Command::Show(Show {
            what: What::Connections,
            ..
        })
    ));
    let cli = parse("subctl deploy-broker --globalnet=true --globalnet-cidr-range 120.0.0.0/8");
    let Command::DeployBroker(deploy) = cli.command else {
        panic!()
    };
    assert!(deploy.globalnet == Some(true));
}

trait ClusterIdText {
    fn text(&self) -> &str;
}

impl ClusterIdText for subm_install::ClusterId {
    fn text(&self) -> &str {
        self.as_str()
    }
}

#[test]
fn long_flags_may_have_one_dash() {
    let cli =
        parse("subctl join -clusterid c1 b.subm -cable-driver=wireguard -natt=false -context x");
    assert_eq!(cli.kube.context.as_deref(), Some("x"));
    let Command::Join(join) = cli.command else {
        panic!()
    };
    let connectivity = &join.choices.connectivity;
    assert_eq!(connectivity.cable_driver, Some(CableDriver::Wireguard));
    assert_eq!(connectivity.natt, Some(false));
    // Short flags stay what they are.
    assert_eq!(
        parse("subctl show all -n x -o json")
            .kube
            .namespace
            .as_deref(),
        Some("x")
    );
}

#[test]
fn wrong_values_are_refused_at_once() {
    assert!(refused("subctl join b.subm --cable-driver wiregard").contains("wireguard"));
    assert!(refused("subctl join b.subm --clusterid C_1").contains("lower case"));
    assert!(refused("subctl join b.subm --clustercidr 10.0.0.0").contains("CIDR"));
    assert!(refused("subctl deploy-broker --globalnet-cidr-range x").contains("CIDR"));
    assert!(refused("subctl export service a/b").contains("lower case"));
    assert!(refused("subctl show nothing").contains("nothing"));
}

#[test]
fn versions_of_images_are_not_the_programs_version() {
    let Command::Join(join) =
        parse("subctl join b.subm --version 0.20.0 --repository local").command
    else {
        panic!()
    };
    assert_eq!(join.choices.version.as_deref(), Some("0.20.0"));
}
