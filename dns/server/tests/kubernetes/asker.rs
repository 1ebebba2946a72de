//! Clients that ask much, and quickly.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use domain::base::iana::{Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::A;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A reply that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two questions of an [`Asker`].
const PACE: Duration = Duration::from_millis(5);

/// A socket that asks one question after the other.
pub(crate) struct Client(UdpSocket);

impl Client {
    pub(crate) async fn new(server: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(server).await?;
        Ok(Self(socket))
    }

    /// The addresses of `name`; an error for any rcode but NOERROR, and for silence.
    pub(crate) async fn ask(&self, name: &str) -> Result<Vec<Ipv4Addr>> {
        let name: Name<Vec<u8>> = name.parse()?;
        let mut query = MessageBuilder::new_vec().question();
        query.header_mut().set_random_id();
        query.push((&name, Rtype::A))?;
        let query = query.into_message();
        self.0.send(query.as_slice()).await?;

        let mut octets = [0; 1232];
        let len = tokio::time::timeout(PATIENCE, self.0.recv(&mut octets))
            .await
            .context("no reply")??;
        let reply = Message::from_octets(&octets[..len])?;
        ensure!(reply.is_answer(&query), "the reply is to another question");
        let rcode = reply.header().rcode();
        ensure!(rcode == Rcode::NOERROR, "{rcode}");
        let mut addresses = Vec::new();
        for record in reply.answer()?.limit_to::<A>() {
            addresses.push(record?.data().addr());
        }
        Ok(addresses)
    }
}

/// Asks for one name all the time, in the background.
pub(crate) struct Asker {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<usize>>,
}

impl Asker {
    /// Every reply must have exactly one address, and that of `right`.
    pub(crate) async fn start(server: SocketAddr, name: &str, right: &'static [Ipv4Addr]) -> Result<Self> {
        let client = Client::new(server).await?;
        let (stop, stopped) = watch::channel(false);
        let name = name.to_owned();
        let task = tokio::spawn(async move {
            let mut asked = 0;
            while !*stopped.borrow() {
                let place = || format!("question {asked} for {name}");
                let answer = client.ask(&name).await.with_context(place)?;
                let is_right = answer.len() == 1 && right.contains(&answer[0]);
                ensure!(is_right, "{}: {answer:?}, not one of {right:?}", place());
                asked += 1;
                tokio::time::sleep(PACE).await;
            }
            Ok(asked)
        });
        Ok(Self { stop, task })
    }

    /// Ends it. How many replies there were, all of them right; or what was wrong with the first that was not.
    pub(crate) async fn finish(self) -> Result<usize> {
        self.stop.send_replace(true);
        self.task.await?
    }
}
