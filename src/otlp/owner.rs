//! A resource or a scope: read into a scratch that is used again for the next one, and encoded only when a span is kept under it.

use super::attributes::{AttributeSet, TextPool};
use super::columns::Owner;
use super::maps::EncodedMap;
use super::value::ValueFault;
use super::wire::Fields;

/// A resource or a scope as its request has it; texts point into the request.
#[derive(Debug, Default)]
pub(super) struct RawOwner<'a> {
    attributes: AttributeSet<'a>,
    pool: TextPool,
    dropped_attributes: u32,
    schema_url: &'a str,
    name: &'a str,
    version: &'a str,
    bad_utf8: bool,
}

/// Field numbers of `Resource` or `InstrumentationScope`; 0 where it has no such field.
pub(super) struct OwnerFields {
    attributes: u32,
    dropped_attributes: u32,
    name: u32,
    version: u32,
    entity_refs: u32,
}

pub(super) const RESOURCE: OwnerFields =
    OwnerFields { attributes: 1, dropped_attributes: 2, name: 0, version: 0, entity_refs: 3 };
pub(super) const SCOPE: OwnerFields =
    OwnerFields { attributes: 3, dropped_attributes: 4, name: 1, version: 2, entity_refs: 0 };

impl<'a> RawOwner<'a> {
    /// Reads an owner over what the scratch held.
    pub fn read(&mut self, message: &'a [u8], numbers: &OwnerFields, schema_url: &'a [u8]) -> Result<(), ValueFault> {
        self.attributes.clear();
        self.pool.clear();
        self.dropped_attributes = 0;
        self.bad_utf8 = false;
        let (mut name, mut version): (&[u8], &[u8]) = (&[], &[]);
        let mut fields = Fields::of(message);
        while let Some(field) = fields.next()? {
            match field.number {
                number if number == numbers.attributes => {
                    self.attributes.read(field.bytes(&fields)?, &mut self.pool)?;
                }
                number if number == numbers.dropped_attributes => {
                    self.dropped_attributes = field.varint(&fields)? as u32;
                }
                number if number == numbers.name => name = field.bytes(&fields)?,
                number if number == numbers.version => version = field.bytes(&fields)?,
                number if number == numbers.entity_refs => drop(field.bytes(&fields)?),
                _ => {}
            }
        }
        self.schema_url = self.text(schema_url);
        self.name = self.text(name);
        self.version = self.text(version);
        Ok(())
    }

    /// Whether all its text is UTF-8; else none of its spans can be kept.
    pub fn is_text(&self) -> bool {
        !self.bad_utf8 && !self.attributes.bad_utf8
    }

    /// Encodes it for the columns, which costs allocations.
    pub fn encode(&self) -> Owner<'a> {
        Owner {
            attributes: EncodedMap::new(&self.attributes.kept, &self.pool),
            dropped_attributes: self.dropped_attributes.saturating_add(self.attributes.dropped),
            schema_url: self.schema_url,
            name: self.name,
            version: self.version,
        }
    }

    fn text(&mut self, bytes: &'a [u8]) -> &'a str {
        std::str::from_utf8(bytes).unwrap_or_else(|_| {
            self.bad_utf8 = true;
            ""
        })
    }
}
