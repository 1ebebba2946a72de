//! What cannot work ends at once, with one line that names the place and a remedy.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use subm_test_support::{Process, random_loopback};
use tokio::net::{TcpListener, UdpSocket};

use crate::common::{certificate, examples, folder_with, lighthouse_dns, text};

/// Runs a server that must give up soon; what it says last. Before that there may be log lines, where the mistake shows
/// late, but no other complaint.
async fn refused(args: &[&str]) -> Result<String> {
    let mut command = lighthouse_dns();
    // Those that `args` do not name.
    for page in ["--metrics", "--health", "--ready"] {
        if !args.contains(&page) {
            command.args([page, "off"]);
        }
    }
    command.args(args);
    let mut process = Process::spawn(command)?;
    let status = process.wait(Duration::from_secs(10)).await?;
    let output = process.output()?;
    assert_eq!(status.code(), Some(1), "{output}");
    let text = output.trim_end();
    let (before, last) = text.rsplit_once('\n').unwrap_or(("", text));
    assert!(last.starts_with("lighthouse-dns: "), "{output}");
    assert!(
        !before.contains("ERROR") && !before.contains("panicked"),
        "{output}"
    );
    Ok(last.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_directive() -> Result<()> {
    let folder = folder_with(
        "Corefile",
        "clusterset.local:5300 {\n    bind 127.0.0.1\n    lighthose\n}\n",
    )?;
    let conf = folder.path().join("Corefile");
    let line = refused(&["--conf", text(&conf)]).await?;
    assert!(
        line.ends_with("Corefile:3: Unknown directive 'lighthose'; did you mean 'lighthouse'?"),
        "{line}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_corefile() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for conf in [folder.path().join("none"), folder.path().to_owned()] {
        let line = refused(&["--conf", text(&conf)]).await?;
        assert!(
            line.contains(&format!("cannot read {}; name a Corefile", conf.display())),
            "{line}"
        );
        assert_eq!(line.matches("os error").count(), 1, "{line}");
    }
    let binary = folder.path().join("binary");
    fs::write(&binary, [0xff; 100])?;
    refused(&["--conf", text(&binary)]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_in_use() -> Result<()> {
    let manifests = examples();
    let ip = random_loopback();
    let manifests = text(&manifests);
    let tcp = TcpListener::bind((ip, 0)).await?;
    let udp = UdpSocket::bind((ip, 0)).await?;
    for taken in [tcp.local_addr()?, udp.local_addr()?] {
        let listen = taken.to_string();
        let line = refused(&["--manifests", manifests, "--listen", &listen]).await?;
        assert!(
            line.contains(&format!("cannot listen on {taken}")),
            "{line}"
        );
        assert!(line.contains("in use"), "{line}");
    }
    let taken = tcp.local_addr()?.to_string();
    let free = format!("{ip}:5300");
    for page in ["--health", "--ready", "--metrics"] {
        let line = refused(&["--manifests", manifests, "--listen", &free, page, &taken]).await?;
        assert!(
            line.contains(&format!("cannot listen on {taken}")),
            "{line}"
        );
    }
    let line = refused(&["--manifests", manifests, "--listen", "192.0.2.1:5300"]).await?;
    assert!(line.contains("cannot listen on 192.0.2.1:5300"), "{line}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_folder() -> Result<()> {
    let folder = folder_with("file.yaml", "")?;
    let listen = format!("{}:5300", random_loopback());
    for missing in ["none", "file.yaml"] {
        let path = folder.path().join(missing);
        let line = refused(&["--manifests", text(&path), "--listen", &listen]).await?;
        assert!(
            line.contains(&format!(
                "cannot read the manifests in {}; name a folder",
                path.display()
            )),
            "{line}"
        );
        assert_eq!(line.matches("os error").count(), 1, "{line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_missing_or_bad() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let other = tempfile::tempdir()?;
    let (good, key) = certificate(folder.path())?;
    let (_, foreign) = certificate(other.path())?;
    let none = folder.path().join("none.pem");
    let text_file = folder.path().join("text.pem");
    fs::write(&text_file, "hello\n")?;
    let manifests = examples();
    let listen = format!("tls://{}:8853", random_loopback());
    for (certificate, key, expected) in [
        (&none, &key, "none.pem does not exist"),
        (&good, &none, "none.pem does not exist"),
        (&text_file, &key, "text.pem: no certificate in it"),
        (&good, &text_file, "text.pem: no private key in it"),
        (&good, &foreign, "do not belong together"),
    ] {
        let line = refused(&[
            "--manifests",
            text(&manifests),
            "--listen",
            &listen,
            "--tls-cert",
            text(certificate),
            "--tls-key",
            text(key),
        ])
        .await?;
        assert!(line.contains(expected), "{line}");
    }
    let line = refused(&["--manifests", text(&manifests), "--listen", &listen]).await?;
    assert!(line.contains("tls:// needs a certificate"), "{line}");
    Ok(())
}
