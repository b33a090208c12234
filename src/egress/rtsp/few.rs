//! What belongs to the sessions of one connection: nearly always one, so a list that takes no spare room.

use crate::proto::rtsp::server::SessionId;

/// Values by session.
pub(super) struct Few<V>(Vec<(SessionId, V)>);

impl<V> Default for Few<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Few<V> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, &V)> {
        self.0.iter().map(|(id, value)| (*id, value))
    }
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }
    pub(super) fn get(&self, id: SessionId) -> Option<&V> {
        self.0.iter().find(|(known, _)| *known == id).map(|(_, v)| v)
    }
    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut V> {
        self.0.iter_mut().find(|(known, _)| *known == id).map(|(_, v)| v)
    }
    /// Keeps a value for a session that has none.
    pub(super) fn insert(&mut self, id: SessionId, value: V) {
        self.0.reserve_exact(1);
        self.0.push((id, value));
    }
    pub(super) fn remove(&mut self, id: SessionId) -> Option<V> {
        let at = self.0.iter().position(|(known, _)| *known == id)?;
        Some(self.0.swap_remove(at).1)
    }
}
