//! An overseer that writes down who got what.

use super::drain::{Handed, Overseer};
use crate::clock::Clock;
use crate::provenance::{Deliveries, Delivery};

/// Notes what one reader gets as deliveries, off the path of the reader. A note that fails is logged and fails
/// nothing.
pub struct Noting<'a> {
    /// Where they are noted.
    pub deliveries: &'a Deliveries,
    /// Who reads.
    pub reader: &'a str,
    /// Says when.
    pub clock: &'a dyn Clock,
}

impl Overseer for Noting<'_> {
    fn handed(&mut self, handed: Handed<'_>) {
        self.deliveries.note(&Delivery {
            first: handed.first.to_owned(),
            last: handed.last.to_owned(),
            records: handed.records,
            reader: self.reader.to_owned(),
            at: self.clock.utc(),
        });
    }
}
