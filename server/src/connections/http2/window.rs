//! What the other side has room for (RFC 9113 §6.9).

/// The largest window (§6.9.1).
const MOST: i64 = (1 << 31) - 1;

/// Room for content: below zero if a setting took it back (§6.9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window(i64);

/// A window that would be larger than there is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl Window {
    /// The size that each has at first.
    pub(super) const fn new() -> Self {
        Self(65_535)
    }

    /// How much may be sent.
    pub(super) fn room(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    pub(super) fn grow(&mut self, more: u32) -> Result<(), Overflow> {
        self.change(i64::from(more))
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.0 -= bytes as i64;
    }

    /// The setting of all new windows becomes `to`; returns by how much it changes.
    pub(super) fn set(&mut self, to: u32) -> Result<i64, Overflow> {
        let change = i64::from(to) - self.0;
        self.change(change)?;
        Ok(change)
    }

    pub(super) fn change(&mut self, by: i64) -> Result<(), Overflow> {
        let to = self.0 + by;
        if to > MOST {
            return Err(Overflow);
        }
        self.0 = to;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_the_setting_below_zero_and_never_above_the_most() {
        let mut initial = Window::new();
        let mut window = Window::new();
        window.take(65_000);
        let by = initial.set(100).unwrap();
        window.change(by).unwrap();
        assert_eq!((by, window.room()), (-65_435, 0));
        window.grow(65_000).unwrap();
        assert_eq!(window.room(), 100);
        assert_eq!(window.grow(MOST as u32), Err(Overflow));
        assert_eq!(initial.set(1 << 31), Err(Overflow));
        assert_eq!((window.room(), initial.room()), (100, 100));
    }
}
