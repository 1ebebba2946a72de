//! A folder kept as desired: files by name. Change or delete one while it runs, or add another, and it is put right.
//!
//!     cargo run -p subm-reconcile --example folder

use std::{
    collections::BTreeMap, convert::Infallible, fs, io, path::PathBuf, sync::Arc, time::Duration,
};

use subm_reconcile::{Change, Reconciler, State, Target, Timing, converge};
use tokio::sync::watch;

struct Folder(PathBuf);

impl Target for Folder {
    type Key = String;
    type Value = String;
    type Error = io::Error;

    async fn observe(&mut self, _: &State<String, String>) -> io::Result<State<String, String>> {
        let files = fs::read_dir(&self.0)?.map(|file| {
            let file = file?;
            Ok((
                file.file_name().to_string_lossy().into_owned(),
                fs::read_to_string(file.path())?,
            ))
        });
        files.collect()
    }

    async fn apply(&mut self, change: &Change<String, String>) -> io::Result<()> {
        let path = self.0.join(change.key());
        match change.to() {
            Some(text) => fs::write(path, text),
            None => fs::remove_file(path),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("folder-{}", std::process::id()));
    fs::create_dir(&path)?;
    let (desired, receiver) = watch::channel(None);
    let mut timing = Timing::default();
    // Nobody gives hints here.
    timing.resync = Duration::from_millis(100);
    let reconciler = Reconciler::new("folder", Folder(path.clone()), receiver, timing);
    let mut status = reconciler.status();
    let (stop, stopped) = tokio::sync::oneshot::channel::<Infallible>();
    let running = tokio::spawn(reconciler.run(async move { drop(stopped.await) }));

    let wanted = Arc::new(BTreeMap::from([("hello".to_owned(), "world".to_owned())]));
    desired.send_replace(Some(wanted.clone()));
    status
        .wait_for(|status| status.converged_to(&wanted))
        .await?;
    fs::remove_file(path.join("hello"))?;
    fs::write(path.join("stray"), "")?;
    let looks = status.borrow().looks;
    let repaired = status
        .wait_for(|status| status.looks > looks + 1 && status.converged_to(&wanted))
        .await?;
    println!(
        "{}",
        repaired.report.as_ref().ok_or("nothing was repaired")?
    );
    drop(repaired);

    drop(stop);
    let mut folder = running.await?;
    converge(&mut folder, &BTreeMap::new(), 3).await?;
    fs::remove_dir(path)?;
    Ok(())
}
