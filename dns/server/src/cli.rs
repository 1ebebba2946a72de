//! The command line.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Flags of Go programs that may stand behind a single dash.
const GO_FLAGS: &[&str] = &[
    "conf",
    "dns.port",
    "version",
    "subm-version",
    "kubeconfig",
    "plugins",
    "quiet",
    "alsologtostderr",
];

/// Authoritative DNS server for clusterset.local.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "lighthouse-dns",
    version,
    disable_version_flag = true,
    args_conflicts_with_subcommands = false
)]
pub struct Cli {
    /// Corefile to serve; without it the flags below say what is served.
    #[arg(long, value_name = "FILE", global = true)]
    pub conf: Option<PathBuf>,
    /// Port where a server block or --listen names none.
    #[arg(
        long = "dns.port",
        value_name = "PORT",
        default_value_t = 53,
        global = true
    )]
    pub dns_port: u16,
    /// Folder of YAML or JSON manifests to serve, in place of a Kubernetes API server.
    #[arg(long, value_name = "DIR", global = true)]
    pub manifests: Option<PathBuf>,
    /// Kubeconfig of the API server to watch [default: in-cluster, else as kubectl finds it].
    #[arg(long, value_name = "FILE", global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, value_name = "NAME", global = true)]
    pub context: Option<String>,
    /// This cluster's id [default: environment SUBMARINER_CLUSTERID, else what objects say].
    #[arg(long, value_name = "ID", global = true)]
    pub cluster_id: Option<String>,
    /// Address to listen on, may be repeated: [tls://|https://|quic://]ADDR:PORT [default: :53].
    #[arg(long, value_name = "ADDR:PORT", global = true)]
    pub listen: Vec<String>,
    /// Certificate chain in PEM form, for tls://, https:// and quic://.
    #[arg(long, value_name = "FILE", requires = "tls_key", global = true)]
    pub tls_cert: Option<PathBuf>,
    /// Private key in PEM form.
    #[arg(long, value_name = "FILE", requires = "tls_cert", global = true)]
    pub tls_key: Option<PathBuf>,
    /// Zone to serve, may be repeated [default: clusterset.local].
    #[arg(long, value_name = "ZONE", global = true)]
    pub zone: Vec<String>,
    /// Without CLUSTER.SERVICE names, which KEP-1645 reserves.
    #[arg(long, global = true)]
    pub strict: bool,
    /// TTL of records in seconds, 0 to 3600 [default: 5].
    #[arg(
        long,
        value_name = "SECONDS",
        allow_negative_numbers = true,
        global = true
    )]
    pub ttl: Option<i64>,
    /// Endpoints of a cluster whose connection is lost: drop, keep or keep-last-resort [default: drop].
    #[arg(long, value_name = "POLICY", global = true)]
    pub lost_cluster: Option<String>,
    /// Where metrics are served, or off [default: :9153].
    #[arg(long, value_name = "ADDR:PORT", global = true)]
    pub metrics: Option<String>,
    /// Where health is served, or off [default: :8080].
    #[arg(long, value_name = "ADDR:PORT", global = true)]
    pub health: Option<String>,
    /// Where readiness is served, or off [default: :8181].
    #[arg(long, value_name = "ADDR:PORT", global = true)]
    pub ready: Option<String>,
    /// How long to go on answering after SIGTERM, for example 5s [default: 0].
    #[arg(long, value_name = "DURATION", global = true)]
    pub lameduck: Option<String>,
    /// Who may take zones by AXFR, may be repeated: *, address, network, or ADDR:PORT to be told of changes too.
    #[arg(long, value_name = "CIDR", global = true)]
    pub transfer_to: Vec<String>,
    /// Address of ns.dns.ZONE, may be repeated [default: addresses of this server].
    #[arg(long, value_name = "ADDR", global = true)]
    pub name_server: Vec<IpAddr>,
    /// Name of this server for NSID (RFC 5001).
    #[arg(long, value_name = "TEXT", global = true)]
    pub nsid: Option<String>,
    /// Threads for UDP, and as many for connections [default: one per core].
    #[arg(long, value_name = "N", global = true)]
    pub workers: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    pub logging: Logging,
    /// Log every query.
    #[arg(long, global = true)]
    pub query_log: bool,
    /// Print the version and exit.
    #[arg(long, alias = "subm-version")]
    pub version: bool,
    /// Print the directives that a Corefile may use and exit.
    #[arg(long)]
    pub plugins: bool,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What is logged, and how.
#[derive(Clone, Debug, Args)]
pub struct Logging {
    /// Form of log lines.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    pub log_format: LogFormat,
    /// Level or filter of tracing, for example info,subm_dns=debug [default: info, or as -v says].
    #[arg(long, value_name = "FILTER", env = "LOG_LEVEL", global = true)]
    pub log_level: Option<String>,
    /// Verbosity as Submariner's programs have it: 1 is debug, 3 and more trace.
    #[arg(short = 'v', long = "v", value_name = "N", global = true)]
    pub verbosity: Option<u8>,
    /// Log warnings and errors only.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", global = true)]
    pub quiet: bool,
    /// Taken for compatibility: logs go to standard error always.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", global = true)]
    pub alsologtostderr: bool,
}

impl Logging {
    /// Filter for `tracing_subscriber::EnvFilter`.
    pub fn filter(&self) -> &str {
        match (&self.log_level, self.verbosity) {
            (Some(filter), _) => filter,
            // kube warns at each attempt of each watch; we say once what is wrong, and how to heal it.
            (None, _) if self.quiet => "warn,kube_client=off,kube_runtime=off",
            (None, None | Some(0)) => "info,kube_client=off,kube_runtime=off,notify=error",
            (None, Some(1 | 2)) => "debug",
            (None, Some(_)) => "trace",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Say why a name answers what it answers.
    Explain {
        name: String,
        #[arg(value_name = "TYPE", default_value = "A")]
        qtype: String,
        /// Answer as this cluster would.
        #[arg(long, value_name = "CLUSTER")]
        from: Option<String>,
    },
    /// Validate the configuration and the manifests, then exit.
    Check,
    /// Print the zones in master file form; --zone picks one.
    Dump,
}

impl Cli {
    /// Parses a command line, program name first; long flags of CoreDNS and Submariner may have a single dash.
    pub fn parse_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(args.into_iter().map(with_two_dashes))
    }
}

fn with_two_dashes(arg: OsString) -> OsString {
    let go_flag = arg.to_str().and_then(|text| {
        let flag = text.strip_prefix('-')?;
        let name = flag.split_once('=').map_or(flag, |(name, _)| name);
        GO_FLAGS
            .contains(&name)
            .then(|| OsString::from(format!("--{flag}")))
    });
    go_flag.unwrap_or(arg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Cli {
        let args = line.split(' ').map(OsString::from);
        Cli::parse_args(args).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn go_flags_may_have_one_dash() {
        let cli =
            parse("lighthouse-dns -conf=/etc/coredns/Corefile -dns.port 1053 -quiet=true -v=2");
        assert_eq!(cli.conf, Some("/etc/coredns/Corefile".into()));
        assert_eq!((cli.dns_port, cli.logging.quiet), (1053, true));
        assert_eq!(
            cli.logging.filter(),
            "warn,kube_client=off,kube_runtime=off"
        );
        assert!(parse("lighthouse-dns -subm-version").version);
        assert!(parse("lighthouse-dns -version").version);
    }

    #[test]
    fn subcommands_take_source_flags() {
        let cli =
            parse("lighthouse-dns explain web.shop.svc.clusterset.local --from east --manifests m");
        assert_eq!(cli.manifests, Some("m".into()));
        let Some(Command::Explain { qtype, from, .. }) = cli.command else {
            panic!("{:?}", cli.command);
        };
        assert_eq!((&*qtype, from.as_deref()), ("A", Some("east")));
        assert_eq!(
            parse("lighthouse-dns dump --zone a.example").zone,
            ["a.example"]
        );
        assert!(matches!(
            parse("lighthouse-dns --conf f check").command,
            Some(Command::Check)
        ));
    }
}
