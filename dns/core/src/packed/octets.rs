//! Writing and reading octets. What is read was written here: a fault is a defect of this crate, not of its input.

/// Grows a buffer.
#[derive(Debug)]
pub(super) struct Writer(Vec<u8>);

impl Default for Writer {
    /// With room for most objects.
    fn default() -> Self {
        Self(Vec::with_capacity(256))
    }
}

impl Writer {
    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.octets(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.octets(&value.to_le_bytes());
    }

    pub(super) fn octets(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    /// Seven bits to the octet, the lowest first.
    pub(super) fn count(&mut self, mut count: usize) {
        while count >= 0x80 {
            self.0.push(count as u8 | 0x80);
            count >>= 7;
        }
        self.0.push(count as u8);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.octets(text.as_bytes());
    }

    pub(super) fn finish(self) -> Box<[u8]> {
        self.0.into()
    }
}

/// What is left to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(*self.array())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(*self.array())
    }

    pub(super) fn count(&mut self) -> usize {
        let mut count = 0;
        let mut shift = 0;
        loop {
            let octet = self.u8();
            count |= usize::from(octet & 0x7f) << shift;
            if octet < 0x80 {
                return count;
            }
            shift += 7;
        }
    }

    pub(super) fn text(&mut self) -> &'a str {
        let len = self.count();
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        std::str::from_utf8(text).expect("was written as text")
    }

    pub(super) fn arrays<const N: usize>(&mut self, count: usize) -> &'a [[u8; N]] {
        let (arrays, rest) = self.0.split_at(count * N);
        self.0 = rest;
        arrays.as_chunks().0
    }

    fn array<const N: usize>(&mut self) -> &'a [u8; N] {
        &self.arrays(1)[0]
    }
}
