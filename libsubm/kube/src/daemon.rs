//! The frame of a program: its arguments, its log, TLS, and a runtime.

use std::ffi::OsString;
use std::fmt::Display;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

/// How a program logs, to standard error.
#[derive(Clone, Copy, Debug)]
pub struct Log<'a> {
    /// A level, or a filter of `tracing`.
    pub filter: &'a str,
    pub json: bool,
}

/// On how many threads a daemon's tasks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// For a daemon that waits most of the time: no message between tasks has to wake another thread.
    One,
    /// For one that has work for more.
    Two,
}

/// Runs a daemon until it ends. `name` is what a message begins with before there is a log.
pub fn run<E: Display>(
    name: &str,
    log: Log<'_>,
    threads: Threads,
    daemon: impl Future<Output = Result<(), E>>,
) -> ExitCode {
    let filter = match EnvFilter::try_new(own_words(log.filter)) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("{name}: LOG_LEVEL {:?}: {error}", log.filter);
            return ExitCode::from(2);
        }
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr);
    if log.json {
        builder.json().init();
    } else {
        builder.init();
    }
    use_tls();
    let mut builder = match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::Two => tokio::runtime::Builder::new_multi_thread(),
    };
    // One that runs on the calling thread has no workers.
    let runtime = match builder.worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(daemon) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// kube logs each attempt of each request as an error; a program says once what is wrong, and how to heal it. Who wants more than
/// a plain level sets that.
fn own_words(filter: &str) -> String {
    let plain = ["error", "warn", "info"];
    if plain.iter().any(|level| filter.eq_ignore_ascii_case(level)) {
        format!("{filter},kube_client=off,kube_runtime=off")
    } else {
        filter.to_owned()
    }
}

/// Chooses the process's TLS, of which there is one.
pub fn use_tls() {
    // Another crate may have chosen it already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// The command line, where long flags may begin with one dash, as Go programs take them.
pub fn arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os().map(|argument| match argument.to_str() {
        Some(text) if is_single_dash_flag(text) => format!("-{text}").into(),
        _ => argument,
    })
}

/// The filter of a log: the number of Submariner's programs (`-v`) where there is one, of which 2 is their default and as much as
/// `info` is here, else the level.
pub fn log_filter(verbosity: Option<i32>, level: &str) -> &str {
    match verbosity {
        None => level,
        Some(..=-1) => "warn",
        Some(0..=2) => "info",
        Some(3) => "debug",
        Some(4..) => "trace",
    }
}

fn is_single_dash_flag(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| {
        let name = rest.split('=').next().unwrap_or_default();
        name.len() > 1
            && !rest.starts_with('-')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_attempts_are_only_logged_to_those_who_look_for_them() {
        assert_eq!(own_words("info"), "info,kube_client=off,kube_runtime=off");
        assert_eq!(own_words("WARN"), "WARN,kube_client=off,kube_runtime=off");
        for filter in ["debug", "trace", "info,kube_client=debug"] {
            assert_eq!(own_words(filter), filter);
        }
    }

    #[test]
    fn flags_of_go_programs_are_told_from_short_ones() {
        assert!(is_single_dash_flag("-kubeconfig") && is_single_dash_flag("-alsologtostderr=true"));
        assert!(
            !is_single_dash_flag("-v")
                && !is_single_dash_flag("-v=2")
                && !is_single_dash_flag("--v")
                && !is_single_dash_flag("-1")
        );
    }
}
