//! Queries, right ones and wrong ones, octet by octet.

use subm_dns_core::respond::Transport;

#[derive(Clone, Debug)]
pub struct Query {
    pub id: u16,
    /// The second 16 bits of the header.
    pub flags: u16,
    pub name: String,
    pub qtype: u16,
    pub class: u16,
    pub edns: Option<Edns>,
    pub transport: Transport,
}

#[derive(Clone, Debug)]
pub struct Edns {
    pub size: u16,
    pub version: u8,
    pub flags: u16,
    pub options: Vec<(u16, Vec<u8>)>,
}

pub const RD: u16 = 0x0100;
pub const CD: u16 = 0x0010;
pub const DO: u16 = 0x8000;

impl Query {
    pub fn new(name: &str, qtype: u16) -> Self {
        Self {
            id: 0x1234,
            flags: RD,
            name: name.to_owned(),
            qtype,
            class: 1,
            edns: None,
            transport: Transport::Udp,
        }
    }

    pub fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    pub fn class(mut self, class: u16) -> Self {
        self.class = class;
        self
    }

    pub fn flags(mut self, flags: u16) -> Self {
        self.flags = flags;
        self
    }

    pub fn edns(mut self, size: u16) -> Self {
        self.edns = Some(Edns {
            size,
            version: 0,
            flags: 0,
            options: Vec::new(),
        });
        self
    }

    pub fn version(mut self, version: u8) -> Self {
        self.edns.as_mut().expect("EDNS").version = version;
        self
    }

    pub fn edns_flags(mut self, flags: u16) -> Self {
        self.edns.as_mut().expect("EDNS").flags = flags;
        self
    }

    pub fn option(mut self, code: u16, data: &[u8]) -> Self {
        let edns = self.edns.as_mut().expect("EDNS");
        edns.options.push((code, data.to_vec()));
        self
    }

    pub fn octets(&self) -> Vec<u8> {
        let mut octets = header(
            self.id,
            self.flags,
            [1, 0, 0, u16::from(self.edns.is_some())],
        );
        octets.extend(question(&self.name, self.qtype, self.class));
        if let Some(edns) = &self.edns {
            octets.extend(edns.octets());
        }
        octets
    }
}

impl Edns {
    /// The OPT record.
    pub fn octets(&self) -> Vec<u8> {
        let mut data = Vec::new();
        for (code, value) in &self.options {
            data.extend(code.to_be_bytes());
            data.extend((value.len() as u16).to_be_bytes());
            data.extend(value);
        }
        let mut octets = vec![0, 0, 41];
        octets.extend(self.size.to_be_bytes());
        octets.extend([0, self.version]);
        octets.extend(self.flags.to_be_bytes());
        octets.extend((data.len() as u16).to_be_bytes());
        octets.extend(data);
        octets
    }
}

pub fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let mut octets = Vec::new();
    for word in [id, flags].into_iter().chain(counts) {
        octets.extend(word.to_be_bytes());
    }
    octets
}

pub fn question(name: &str, qtype: u16, class: u16) -> Vec<u8> {
    let mut octets = wire(name);
    octets.extend(qtype.to_be_bytes());
    octets.extend(class.to_be_bytes());
    octets
}

/// A name in wire form, whatever its lengths.
pub fn wire(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name
        .trim_end_matches('.')
        .split('.')
        .filter(|l| !l.is_empty())
    {
        octets.push(label.len() as u8);
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets
}
