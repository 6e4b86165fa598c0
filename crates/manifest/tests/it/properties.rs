//! No text makes it panic; overlays are RFC 7386 merges.
