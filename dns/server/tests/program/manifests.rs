//! The folder of manifests, changed while the server runs.

use std::fs;

use anyhow::Result;

use crate::common::{Lighthouse, SOON, folder_with, replace, service};

const ONE: &str = "one.test.svc.clusterset.local";
const TWO: &str = "two.test.svc.clusterset.local";

#[tokio::test(flavor = "multi_thread")]
async fn answers_follow_the_files() -> Result<()> {
    let folder = folder_with("one.yaml", &service("one", "243.0.0.1"))?;
    let us = Lighthouse::serving(folder.path(), &[]).await?;
    assert_eq!(us.dig(&[ONE]).await?.answers("A"), ["243.0.0.1"]);
    assert_eq!(us.dig(&[TWO]).await?.status, "NXDOMAIN");
    let serial = |record: &str| {
        record
            .split(' ')
            .nth(6)
            .and_then(|it| it.parse::<u32>().ok())
    };
    let before = us.dig(&["clusterset.local", "SOA"]).await?;

    fs::write(folder.path().join("two.yaml"), service("two", "243.0.0.2"))?;
    us.dig_until(&[TWO], |reply| reply.answers("A") == ["243.0.0.2"])
        .await?;
    let after = us.dig(&["clusterset.local", "SOA"]).await?;
    assert!(
        serial(&after.answer[0]) > serial(&before.answer[0]),
        "{} {}",
        before.text,
        after.text
    );

    replace(
        &folder.path().join("two.yaml"),
        &service("two", "243.0.0.22"),
    )?;
    us.dig_until(&[TWO], |reply| reply.answers("A") == ["243.0.0.22"])
        .await?;

    fs::remove_file(folder.path().join("two.yaml"))?;
    us.dig_until(&[TWO], |reply| reply.status == "NXDOMAIN")
        .await?;
    assert_eq!(us.dig(&[ONE]).await?.answers("A"), ["243.0.0.1"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_written_file_keeps_its_last_good_answers() -> Result<()> {
    let folder = folder_with("one.yaml", &service("one", "243.0.0.1"))?;
    let mut us = Lighthouse::serving(folder.path(), &[]).await?;
    let whole = service("one", "243.0.0.9");
    let path = folder.path().join("one.yaml");
    // Cut within the list of ports.
    fs::write(&path, &whole[..whole.len() - 6])?;
    let line = us
        .process
        .wait_for_line("last good content is served", SOON)
        .await?;
    assert!(
        line.contains("one.yaml document 1") && line.contains("line "),
        "{line}"
    );
    assert_eq!(us.dig(&[ONE]).await?.answers("A"), ["243.0.0.1"]);
    assert!(us.metric("subm_dns_problems", &[]).await? >= 1);

    fs::write(&path, &whole)?;
    us.dig_until(&[ONE], |reply| reply.answers("A") == ["243.0.0.9"])
        .await?;
    subm_test_support::eventually(SOON, || async {
        let problems = us.metric("subm_dns_problems", &[]).await?;
        anyhow::ensure!(problems == 0, "{problems} problems");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_objects_good_part_is_served_and_the_rest_named() -> Result<()> {
    let text = service("one", "243.0.0.1, nonsense") + "---\n" + &service("two", "243.0.0.2");
    let folder = folder_with("both.yaml", &text)?;
    let mut us = Lighthouse::serving(folder.path(), &[]).await?;
    assert_eq!(us.dig(&[ONE]).await?.answers("A"), ["243.0.0.1"]);
    assert_eq!(us.dig(&[TWO]).await?.answers("A"), ["243.0.0.2"]);
    let line = us.process.wait_for_line("nonsense", SOON).await?;
    assert!(
        line.contains("both.yaml document 1: ServiceImport test/one")
            && line.contains("spec.ips[1]"),
        "{line}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_vanishes_changes_no_answer() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("view");
    fs::create_dir(&folder)?;
    fs::write(folder.join("one.yaml"), service("one", "243.0.0.1"))?;
    let mut us = Lighthouse::serving(&folder, &[]).await?;
    fs::rename(&folder, parent.path().join("gone"))?;
    us.process
        .wait_for_line("the last good state is served", SOON)
        .await?;
    assert_eq!(us.dig(&[ONE]).await?.answers("A"), ["243.0.0.1"]);
    let (status, text) = us.page("/ready").await?;
    assert_eq!(status, 200);
    assert!(
        text.contains("manifests: ") && text.contains("cannot read"),
        "{text}"
    );
    assert_eq!(us.metric("subm_dns_source_healthy", &[]).await?, 0);

    fs::rename(parent.path().join("gone"), &folder)?;
    fs::write(folder.join("two.yaml"), service("two", "243.0.0.2"))?;
    us.dig_until(&[TWO], |reply| reply.answers("A") == ["243.0.0.2"])
        .await?;
    assert_eq!(us.metric("subm_dns_source_healthy", &[]).await?, 1);
    Ok(())
}
