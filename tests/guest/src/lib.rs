//! Tests that run in a Linux kernel of their own: User-Mode Linux, an ordinary program.
//!
//! What it is for: kernel WireGuard, delays on links (netem) and dummy devices, which the kernel of a build machine often
//! lacks. It needs neither root nor virtualisation. What it is not for: speed, and anything that a network namespace of the
//! machine can do.
//!
//! ```text
//!   cargo test ──▶ test program (host) ──▶ linux init=test program   a fresh kernel for each test, up in half a second
//!                        ▲                       │ root: the machine's files, changes go to memory
//!                        └── "guest: exit 0" ◀── test program TEST
//! ```
//!
//! The kernel is built once by `tests/guest/build-kernel.sh` (`make test-tools` does it; about five minutes) and kept in the
//! cache. Where there is none, tests are listed as ignored, with the reason, and counted so: they never pass unseen.
//!
//! A file of such tests has its own `main`; in `Cargo.toml` it is
//!
//! ```toml
//! [[test]]
//! name = "kernel_wireguard"
//! harness = false
//! ```
//!
//! and in `tests/kernel_wireguard.rs`
//!
//! ```no_run
//! fn a_device_can_be_made() -> anyhow::Result<()> {
//!     let node = subm_test_support::NetNs::new()?;
//!     node.ip("link add submariner type wireguard\nlink set submariner up")
//! }
//!
//! subm_test_guest::tests![a_device_can_be_made];
//! ```
//!
//! All fixtures of `subm-test-support` work inside, but for clusters: they would be slow. Start reading at [`main`].

mod host;
mod init;
mod kernel;

use std::future::Future;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

pub use kernel::{Kernel, Missing};

/// The name of the test that the guest is to run. Its presence says that this is the guest.
pub(crate) const TEST: &str = "SUBM_GUEST_TEST";

/// A test and its name.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    pub name: &'static str,
    pub run: fn() -> anyhow::Result<()>,
}

/// The `main` of a file of tests that run in the guest: a list of functions without arguments that give an
/// `anyhow::Result<()>`.
#[macro_export]
macro_rules! tests {
    ($($test:path),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::main(&[$($crate::Test { name: stringify!($test), run: $test }),+])
        }
    };
}

/// Three programs in one: the harness on the host, the first process of the guest, and there the test itself.
pub fn main(tests: &'static [Test]) -> ExitCode {
    let Ok(name) = std::env::var(TEST) else {
        return harness(tests);
    };
    if std::process::id() == 1 {
        return init::run(&name);
    }
    let Some(test) = tests.iter().find(|test| test.name == name) else {
        eprintln!("there is no test {name:?}");
        return ExitCode::FAILURE;
    };
    // A panic ends this process with its own code.
    match (test.run)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn harness(tests: &'static [Test]) -> ExitCode {
    let kernel = Kernel::find();
    let trials = tests.iter().map(|test| {
        let kernel = kernel.clone();
        Trial::ignorable_test(test.name, move || match kernel {
            Ok(kernel) => host::run(&kernel, test.name)
                .map(|()| Completion::Completed)
                .map_err(|error| Failed::from(format!("{error:?}"))),
            Err(missing) => Ok(Completion::ignored_with(missing)),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// Runs a test that is asynchronous.
///
/// # Panics
/// If there can be no runtime.
pub fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}
