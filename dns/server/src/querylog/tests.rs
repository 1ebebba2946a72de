use super::*;

#[test]
fn line_is_that_of_coredns() {
    let mut query = vec![0x12, 0x67, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    query.extend(b"\x03wEb\x05local\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\x80\0\0\0");
    let reply = [0x12, 0x67, 0x85, 0x80, 0, 0, 0, 0, 0, 0, 0, 0];
    let client = "127.0.0.1:40212".parse().unwrap();
    let facts = Facts {
        rcode: 3,
        ..Facts::default()
    };
    let entry = Entry::new(
        client,
        Transport::Udp,
        &query,
        &reply,
        &facts,
        Duration::from_micros(20),
    );
    let mut text = String::new();
    line(&entry, &mut text);
    let want = "[INFO] 127.0.0.1:40212 - 4711 \"A IN wEb.local. udp 38 true 1232\" NXDOMAIN qr,aa,rd,ra 12 0.000020000s\n";
    assert_eq!(text, want);
}

#[test]
fn broken_questions_are_logged_too() {
    let client = "[::1]:1".parse().unwrap();
    let entry = Entry::new(
        client,
        Transport::Tcp,
        b"\0\x01\0",
        b"",
        &Facts::default(),
        Duration::ZERO,
    );
    let mut text = String::new();
    line(&entry, &mut text);
    assert!(
        text.starts_with("[INFO] [::1]:1 - 1 \"TYPE0 CLASS0  tcp 3 false 512\" NOERROR"),
        "{text}"
    );
}

/// A writer that never gets on: pushing neither waits nor grows without end.
#[test]
fn full_queue_drops_and_counts() {
    struct Stuck(Receiver<()>);
    impl Write for Stuck {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (release, stuck) = std::sync::mpsc::channel();
    let dropped = Arc::new(AtomicU64::new(0));
    let writer = QueryLogWriter::start(Stuck(stuck), Arc::clone(&dropped)).unwrap();
    let client = "127.0.0.1:1".parse().unwrap();
    let entry = Entry::new(
        client,
        Transport::Udp,
        &[0; 12],
        &[0; 12],
        &Facts::default(),
        Duration::ZERO,
    );
    let total = QUEUE as u64 * 2;
    for _ in 0..total {
        writer.push(entry.clone());
    }
    assert!(
        dropped.load(Relaxed) >= total - QUEUE as u64 - 257,
        "{dropped:?}"
    );
    drop(release);
}
