//! The place in a JSON file that a search has reached.

use crate::commands::check::candidates::LOCATION_BYTES_MAX;
use std::fmt::{self, Write};

/// The place in a JSON file that the search has reached, such as `Items[0].name`. The text is cut
/// off after about [`LOCATION_BYTES_MAX`] bytes, because the keys of a file may be very long.
#[derive(Debug, Default)]
pub(super) struct Location(String);

/// A place in a JSON file to which the search returns after it has searched an inner JSON value.
/// The number is the length, in bytes, of the [`Location`] at this place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(usize);

impl Location {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.0.len())
    }

    pub(super) fn back_to(&mut self, mark: Mark) {
        self.0.truncate(mark.0);
    }

    pub(super) fn enter_member(&mut self, key: &str) {
        let dot = if self.0.is_empty() { "" } else { "." };
        // Writing to this text never fails.
        let _ = write!(self, "{dot}{key}");
    }

    pub(super) fn enter_item(&mut self, index: usize) {
        let _ = write!(self, "[{index}]");
    }
}

impl Write for Location {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // A text that was cut off has more bytes than the maximum, so the report shows the cut.
        let room = (LOCATION_BYTES_MAX + char::MAX_LEN_UTF8).saturating_sub(self.0.len());
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        Ok(())
    }
}
