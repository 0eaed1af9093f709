"""A sound transport and a sound store, and many broken ones: what proves the kit."""
